import { GraphError } from "./errors.ts";

/**
 * How a dense array outside of the program (an input, an output, a checkpoint's tensor) holds a value's elements.
 * Written like einops: `b c t h w`, `(b t) (prefix | h w) c`. Each dimension is one or more parts laid end to end;
 * each part is a product of axes, the last fastest. `b` is the batch, `c` the channels, `prefix` the prefix tokens;
 * `1` is a dimension of one: a part without axes.
 *
 * A dimension of one part is shared by prefix tokens and grid tokens (`b t (prefix | h w) c` for a prefix repeated over
 * t). A dimension of two parts holds the prefix tokens in the part that says `prefix`, the grid tokens in the other.
 */
export type Layout = readonly LayoutDimension[];
type LayoutDimension = readonly LayoutPart[];
export type LayoutPart = readonly string[];

/** Names that an axis cannot have. `prefix` is one where prefix tokens were made a grid. */
export const reservedNames: ReadonlySet<string> = new Set(["b", "c"]);

export const printLayout = (layout: Layout): string =>
  layout
    .map((parts) => {
      const text = parts.map((part) => (part.length === 0 ? "1" : part.join(" "))).join(" | ");
      return parts.length === 1 && (parts[0]?.length ?? 0) <= 1 ? text : `(${text})`;
    })
    .join(" ");

/** The inverse of `printLayout`. Throws a GraphError that shows the place. */
export const parseLayout = (text: string): Layout => {
  const fail = (problem: string): never => {
    throw new GraphError(`the layout "${text}" ${problem}`, 'write it like "b c t h w" or "(b t) (prefix | h w) c"');
  };
  const tokens = text.match(/[()|]|[^\s()|]+/g) ?? [];
  const layout: LayoutDimension[] = [];
  const seen = new Set<string>();
  let open: string[][] | undefined;
  for (const token of tokens) {
    if (token === "(") {
      if (open !== undefined) fail("has parentheses in parentheses");
      open = [[]];
    } else if (token === ")") {
      layout.push(open ?? fail('has a ")" without a "("'));
      open = undefined;
    } else if (token === "|") {
      (open ?? fail('has a "|" outside of parentheses')).push([]);
    } else if (token === "1") {
      if (open === undefined) layout.push([[]]);
    } else if (/^[A-Za-z_]\w*$/.test(token)) {
      if (token !== "prefix" && (token === "b" || token === "c") && seen.has(token)) fail(`says "${token}" twice`);
      seen.add(token);
      if (open === undefined) layout.push([[token]]);
      else open.at(-1)?.push(token);
    } else fail(`has "${token}", which is no axis`);
  }
  if (open !== undefined) fail('lacks a ")"');
  for (const parts of layout) {
    if (parts.length > 2) fail("has a dimension of more than two parts");
    if (parts.length === 2 && parts.filter((part) => part.includes("prefix")).length !== 1) {
      fail('has a dimension of two parts; exactly one of them must hold "prefix"');
    }
  }
  return layout;
};
