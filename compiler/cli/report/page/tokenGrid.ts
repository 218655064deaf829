import type { Frames, TokenGrid } from "../tokenData.ts";
import type { TileClass } from "./attended.ts";
import { element } from "./dom.ts";

/** Tokens as cells: those of a frame over its picture, prefix tokens in a row of their own. */
export type TokenView = {
  readonly element: HTMLElement;
  readonly nameOf: (row: number) => string;
  readonly paint: (painting: Painting) => void;
};
export type Painting = {
  readonly chosen: number | null;
  /** By row, in parts of the heaviest. */
  readonly weights: ReadonlyMap<number, number>;
  readonly classes: ReadonlyMap<number, TileClass> | null;
};

/** Of one picture, and of each of several, in pixels. */
const frameSize = { one: 224, several: 140 };
/** Tokens on one axis alone are broken into lines. */
const lineLength = 32;

export function tokenGrid(
  grid: TokenGrid,
  frames: Frames | null,
  title: string,
  choose: ((row: number) => void) | null,
): TokenView {
  const shape = shapeOf(grid, frames);
  const { rows, columns, count, prefix } = shape;
  const cell = Math.max(3, Math.floor((count > 1 ? frameSize.several : frameSize.one) / Math.max(rows, columns, 8)));
  let chosen: number | null = null;

  const panels = [
    ...(prefix === 0 ? [] : [panelOf("prefix", 1, prefix, (_, x) => x, null)]),
    ...Array.from({ length: count }, (_, frame) =>
      panelOf(
        shape.frameName(frame),
        rows,
        columns,
        (y, x) => shape.rowOf(frame, y, x),
        frames === null || !shape.overPictures ? null : (frames.pictures[shape.pictureOf(frame)] ?? null),
      ),
    ),
  ];

  function panelOf(
    name: string,
    height: number,
    width: number,
    rowAt: (y: number, x: number) => number,
    picture: string | null,
  ): { readonly element: HTMLElement; readonly paint: (painting: Painting) => void } {
    const canvas = element("canvas", { width: width * cell, height: height * cell });
    if (picture !== null) canvas.style.backgroundImage = `url(${picture})`;
    if (choose !== null)
      canvas.addEventListener("click", (event) => {
        const box = canvas.getBoundingClientRect();
        const [x, y] = [
          Math.floor(((event.clientX - box.left) * width) / box.width),
          Math.floor(((event.clientY - box.top) * height) / box.height),
        ];
        const row = rowAt(y, x);
        if (row >= 0) choose(row);
      });
    return {
      element: element("figure", {}, canvas, element("figcaption", {}, name)),
      paint: (painting) => {
        const context = canvas.getContext("2d");
        if (context === null) return;
        context.clearRect(0, 0, canvas.width, canvas.height);
        for (let y = 0; y < height; y++)
          for (let x = 0; x < width; x++) paintCell(context, x * cell, y * cell, cell, rowAt(y, x), painting);
      },
    };
  }

  const move = (event: KeyboardEvent): void => {
    if (choose === null || chosen === null) return;
    const next = shape.moved(chosen, event.key);
    if (next === null) return;
    event.preventDefault();
    choose(next);
  };
  return {
    element: element(
      "div",
      {
        class: "token-grid",
        role: choose === null ? "img" : "application",
        "aria-label": choose === null ? title : `${title}: arrow keys choose one, page keys change the frame`,
        ...(choose === null ? {} : { tabindex: 0 }),
        onkeydown: (event) => {
          if (event instanceof KeyboardEvent) move(event);
        },
      },
      ...panels.map((panel) => panel.element),
    ),
    nameOf: shape.nameOf,
    paint: (painting) => {
      ({ chosen } = painting);
      for (const panel of panels) panel.paint(painting);
    },
  };
}

function paintCell(
  context: CanvasRenderingContext2D,
  x: number,
  y: number,
  size: number,
  row: number,
  { chosen, weights, classes }: Painting,
): void {
  if (row < 0) return;
  const inner = size > 5 ? size - 1 : size;
  if (classes !== null) {
    context.fillStyle = tileColours[classes.get(row) ?? "skipped"];
    context.fillRect(x, y, inner, inner);
  }
  const weight = weights.get(row) ?? 0;
  if (weight !== 0) {
    const strength = Math.sqrt(Math.abs(weight));
    context.fillStyle = weight > 0 ? `rgb(230 30 80 / ${0.9 * strength})` : `rgb(30 90 230 / ${0.9 * strength})`;
    context.fillRect(x, y, inner, inner);
  }
  if (row !== chosen) return;
  context.lineWidth = 2;
  context.strokeStyle = "#ffd60a";
  context.strokeRect(x + 1, y + 1, Math.max(1, inner - 2), Math.max(1, inner - 2));
}

/** The same as in page.css. */
const tileColours: { readonly [C in TileClass]: string } = {
  full: "rgb(29 78 137 / 0.65)",
  partial: "rgb(142 202 230 / 0.55)",
  skipped: "rgb(128 128 128 / 0.25)",
};

type GridShape = {
  readonly prefix: number;
  /** Of a frame. */
  readonly rows: number;
  readonly columns: number;
  /** Frames. */
  readonly count: number;
  readonly overPictures: boolean;
  /** -1 behind the last token. */
  readonly rowOf: (frame: number, y: number, x: number) => number;
  readonly frameName: (frame: number) => string;
  readonly pictureOf: (frame: number) => number;
  readonly nameOf: (row: number) => string;
  /** Where a key of the keyboard leads; null: nowhere. */
  readonly moved: (row: number, key: string) => number | null;
};

function shapeOf({ axes, prefix: prefixOf }: TokenGrid, frames: Frames | null): GridShape {
  const names = axes.map(({ axis }) => axis);
  const sizes = new Map(axes.map(({ axis, size }) => [axis, size]));
  const product = (list: readonly string[]): number => list.reduce((all, axis) => all * (sizes.get(axis) ?? 1), 1);
  const overPictures = frames !== null && names.includes(frames.rows) && names.includes(frames.columns);
  const [down, across] = overPictures ? [frames.rows, frames.columns] : [names.at(-2), names.at(-1)];
  const others = names.filter((axis) => axis !== down && axis !== across);
  const prefix = prefixOf.count * product(prefixOf.over);
  const tokens = product(names);
  const inLines = down === undefined;
  const columns = inLines ? Math.min(lineLength, tokens) : (sizes.get(across ?? "") ?? 1);
  const rows = inLines ? Math.ceil(tokens / columns) : (sizes.get(down) ?? 1);

  /** Positions on `list`, the last fastest. */
  const unflatten = (flat: number, list: readonly string[]): Map<string, number> => {
    const at = new Map<string, number>();
    let rest = flat;
    for (const axis of list.toReversed()) {
      const size = sizes.get(axis) ?? 1;
      at.set(axis, rest % size);
      rest = Math.floor(rest / size);
    }
    return at;
  };
  const flatten = (at: ReadonlyMap<string, number>): number =>
    names.reduce((flat, axis) => flat * (sizes.get(axis) ?? 1) + (at.get(axis) ?? 0), 0);
  const rowOf = (frame: number, y: number, x: number): number => {
    if (inLines) {
      const flat = y * columns + x;
      return flat < tokens ? prefix + flat : -1;
    }
    const at = unflatten(frame, others);
    at.set(down, y).set(across ?? "", x);
    return prefix + flatten(at);
  };
  const said = (at: ReadonlyMap<string, number>, list: readonly string[]): string =>
    list.map((axis) => `${axis} ${at.get(axis) ?? 0}`).join(", ");
  const nameOf = (row: number): string => {
    if (row >= prefix) return said(unflatten(row - prefix, names), names);
    const where = said(unflatten(Math.floor(row / prefixOf.count), prefixOf.over), prefixOf.over);
    return `prefix ${row % prefixOf.count}${where === "" ? "" : `, ${where}`}`;
  };
  const moved = (row: number, key: string): number | null => {
    if (row < prefix || inLines) {
      const step = {
        ArrowRight: 1,
        ArrowDown: inLines && row >= prefix ? columns : 1,
        ArrowLeft: -1,
        ArrowUp: inLines && row >= prefix ? -columns : -1,
      }[key];
      const next = row + (step ?? 0);
      return step === undefined || next < 0 || next >= prefix + tokens ? null : next;
    }
    const at = unflatten(row - prefix, names);
    const first = others.at(-1);
    const steps: { readonly [key: string]: readonly [string | undefined, number] } = {
      ArrowRight: [across, 1],
      ArrowLeft: [across, -1],
      ArrowDown: [down, 1],
      ArrowUp: [down, -1],
      PageDown: [first, 1],
      PageUp: [first, -1],
    };
    const [axis, step = 0] = steps[key] ?? [];
    if (axis === undefined) return null;
    const position = (at.get(axis) ?? 0) + step;
    // Above the first row lie the prefix tokens.
    if (axis === down && position < 0 && prefix > 0) return 0;
    if (position < 0 || position >= (sizes.get(axis) ?? 1)) return null;
    return prefix + flatten(at.set(axis, position));
  };
  return {
    prefix,
    rows,
    columns,
    count: product(others),
    overPictures,
    rowOf,
    frameName: (frame) => said(unflatten(frame, others), others),
    pictureOf: (frame) => {
      const { over, pictures } = frames ?? { over: null, pictures: [] };
      const size = over === null ? undefined : sizes.get(over);
      const position = over === null ? 0 : (unflatten(frame, others).get(over) ?? 0);
      return size === undefined ? 0 : Math.floor(((position + 0.5) * pictures.length) / size);
    },
    nameOf,
    moved,
  };
}
