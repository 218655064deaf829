import { percent } from "../../units.ts";
import type { ReportData } from "../data.ts";
import type { AttentionTokens } from "../tokenData.ts";
import { element, section } from "./dom.ts";
import type { Selection } from "./state.ts";
import { attended, type AttendedKey, tileClasses } from "./attended.ts";
import { tokenGrid, type TokenView } from "./tokenGrid.ts";

/** A token of the first example, and whom it attends to: over the pictures that it was made of, and as a list. */
export function tokens(data: ReportData, selection: Selection): HTMLElement[] {
  const [first] = data.tokens;
  if (first === undefined) return [];
  const state: { shown: AttentionTokens; head: number; query: number; byTile: boolean } = {
    shown: first,
    head: 0,
    query: 0,
    byTile: false,
  };
  const which = select(
    "attention",
    data.tokens.map(({ path }) => path),
    (index) => {
      state.shown = data.tokens[index] ?? first;
      state.query = middle(state.shown);
      state.head = 0;
      open();
      if (state.shown.launch !== null) selection.choose(state.shown.launch);
    },
  );
  const heads = element("span");
  const tile = element("input", {
    type: "checkbox",
    onchange: () => {
      state.byTile = tile.checked;
      show();
    },
  });
  const formula = element("p", { class: "formula" });
  const maps = element("div", { class: "token-maps" });
  const list = element("div", { class: "token-list", "aria-live": "polite" });
  let [queries, keys]: [TokenView | null, TokenView | null] = [null, null];

  const choose = (query: number): void => {
    state.query = query;
    show();
  };
  const open = (): void => {
    const { shown } = state;
    formula.textContent = shown.formula;
    heads.replaceChildren(
      ...select(
        "head",
        Array.from({ length: shown.heads }, (_, head) => String(head)),
        (head) => {
          state.head = head;
          show();
        },
      ),
    );
    const oneGrid = JSON.stringify(shown.queries) === JSON.stringify(shown.keys);
    keys = tokenGrid(shown.keys, data.frames, oneGrid ? "tokens" : "keys", oneGrid ? choose : null);
    queries = oneGrid ? null : tokenGrid(shown.queries, data.frames, "queries", choose);
    maps.replaceChildren(...(queries === null ? [] : [queries.element]), keys.element);
    show();
  };
  const show = (): void => {
    const { shown, head, query, byTile } = state;
    const { heaviest, rest, keys: list_ } = attended(shown, query, head);
    const classes = tileClasses(shown, query);
    const weights = new Map(list_.map(({ key, weight }) => [key, heaviest === 0 ? 0 : weight / heaviest]));
    keys?.paint({ chosen: queries === null ? query : null, weights, classes: byTile ? classes : null });
    queries?.paint({ chosen: query, weights: new Map(), classes: null });
    const name = keys?.nameOf ?? String;
    list.replaceChildren(
      element("h3", {}, `${(queries ?? keys)?.nameOf(query) ?? ""} attends to`),
      list_.length === 0 ? element("p", {}, "no key") : keyTable(list_.slice(0, mostListed), name, classes),
      element("p", {}, restOf(list_.slice(mostListed), rest)),
    );
  };
  state.query = middle(first);
  open();
  return [
    section(
      "tokens",
      "Tokens",
      "Press a token, or move by the arrow keys. The heaviest keys of each query and head are kept; other cells stay blank.",
      element("div", { class: "tools" }, ...which, heads, element("label", {}, tile, " tiles: ", ...legend())),
      formula,
      element("div", { class: "token-pair" }, maps, list),
    ),
  ];
}

const mostListed = 12;

/** The first token of a grid is at its border, and says little. */
const middle = ({ queries }: AttentionTokens): number => {
  const prefix = queries.prefix.count * productOf(queries.prefix.over.map((axis) => sizeOf(queries, axis)));
  const half = queries.axes.reduce((flat, { size }) => flat * size + Math.floor(size / 2), 0);
  return prefix + half;
};
const productOf = (sizes: readonly number[]): number => sizes.reduce((product, size) => product * size, 1);
const sizeOf = ({ axes }: AttentionTokens["queries"], axis: string): number =>
  axes.find((each) => each.axis === axis)?.size ?? 1;

function select(name: string, texts: readonly string[], choose: (index: number) => void): (Node | string)[] {
  const box = element(
    "select",
    { "aria-label": name, onchange: () => choose(box.selectedIndex) },
    ...texts.map((text) => element("option", {}, text)),
  );
  return [`${name} `, box];
}

const legend = (): HTMLElement[] =>
  (["full", "partial", "skipped"] as const).map((name) =>
    element("span", { class: "legend-of-tiles" }, element("i", { class: `tile-${name}` }), `${name} `),
  );

function keyTable(
  keys: readonly AttendedKey[],
  nameOf: (row: number) => string,
  classes: ReturnType<typeof tileClasses>,
): HTMLElement {
  return element(
    "table",
    {},
    element("thead", {}, element("tr", {}, ...["key", "weight", "tile"].map((head) => element("th", {}, head)))),
    element(
      "tbody",
      {},
      ...keys.map(({ key, weight }) =>
        element(
          "tr",
          {},
          element("td", {}, nameOf(key)),
          element("td", { class: "number" }, Math.abs(weight) > 1 ? weight.toPrecision(3) : percent(weight)),
          element("td", {}, classes?.get(key) ?? ""),
        ),
      ),
    ),
  );
}

function restOf(kept: readonly AttendedKey[], rest: number): string {
  const sum = kept.reduce((total, { weight }) => total + weight, rest);
  return Math.abs(sum) < 5e-4 ? "" : `all others together: ${Math.abs(sum) > 1 ? sum.toPrecision(3) : percent(sum)}`;
}
