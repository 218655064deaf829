import * as fc from "fast-check";
import { expect, test } from "vitest";
import { runPasses } from "../../compiler/passes/pipeline.ts";
import { evaluate } from "../../ir/evaluate.ts";
import { parseGraph } from "../../ir/parse.ts";
import { runPlan } from "../support/runPlan.ts";

// Convolutions, poolings and resizes as plans: address maps of any window, stride, dilation, padding and grouping.

const batch = 2;
const numbers = (count: number, seed: number): Float64Array =>
  Float64Array.from({ length: count }, (_, i) => Math.sin((i + 1) * 12.9898 + seed * 78.233));
const product = (sizes: readonly number[]): number => sizes.reduce((all, size) => all * size, 1);

/** One axis of a window, and an extent that it fits into. */
const windowAxis = fc
  .record({
    size: fc.integer({ min: 1, max: 3 }),
    stride: fc.integer({ min: 1, max: 3 }),
    dilation: fc.integer({ min: 1, max: 2 }),
    before: fc.integer({ min: 0, max: 2 }),
    after: fc.integer({ min: 0, max: 2 }),
    more: fc.integer({ min: 0, max: 4 }),
  })
  .map(({ more, ...axis }) => {
    const reach = axis.dilation * (axis.size - 1) + 1;
    return { ...axis, extent: Math.max(1, reach - axis.before - axis.after) + more };
  });
type Axis = { readonly size: number; readonly stride: number; readonly dilation: number; readonly before: number; readonly after: number; readonly extent: number }; // prettier-ignore

const names = ["t", "h", "w"];
const windowText = (axes: readonly Axis[]): string =>
  axes
    .map((axis, i) =>
      [
        `${names[i]} ${axis.size}`,
        ...(axis.stride === 1 ? [] : [`stride ${axis.stride}`]),
        ...(axis.dilation === 1 ? [] : [`dilation ${axis.dilation}`]),
        ...(axis.before === 0 && axis.after === 0 ? [] : [`pad ${axis.before} ${axis.after}`]),
      ].join(" "),
    )
    .join(", ");
const extents = (axes: readonly Axis[]): string => axes.map(({ extent }, i) => `${names[i]} ${extent}`).join(", ");
const axisNames = (axes: readonly unknown[]): string => names.slice(0, axes.length).join(" ");

/** The input channels last or first, as callers lay it out. */
const layoutOf = (axes: readonly Axis[], isFirst: boolean): string =>
  isFirst ? `b c ${axisNames(axes)}` : `b ${axisNames(axes)} c`;

const same = (
  text: string,
  inputs: { readonly [name: string]: Float64Array },
  parameters: { readonly [name: string]: Float64Array },
): void => {
  const graph = parseGraph(text);
  const expected = evaluate(graph, { batch, inputs, parameters }).outputs["y"] ?? new Float64Array(0);
  const actual = runPlan(runPasses(graph).graph, { batch, inputs, parameters, order: "forwards" })["y"];
  for (const [i, wanted] of expected.entries())
    if (!(Math.abs((actual?.[i] ?? NaN) - wanted) < 1e-9 * (1 + Math.abs(wanted))))
      expect.fail(`y[${i}] is ${actual?.[i]}, not ${wanted}, in\n${text}`);
};

const runs = Number(process.env["FOVEA_PLAN_RUNS"] ?? 150);
const axesOf = fc.array(windowAxis, { minLength: 1, maxLength: 3 });

test("convolutions of any shape, in any number of groups", () => {
  fc.assert(
    fc.property(
      axesOf,
      fc.constantFrom(1, 2, 3),
      fc.integer({ min: 1, max: 3 }),
      fc.constantFrom(1, 2, 32),
      fc.boolean(),
      (axes, groups, width, columns, isFirst) => {
        const [channels, out] = [groups * width, groups * columns];
        const sizes = axes.map(({ size }) => size);
        const text = `graph "windows"
%0: [b, ${extents(axes)}; ${channels}] = input {name="x", layout="${layoutOf(axes, isFirst)}"}
%1: [out ${out}, ${axes.map(({ size }, i) => `${names[i]} ${size}`).join(", ")}; ${width}] = parameter {name="w", shape=[${[out, width, ...sizes].join(", ")}], layout="out c ${axisNames(axes)}"}
%2: [${out}] = parameter {name="b", shape=[${out}], layout="c"}
%3 = conv %0, %1 {window=[${windowText(axes)}], groups=${groups}}
%4 = pointwise %3, %2 {body=max($0 + $1, 0)}
output "y" = %4 "${layoutOf(axes, false)}"
`;
        const x = numbers(batch * channels * product(axes.map(({ extent }) => extent)), 1);
        same(text, { x }, { w: numbers(out * width * product(sizes), 2), b: numbers(out, 3) });
      },
    ),
    { numRuns: runs },
  );
}, 120_000);

test("poolings of any shape, and products of a function of them", () => {
  fc.assert(
    fc.property(
      axesOf,
      fc.constantFrom("mean" as const, "max" as const),
      fc.boolean(),
      fc.boolean(),
      fc.boolean(),
      (given, kind, countPadding, isFirst, isMultiplied) => {
        // A window that lies in the padding alone has no mean and no maximum.
        const axes = given.map((axis) => {
          const most = Math.min(axis.size, axis.extent) - 1;
          return { ...axis, dilation: 1, before: Math.min(axis.before, most), after: Math.min(axis.after, most) };
        });
        fc.pre(axes.every(({ size, before, after, extent }) => extent + before + after >= size));
        const text = `graph "windows"
%0: [b, ${extents(axes)}; 3] = input {name="x", layout="${layoutOf(axes, isFirst)}"}
%1 = pool %0 {kind=${kind}, window=[${windowText(axes)}], countPadding=${countPadding}}
%2 = pointwise %1 {body=max($0, 0)}
%3: [out 4; 3] = parameter {name="w", shape=[4, 3], layout="out c"}
%4 = linear %2, %3
output "y" = ${isMultiplied ? "%4" : "%1"} "${layoutOf(axes, false)}"
`;
        const x = numbers(batch * 3 * product(axes.map(({ extent }) => extent)), 1);
        same(text, { x }, { w: numbers(12, 2) });
      },
    ),
    { numRuns: runs },
  );
}, 120_000);

test("resizes between any extents", () => {
  const extent = fc.integer({ min: 1, max: 9 });
  fc.assert(
    fc.property(
      fc.array(fc.tuple(extent, extent), { minLength: 1, maxLength: 3 }),
      fc.constantFrom("nearest" as const, "bilinear" as const, "bicubic" as const),
      fc.boolean(),
      (axes, mode, alignCorners) => {
        const from = axes.map(([size], i) => `${names[i]} ${size}`).join(", ");
        const to = axes.map(([, size], i) => `${names[i]} ${size}`).join(", ");
        const layout = `b ${axisNames(axes)} c`;
        const text = `graph "windows"
%0: [b, ${from}; 2] = input {name="x", layout="${layout}"}
%1 = resize %0 {to=[${to}], mode=${mode}, alignCorners=${alignCorners}}
output "y" = %1 "${layout}"
`;
        same(text, { x: numbers(batch * 2 * product(axes.map(([size]) => size)), 1) }, {});
      },
    ),
    { numRuns: runs },
  );
}, 120_000);
