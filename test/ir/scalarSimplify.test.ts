import * as fc from "fast-check";
import { describe, expect, test } from "vitest";
import type { BinaryOp, Scalar } from "../../ir/scalar.ts";
import { binary, literal, select, unary, variable } from "../../ir/scalarBuild.ts";
import { evaluateScalar } from "../../ir/scalarEvaluate.ts";
import { below, decide, rangeOf, type Ranges } from "../../ir/scalarRange.ts";
import { isDivisible, linearIn, runLength, vectorLength } from "../../ir/scalarRuns.ts";
import { simplify } from "../../ir/scalarSimplify.ts";
import { parseScalar, printScalar } from "../../ir/scalarText.ts";

const simple = (text: string, ranges: Ranges, given?: string): string =>
  printScalar(simplify(parseScalar(text), ranges, given === undefined ? undefined : parseScalar(given)));

const row = { r: below(784), c: below(64) };

describe("simplify", () => {
  test.each<[text: string, ranges: Ranges, expected: string]>([
    ["r * 2 + r - 3 * r + 5", row, "5"],
    ["floorDiv(r * 64 + c, 64)", row, "r"],
    ["mod(r * 64 + c, 64)", row, "c"],
    ["mod(r, 1000)", row, "r"],
    ["floorDiv(r, 1000)", row, "0"],
    ["floorDiv(floorDiv(r, 4), 14)", row, "floorDiv(r, 56)"],
    ["mod(mod(r, 56), 4)", row, "mod(r, 4)"],
    ["floorDiv(mod(r, 56), 4)", row, "mod(floorDiv(r, 4), 14)"],
    // A row taken apart into coordinates and put together again.
    ["floorDiv(r, 56) * 56 + mod(floorDiv(r, 4), 14) * 4 + mod(r, 4)", row, "r"],
    ["mod(floorDiv(r, 4), 14) * 4 + mod(r, 4)", row, "mod(r, 56)"],
    ["(mod(floorDiv(r, 4), 14) * 14 + 3) * 4 + mod(r, 4)", row, "mod(floorDiv(r, 4), 14) * 56 + mod(r, 4) + 12"],
    ["r - floorDiv(r, 8) * 8", row, "mod(r, 8)"],
    ["floorDiv(r, 4) - 14 * floorDiv(r, 56)", row, "mod(floorDiv(r, 4), 14)"],
    // The same tile from another side: 16 rows of 8 columns each.
    ["floorDiv(tile * 128 + i * 8 + j, 128)", { tile: below(9), i: below(16), j: below(8) }, "tile"],
    ["mod(floorDiv(tile * 128 + i * 8 + j, 8), 16)", { tile: below(9), i: below(16), j: below(8) }, "i"],
    ["mod(x - 3, 14)", { x: { min: 3, max: 16 } }, "x - 3"],
    ["mod(x - 3, 14)", { x: below(14) }, "mod(x + 11, 14)"],
    ["rem(r, 4)", row, "mod(r, 4)"],
    ["floorDiv(r, -1)", row, "-r"],
    ["4 * r + mod(c, 4) < 8", row, "r < 2"],
    ["r * 4 <= r * 4 + 3", row, "1"],
    ["r < 784 && c >= 0", row, "1"],
    ["r < 784 && c >= 3", row, "c >= 3"],
    ["2 * r == 2 * c + 1", row, "0"],
    ["!(r < c)", row, "c <= r"],
    ["r < 100 && r < 100", row, "r < 100"],
    ["r < 5 ? c : c", row, "c"],
    ["r < 0 ? c : r", row, "r"],
    ["r < 4 ? floorDiv(r, 4) : floorDiv(r, 4) - 1", row, "r < 4 ? 0 : floorDiv(r, 4) - 1"],
    ["r < 4 ? r * 64 + c : r * 32 + c", row, "c + (r < 4 ? r * 64 : r * 32)"],
    ["min(r + c, 1000)", row, "c + r"],
    ["max(min(r, c), 0)", row, "min(r, c)"],
    ["abs(r - 1000)", row, "1000 - r"],
    ["q.isPrefix || r < 5", { ...row, "q.isPrefix": { min: 0, max: 0 } }, "r < 5"],
    // What is no integer keeps its shape.
    ["s * 1 + sin((r + c) - c)", row, "s + sin(r)"],
  ])("%s", (text, ranges, expected) => {
    expect(simple(text, ranges)).toBe(expected);
  });

  test("relies on what is given", () => {
    expect(simple("mod(y - 1, 16)", { y: below(18) }, "y >= 1 && y < 17")).toBe("y - 1");
    expect(simple("floorDiv(r - 4, 780)", row, "!(r < 4)")).toBe("0");
  });

  test("leaves infinities alone", () => {
    expect(simple("r < 3 ? s : -inf", row)).toBe("r < 3 ? s : -inf");
  });
});

const small = { x: { min: -5, max: 6 }, y: below(8), z: below(3) };
const integerOps: readonly BinaryOp[] = ["add", "sub", "mul", "min", "max", "floorDiv", "mod", "rem"];
const comparisons: readonly BinaryOp[] = ["eq", "ne", "lt", "le", "gt", "ge"];

const { integer } = fc.letrec<{ integer: Scalar; divided: Scalar; condition: Scalar }>((tie) => ({
  integer: fc.oneof(
    { maxDepth: 5, depthIdentifier: "scalar" },
    fc.constantFrom(...Object.keys(small)).map(variable),
    fc.integer({ min: -9, max: 9 }).map(literal),
    fc
      .tuple(fc.constantFrom<BinaryOp>("add", "sub"), tie("integer"), tie("integer"))
      .map(([op, a, b]) => binary(op, a, b)),
    fc.tuple(tie("integer"), fc.integer({ min: -8, max: 8 })).map(([a, b]) => binary("mul", a, b)),
    fc.tuple(tie("divided"), tie("divided")).map(([a, b]) => binary("add", a, b)),
    fc
      .tuple(fc.constantFrom(...integerOps.slice(2, 5)), tie("integer"), tie("integer"))
      .map(([op, a, b]) => binary(op, a, b)),
    fc.tuple(tie("condition"), tie("integer"), tie("integer")).map(([c, a, b]) => select(c, a, b)),
    fc.tuple(fc.constantFrom("neg" as const, "abs" as const), tie("integer")).map(([op, a]) => unary(op, a)),
    tie("condition"),
  ),
  divided: fc
    .tuple(
      fc.constantFrom<BinaryOp>("floorDiv", "mod", "rem"),
      tie("integer"),
      fc.constantFrom(1, 2, 3, 4, 6, 8, 12, -2, -4),
      fc.constantFrom(1, 2, 4, -4),
    )
    .map(([op, a, by, times]) => binary("mul", binary(op, a, by), times)),
  condition: fc.oneof(
    { maxDepth: 5, depthIdentifier: "scalar" },
    fc.tuple(fc.constantFrom(...comparisons), tie("integer"), tie("integer")).map(([op, a, b]) => binary(op, a, b)),
    fc
      .tuple(fc.constantFrom<BinaryOp>("and", "or"), tie("condition"), tie("condition"))
      .map(([op, a, b]) => binary(op, a, b)),
    tie("condition").map((a) => unary("not", a)),
  ),
}));

function* positions(): Generator<{ readonly x: number; readonly y: number; readonly z: number }> {
  for (let x = small.x.min; x <= small.x.max; x++)
    for (let y = small.y.min; y <= small.y.max; y++) for (let z = small.z.min; z <= small.z.max; z++) yield { x, y, z };
}

describe("by brute force", () => {
  test("a simplified expression is equal, and within its range", () => {
    fc.assert(
      fc.property(integer, (expr) => {
        const simplified = simplify(expr, small);
        const range = rangeOf(expr, small);
        const simplifiedRange = rangeOf(simplified, small);
        for (const variables of positions()) {
          const value = evaluateScalar(expr, { variables });
          if (evaluateScalar(simplified, { variables }) !== value) expect.fail(`${printScalar(expr)} is ${value}`);
          if (value < range.min || value > range.max) expect.fail(`${value} of ${printScalar(expr)} is out of range`);
          if (value < simplifiedRange.min || value > simplifiedRange.max)
            expect.fail(`${printScalar(simplified)} = ${value}`);
        }
      }),
      { numRuns: 400 },
    );
  });

  test("runs advance by one", () => {
    fc.assert(
      fc.property(integer, (expr) => {
        const run = runLength(expr, "y", small, 8);
        const vector = vectorLength(expr, "y", small, 8);
        expect(vector).toBeLessThanOrEqual(run);
        for (const variables of positions()) {
          const at = (y: number): number => evaluateScalar(expr, { variables: { ...variables, y } });
          const start = variables.y - (variables.y % run);
          expect(at(variables.y) - at(start)).toBe(variables.y - start);
          expect(Math.abs(at(variables.y - (variables.y % vector)) % vector)).toBe(0);
        }
      }),
      { numRuns: 200 },
    );
  });

  test("coordinates put together again are the row", () => {
    const extents = fc.array(fc.integer({ min: 1, max: 9 }), { minLength: 1, maxLength: 4 });
    fc.assert(
      fc.property(extents, fc.integer({ min: 1, max: 3 }), (sizes, slack) => {
        const r = variable("r");
        let stride = 1;
        let sum = literal(0);
        for (const size of sizes.toReversed()) {
          sum = binary("add", sum, binary("mul", binary("mod", binary("floorDiv", r, stride), size), stride));
          stride *= size;
        }
        const ranges = { r: below(stride * slack) };
        expect(printScalar(simplify(sum, ranges))).toBe(
          slack === 1 ? (stride === 1 ? "0" : "r") : stride === 1 ? "0" : `mod(r, ${stride})`,
        );
      }),
    );
  });
});

describe("what vector loads need", () => {
  const ranges = { r: below(784), c: below(96), n: below(97) };

  test.each([
    ["r * 96 + c", "c", 8],
    ["r * 97 + c", "c", 8],
    ["r * 96 + n", "n", 1],
    ["r * 96 + c * 2", "c", 1],
    ["floorDiv(c, 4) * 100 + mod(c, 4)", "c", 4],
    ["mod(c, 32) * 784 + r", "r", 8],
    ["r * 96 + mod(floorDiv(c, 4), 14) * 56 + mod(c, 4)", "c", 4],
  ])("%s runs in %s by %i", (text, name, expected) => {
    expect(runLength(parseScalar(text), name, ranges, 8)).toBe(expected);
  });

  test("a vector load also begins at a multiple", () => {
    expect(vectorLength(parseScalar("r * 96 + c"), "c", ranges, 8)).toBe(8);
    expect(vectorLength(parseScalar("r * 98 + c"), "c", ranges, 8)).toBe(2);
    expect(vectorLength(parseScalar("r * 97 + c"), "c", ranges, 8)).toBe(1);
    expect(vectorLength(parseScalar("r * 96 + c + 4"), "c", ranges, 8)).toBe(4);
    expect(isDivisible(parseScalar("r * 96 + 8 * floorDiv(c, 3)"), 8, ranges)).toBe(true);
    expect(isDivisible(parseScalar("16 * r + 4 + (r < 1 ? c * 8 + 4 : r * 24 - 4)"), 8, ranges)).toBe(true);
    expect(isDivisible(parseScalar("16 * r + 4 + (r < 1 ? c * 8 + 4 : r * 24 - 3)"), 8, ranges)).toBe(false);
  });

  test("the coefficient of a variable, and the rest", () => {
    const form = linearIn(parseScalar("(r * 96 + c) * 2 + floorDiv(r, 4)"), "c", ranges);
    expect(form?.coefficient).toBe(2);
    expect(form && printScalar(form.rest)).toBe("r * 192 + floorDiv(r, 4)");
    expect(linearIn(parseScalar("c + floorDiv(c, 4)"), "c", ranges)).toBeUndefined();
    expect(linearIn(parseScalar("r"), "c", ranges)?.coefficient).toBe(0);
  });
});

const tile = (q: number, k: number): Ranges => ({ "q.t": { min: q, max: q + 3 }, "k.t": { min: k, max: k + 3 } });

test("a condition over a tile holds always, never or maybe", () => {
  const causal = parseScalar("k.t <= q.t");
  expect(decide(causal, tile(4, 0))).toBe("always");
  expect(decide(causal, tile(4, 4))).toBe("maybe");
  expect(decide(causal, tile(0, 4))).toBe("never");
});
