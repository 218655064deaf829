import type { Node, NodeOf, ValueId } from "../../ir/graph.ts";
import { prefixRows, rowsOf, sizeOf, type TensorType } from "../../ir/types.ts";
import { rewrite, type Pass, type Rewriter } from "./rewrite.ts";

/**
 * Takes the wanted tokens before a computation that treats each token alone, so that the others are never computed.
 * Requires: simplifyViews (a view of tokens put together is gone). Ensures: views that take some of the tokens stand as
 * near to the inputs as their readers allow, but behind a product of all tokens that shares its input with others: they
 * will be one, and a few more rows of it cost less than a launch.
 *
 *   prefix(head(norm(x))) → head(norm(prefix(x)))
 */
export const hoistTokenViews: Pass = {
  name: "hoistTokenViews",
  run: (graph) =>
    rewrite(graph, (node, to) =>
      takesTokens(node, to) && !isBesideOthers(node, to) ? hoist(node, node.inputs[0], to) : null,
    ),
};

type TokenView = NodeOf<"grid"> | NodeOf<"prefix"> | NodeOf<"slice"> | NodeOf<"pack">;

/** Views that leave channels as they are: a pack does where the axes it packs have one position. */
const takesTokens = (node: Node, to: Rewriter): node is TokenView => {
  if (node.op === "grid" || node.op === "prefix" || node.op === "slice") return true;
  return node.op === "pack" && to.type(node.inputs[0]).channels === node.type.channels;
};

/** Whether the grid is wanted of a product (and its bias) that other products of all the same tokens stand beside. */
const isBesideOthers = (view: TokenView, to: Rewriter): boolean => {
  if (view.op !== "grid") return false;
  const result = to.node(view.inputs[0]);
  const linear = [result, ...(result.op === "pointwise" ? result.inputs.map((id) => to.node(id)) : [])].find(
    (node) => node.op === "linear",
  );
  if (linear === undefined) return false;
  const [input] = linear.inputs;
  const type = to.type(input);
  return (
    prefixRows(type) * fewRows <= rowsOf(type) &&
    to.readers(input).filter((reader) => reader !== "output" && reader.op === "linear").length > 1
  );
};
/** One row in so many is computed for nothing at most. */
const fewRows = 16;

const hoist = (view: TokenView, id: ValueId, to: Rewriter): ValueId | null => {
  const x = to.node(id);
  if (to.readers(id).length > 1) return null;
  const take = (input: ValueId): ValueId =>
    hoist(view, input, to) ?? to.add(view.op, [input], view.attrs as never, view);
  switch (x.op) {
    case "linear":
      return to.add("linear", [take(x.inputs[0]), x.inputs[1]], x.attrs, x);
    case "normalize":
      return x.attrs.axes.length === 0 ? to.add("normalize", [take(x.inputs[0])], x.attrs, x) : null;
    case "pointwise": {
      if (!x.inputs.every((input) => hasTokens(view, to.type(input)) || isRepeated(view, to.type(input)))) return null;
      const inputs = x.inputs.map((input) => (hasTokens(view, to.type(input)) ? take(input) : input));
      return to.add("pointwise", inputs, x.attrs, x);
    }
    case "reduce": {
      // The prefix's own repetitions, or whole axes of the grid: the tokens that stay are reduced alone.
      const over = to.type(x.inputs[0]).prefix.over;
      if (view.op !== "prefix" || !x.attrs.axes.every((axis) => over.includes(axis))) return null;
      return to.add("reduce", [take(x.inputs[0])], x.attrs, x);
    }
    default:
      return null;
  }
};

/** Whether the view can be taken of an input of a pointwise op, as of the op's result. */
const hasTokens = (view: TokenView, type: TensorType): boolean => {
  switch (view.op) {
    case "grid":
    case "prefix":
      return prefixRows(type) > 0;
    case "slice":
      return sizeOf(type, view.attrs.axis) !== undefined;
    case "pack":
      return view.attrs.axes.every((axis) => sizeOf(type, axis) !== undefined);
  }
};

/** Or whether the input is the same for all tokens that the view chooses from. */
const isRepeated = (view: TokenView, type: TensorType): boolean => {
  switch (view.op) {
    case "grid":
    case "prefix":
      return prefixRows(type) === 0 && type.axes.length === 0;
    case "slice":
      return prefixRows(type) === 0;
    case "pack":
      return prefixRows(type) === 0 && view.attrs.axes.every((axis) => sizeOf(type, axis) === undefined);
  }
};
