import * as fc from "fast-check";
import { expect, test } from "vitest";
import { parseGraph } from "../../ir/parse.ts";
import type { Precision } from "../../ir/types.ts";
import { deviceErrors } from "../support/agreement.ts";

// Rows by number, and parts joined along any axis, on the device against the evaluator.

const runs = Number(process.env["FOVEA_TAKE_RUNS"] ?? 6);
const size = fc.integer({ min: 1, max: 9 });
const precision = fc.constantFrom<Precision>("f32", "bf16", "f16");

const holds = async (text: string, wanted: Precision, batch: number) => {
  const errors = await deviceErrors(parseGraph(text), { precision: wanted, keep: false, batch });
  for (const [name, error] of errors)
    expect({ text, name, error }).toSatisfy(() => error < { f32: 1e-6, bf16: 5e-3, f16: 6e-4 }[wanted]);
};

test("rows of a table by numbers, some of which name none, with what is added behind", async () => {
  await fc.assert(
    fc.asyncProperty(
      size,
      size,
      fc.constantFrom(1, 3, 8, 24),
      size,
      precision,
      async (t, h, channels, rows, wanted) => {
        // Numbers run from -1 to past the last row.
        const text = `graph "take"
%0: int[b, h ${h}, t ${t}; 1] = input {name="x", layout="b h t"}
%1: [b, h ${h}, t ${t}; 1] = pointwise %0 {body=$0 - 1}
%2: int[b, h ${h}, t ${t}; 1] = round %1
%3: [row ${rows}; ${channels}] = parameter {name="table", shape=[${rows}, ${channels}], layout="row c"}
%4: [b, h ${h}, t ${t}; ${channels}] = take %3, %2 {axis=row}
%5: [${channels}] = parameter {name="bias", shape=[${channels}], layout="c"}
%6: [b, h ${h}, t ${t}; ${channels}] = pointwise %4, %5 {body=$0 * 2 + $1}
output "y" = %6 "b h t c"`;
        await holds(text, wanted, 2);
      },
    ),
    { numRuns: runs, seed: 7 },
  );
});

test("positions of each example's own, along an axis between others", async () => {
  await fc.assert(
    fc.asyncProperty(size, size, size, fc.constantFrom(1, 2, 16), precision, async (t, n, k, channels, wanted) => {
      const text = `graph "take"
%0: int[b, k ${k}, t ${t}; 1] = input {name="at", layout="b k t"}
%1: [b, t ${t}, n ${n}; ${channels}] = input {name="x", layout="b t n c"}
%2: [b, k ${k}, t ${t}; ${channels}] = take %1, %0 {axis=n}
output "y" = %2 "b k t c"`;
      await holds(text, wanted, 3);
    }),
    { numRuns: runs, seed: 8 },
  );
});

test("parts end to end along an axis that others are slower than", async () => {
  await fc.assert(
    fc.asyncProperty(
      size,
      size,
      size,
      fc.constantFrom(1, 2, 16),
      precision,
      async (h, first, second, channels, wanted) => {
        const text = `graph "join"
%0: [b, h ${h}, w ${first}; ${channels}] = input {name="x", layout="b h w c"}
%1: [b, h ${h}, w ${second}; ${channels}] = input {name="z", layout="b h w c"}
%2: [b, h ${h}, w ${2 * first + second}; ${channels}] = concat %0, %1, %0 {over=axis w}
output "y" = %2 "b c w h"`;
        await holds(text, wanted, 2);
      },
    ),
    { numRuns: runs, seed: 9 },
  );
});
