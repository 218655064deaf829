import type { NodeOf, ValueId } from "../../ir/graph.ts";
import type { Scalar } from "../../ir/scalar.ts";
import { add, argument } from "../../ir/scalarBuild.ts";
import { rowsOf, sizeOf } from "../../ir/types.ts";
import { composed } from "./composed.ts";
import { rewrite, type Pass, type Rewriter } from "./rewrite.ts";

/**
 * Multiplies what is repeated before it is repeated: a product of parts side by side is a sum of products, a product of a
 * sum likewise, and each has the rows of its own part alone. So the offsets of a query and of motion between frames are
 * computed per frame, not per pair of frames, and products of products become one on the way.
 * Requires: simplifyViews. Ensures: no product reads values put together of which some repeat along an axis.
 *
 *   linear([repeat(linear(x, A) + a), y], [B, C]) → repeat(linear(x, B A) + B a) + linear(y, C)
 */
export const distributeProducts: Pass = {
  name: "distributeProducts",
  run: (graph) => {
    const known = new Map<string, ValueId>();
    return rewrite(graph, (node, to) => {
      if (node.op !== "linear" || !to.isConstant(node.inputs[1]) || to.isConstant(node.inputs[0])) return null;
      const product = productOf(node.inputs[0], node.inputs[1], { to, like: node, known });
      return product.gains ? product.value : null;
    });
  },
};

type Scope = { readonly to: Rewriter; readonly like: NodeOf<"linear">; readonly known: Map<string, ValueId> };
/** A product, and whether fewer rows are multiplied than it has. */
type Product = { readonly value: ValueId; readonly gains: boolean };

/** The product of a value and a weight, as far as can be made of products of what the value is made of. */
const productOf = (id: ValueId, weight: ValueId, scope: Scope): Product => {
  const { to, like } = scope;
  const node = to.node(id);
  switch (node.op) {
    case "expand":
      return {
        value: to.add("expand", [productOf(node.inputs[0], weight, scope).value], node.attrs, like),
        gains: true,
      };
    case "rename": {
      const { value, gains } = productOf(node.inputs[0], weight, scope);
      return { value: to.add("rename", [value], node.attrs, like), gains };
    }
    case "unpack":
      return productOfSplit(node, weight, scope);
    case "concat":
      return node.attrs.over === "channels" ? productOfParts(node, weight, scope) : plain(id, weight, scope);
    case "pointwise":
      return productOfSum(node, weight, scope);
    case "linear": {
      const inner = to.readers(id).length > 1 ? null : composedOnce(node, weight, scope);
      return inner === null ? plain(id, weight, scope) : productOf(node.inputs[0], inner, scope);
    }
    default:
      return plain(id, weight, scope);
  }
};

/** One product of a value and a weight, however often it is asked for. */
const plain = (x: ValueId, weight: ValueId, { to, like, known }: Scope): Product => {
  const key = `${x} ${weight}`;
  const value = known.get(key) ?? to.add("linear", [x, weight], {}, like);
  known.set(key, value);
  return { value, gains: false };
};

const composedOnce = (inner: NodeOf<"linear">, weight: ValueId, { to, like, known }: Scope): ValueId | null => {
  const key = `${inner.inputs[1]} behind ${weight}`;
  const made = known.get(key) ?? composed(inner, weight, to, like);
  if (made !== null) known.set(key, made);
  return made;
};

/** An axis cut in two: blocks side by side in the channels, then the positions within a block an axis. */
const productOfSplit = (node: NodeOf<"unpack">, weight: ValueId, scope: Scope): Product => {
  const { to, like } = scope;
  const merge = to.node(node.inputs[0]);
  if (merge.op !== "merge" || !isSplit(merge, node, to)) return plain(node.id, weight, scope);
  const { value, gains } = productOf(merge.inputs[0], weight, scope);
  const merged = to.add("merge", [value], merge.attrs, like);
  return { value: to.add("unpack", [merged], node.attrs, like), gains };
};

const isSplit = (merge: NodeOf<"merge">, unpack: NodeOf<"unpack">, to: Rewriter): boolean => {
  const from = to.type(merge.inputs[0]);
  return (
    from.channels === unpack.type.channels &&
    merge.attrs.size.every(({ axis, size }) => (sizeOf(from, axis) ?? 1) % size === 0)
  );
};

const productOfParts = (node: NodeOf<"concat">, weight: ValueId, scope: Scope): Product => {
  const { to, like } = scope;
  let start = 0;
  const products = node.inputs.map((part) => {
    const width = to.type(part).channels;
    const columns = to.add("channels", [weight], { groups: 1, start, width }, like);
    start += width;
    return productOf(part, columns, scope);
  });
  const body = add(...products.map((_, i) => argument(i)));
  const sum = to.add("pointwise", products.map(({ value }) => value), { body }, like); // prettier-ignore
  return { value: sum, gains: products.some(({ gains }) => gains) };
};

/** Sums and differences, where all terms together have no more rows than the sum; a layer and its bias are one. */
const productOfSum = (node: NodeOf<"pointwise">, weight: ValueId, scope: Scope): Product => {
  const { to, like } = scope;
  const rows = node.inputs.reduce((sum, id) => sum + sourceRows(id, to), 0);
  const distributes =
    isCombination(node.attrs.body) &&
    to.readers(node.id).length <= 1 &&
    node.inputs.every((id) => to.type(id).channels === node.type.channels) &&
    rows <= rowsOf(node.type);
  if (!distributes) return plain(node.id, weight, scope);
  const products = node.inputs.map((id) => productOf(id, weight, scope));
  const sum = to.add("pointwise", products.map(({ value }) => value), node.attrs, like); // prettier-ignore
  return { value: sum, gains: rows < rowsOf(node.type) || products.some(({ gains }) => gains) };
};

/** Rows before repeats; a constant's product is computed when weights are loaded. */
const sourceRows = (id: ValueId, to: Rewriter): number => {
  const node = to.node(id);
  if (to.isConstant(id)) return 0;
  return node.op === "expand" || node.op === "rename" ? sourceRows(node.inputs[0], to) : rowsOf(node.type);
};

/** Sums and differences of arguments. */
const isCombination = (body: Scalar): boolean =>
  body.kind === "argument" ||
  (body.kind === "binary" &&
    (body.op === "add" || body.op === "sub") &&
    isCombination(body.left) &&
    isCombination(body.right));
