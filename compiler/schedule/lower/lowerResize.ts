import type { NodeOf } from "../../../ir/graph.ts";
import type { Scalar } from "../../../ir/scalar.ts";
import { add, argument, div, floorDiv, literal, max, min, mod, mul, sub, variable } from "../../../ir/scalarBuild.ts";
import { simplify } from "../../../ir/scalarSimplify.ts";
import { prefixRows, sizeOf } from "../../../ir/types.ts";
import { unflatten } from "../view.ts";
import type { Context, Launch } from "./context.ts";
import { createOperands, rowRanges } from "./operands.ts";
import { mapLaunch } from "./lowerMap.ts";

/** What is read along one axis: an element's position, and its weight. */
type Tap = { readonly at: Scalar; readonly weight: Scalar };

/**
 * An interpolation: each result is a weighted sum of its neighbours in x, two of each axis (bilinear) or four (bicubic).
 * Positions are exact: source = numerator / denominator in whole numbers.
 */
export const lowerResize = (context: Context, node: NodeOf<"resize">): Launch => {
  const into = createOperands(context);
  const x = context.view(node.inputs[0]);
  const { to, mode, alignCorners } = node.attrs;
  if (mode === "nearest" || prefixRows(node.type) > 0)
    throw new Error("internal: a resize that is an address map, or of prefix tokens");
  const ranges = rowRanges(node.type);
  const out = unflatten(node.type.axes, variable("r"));
  let corners: readonly { readonly at: { readonly [axis: string]: Scalar }; readonly weight: Scalar }[] = [
    { at: out, weight: literal(1) },
  ];
  for (const { axis, size } of to) {
    const taps = tapsOf(mode, out[axis] ?? literal(0), sizeOf(x.type, axis) ?? 1, size, alignCorners);
    corners = corners.flatMap((corner) =>
      taps.map(({ at, weight }) => ({ at: { ...corner.at, [axis]: at }, weight: mul(corner.weight, weight) })),
    );
  }
  const elements = corners.map(({ at }) => into.access(x.grid(at, variable("n")), ranges));
  const terms = corners.map(({ weight }, i) => mul(argument(i), simplify(weight, ranges)));
  const body = terms.reduce((sum, term) => add(sum, term));
  return mapLaunch(context, node, into, body, elements, null, 2 * elements.length);
};

const tapsOf = (
  mode: "bilinear" | "bicubic",
  position: Scalar,
  before: number,
  after: number,
  alignCorners: boolean,
): readonly Tap[] => {
  const [numerator, denominator] = alignCorners
    ? [mul(position, before - 1), Math.max(1, after - 1)]
    : [sub(mul(add(mul(position, 2), 1), before), after), 2 * after];
  const below = floorDiv(numerator, denominator);
  const fraction = div(mod(numerator, denominator), denominator);
  const inside = (at: Scalar): Scalar => max(min(at, before - 1), 0);
  if (before === 1) return [{ at: literal(0), weight: literal(1) }];
  if (mode === "bilinear")
    return [
      { at: inside(below), weight: sub(1, fraction) },
      { at: inside(add(below, 1)), weight: fraction },
    ];
  return [-1, 0, 1, 2].map((step) => ({ at: inside(add(below, step)), weight: keys(step, fraction) }));
};

/** Keys, Cubic convolution interpolation (1981), with a = -3/4, of the element `step` from the one below. */
const keys = (step: number, fraction: Scalar): Scalar => {
  const a = -0.75;
  // The distance is fraction - step where that is positive, and step - fraction otherwise.
  const distance = step <= 0 ? sub(fraction, step) : sub(step, fraction);
  const near = step === 0 || step === 1;
  if (near) return add(mul(mul(sub(mul(a + 2, distance), a + 3), distance), distance), 1);
  return sub(mul(add(mul(sub(mul(a, distance), 5 * a), distance), 8 * a), distance), 4 * a);
};
