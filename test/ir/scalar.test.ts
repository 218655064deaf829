import * as fc from "fast-check";
import { describe, expect, test } from "vitest";
import { erf } from "../../ir/erf.ts";
import type { BinaryOp, Scalar, UnaryOp } from "../../ir/scalar.ts";
import {
  add,
  and,
  argument,
  load,
  min,
  mul,
  neg,
  not,
  or,
  select,
  selectNode,
  sub,
  variable,
} from "../../ir/scalarBuild.ts";
import { compileScalar, evaluateScalar } from "../../ir/scalarEvaluate.ts";
import { binaryFunctions, unaryFunctions } from "../../ir/scalarMeaning.ts";
import { parseScalar, printScalar } from "../../ir/scalarText.ts";
import { mapScalar, substitute, substituteArguments, variablesOf } from "../../ir/scalarWalk.ts";

const x = variable("x");

describe("makers", () => {
  test.each<[Scalar, string]>([
    [add(x, 0), "x"],
    [add(1, 2, x), "3 + x"],
    [mul(x, 1), "x"],
    [mul(x, 0), "x * 0"],
    [sub(0, x), "-x"],
    [neg(neg(x)), "x"],
    [and(1, x, 1), "x"],
    [and(x, 0), "0"],
    [or(x, 0), "x"],
    [min(3, 5), "3"],
    [select(1, x, 5), "x"],
    [select(not(x), 1, 0), "!x"],
    [select(x, 1, 0), "x ? 1 : 0"],
  ])("fold to %#", (expr, expected) => {
    expect(printScalar(expr)).toBe(expected);
  });
});

describe("text", () => {
  test.each([
    "x + y * 2",
    "(x + y) * 2",
    "x - (y - z)",
    "x - y - z",
    "-x * y",
    "-(x * y)",
    "-(1)",
    "x * -1",
    "q.t <= k.t && !q.isPrefix || head == 3",
    "a ? b : c ? d : e",
    "(a ? b : c) ? d : e",
    "floorDiv(x, 4) + mod(x, 4)",
    "table0[q.t - k.t + 7, head]",
    "$0 * sigmoid($1)",
    "x < 3 ? s : -inf",
    "1.5e-7 / x",
  ])("%s", (text) => {
    expect(printScalar(parseScalar(text))).toBe(text);
  });

  test.each([
    ["x +", "1:4: expected an expression"],
    ["sine(x)", '"sine" of 1 operands is not an operation'],
    ["(x", 'expected ")"'],
    ["x y", "expected the end"],
  ])("refuses %s", (text, message) => {
    expect(() => parseScalar(text)).toThrow(message);
  });

  const names = fc.constantFrom("x", "q.t", "head", "minimum", "nanometre", "info");
  const { any } = fc.letrec<{ any: Scalar }>((tie) => ({
    any: fc.oneof(
      { maxDepth: 4, depthIdentifier: "any" },
      names.map(variable),
      fc.double().map((value): Scalar => ({ kind: "number", value })),
      fc.nat(3).map(argument),
      fc.tuple(fc.nat(2), fc.array(tie("any"), { maxLength: 3 })).map(([table, index]) => load(table, index)),
      fc
        .tuple(fc.constantFrom(...(Object.keys(unaryFunctions) as UnaryOp[])), tie("any"))
        .map(([op, of]): Scalar => ({ kind: "unary", op, of })),
      fc
        .tuple(fc.constantFrom(...(Object.keys(binaryFunctions) as BinaryOp[])), tie("any"), tie("any"))
        .map(([op, left, right]): Scalar => ({ kind: "binary", op, left, right })),
      fc.tuple(tie("any"), tie("any"), tie("any")).map(([c, a, b]) => selectNode(c, a, b)),
    ),
  }));

  test("parsing what is printed gives the same expression", () => {
    fc.assert(
      fc.property(any, (expr) => {
        expect(parseScalar(printScalar(expr))).toEqual(expr);
      }),
    );
  });
});

const value = (text: string, variables: Record<string, number> = {}): number =>
  evaluateScalar(parseScalar(text), { variables });
const outOfReach = (): number => expect.fail("read");

describe("values", () => {
  test.each([
    ["floorDiv(-7, 4)", -2],
    ["mod(-7, 4)", 1],
    ["mod(7, -4)", -1],
    ["rem(-7, 4)", -3],
    ["round(-2.5)", -2],
    ["round(2.5)", 3],
    ["rsqrt(4)", 0.5],
    ["sigmoid(0)", 0.5],
    ["sigmoid(-1000)", 0],
    ["1 < 2 && 3 != 4", 1],
    ["2 ? 5 : 6", 5],
  ])("%s is %d", (text, expected) => {
    expect(value(text)).toBe(expected);
  });

  test("what && and a choice do not need is not read", () => {
    const guarded = parseScalar("x > 0 && table0[x] > 0 ? table0[x] : 9");
    expect(evaluateScalar(guarded, { variables: { x: 0 }, load: outOfReach })).toBe(9);
    const compiled = compileScalar(guarded, { variable: () => 0, load: outOfReach });
    expect(compiled(Float64Array.of(0))).toBe(9);
  });

  test("a missing variable is named", () => {
    expect(() => value("x + 1")).toThrow('the variable "x" has no value');
  });

  test("compiled and evaluated agree", () => {
    fc.assert(
      fc.property(fc.double({ noNaN: true }), fc.double({ noNaN: true }), (a, b) => {
        for (const op of Object.keys(binaryFunctions) as BinaryOp[]) {
          const expr: Scalar = { kind: "binary", op, left: variable("a"), right: argument(0) };
          const compiled = compileScalar(expr, { variable: () => 0, argument: () => 1 });
          expect(compiled(Float64Array.of(a, b))).toBe(evaluateScalar(expr, { variables: { a }, arguments: [b] }));
        }
      }),
      { numRuns: 50 },
    );
  });

  test.each([
    // Fifteen digits of NIST's table 7.23.
    [0.1, 0.1124629160182849],
    [0.5, 0.5204998778130465],
    [1, 0.8427007929497149],
    [1.99, 0.995111413199617],
    [2.01, 0.9955248493552482],
    [3, 0.9999779095030014],
    [7, 1],
  ])("erf(%d)", (at, expected) => {
    expect(Math.abs(erf(at) - expected)).toBeLessThan(3e-16);
    expect(erf(-at)).toBe(-erf(at));
  });
});

describe("parts", () => {
  test("variables, and expressions in their place", () => {
    const expr = parseScalar("floorDiv(r, 4) * n + table0[r] + $0");
    expect([...variablesOf(expr)]).toEqual(["r", "n"]);
    expect(printScalar(substitute(expr, { n: 0, r: parseScalar("q + 1") }))).toBe(
      "floorDiv(q + 1, 4) * 0 + table0[q + 1] + $0",
    );
    expect(printScalar(substituteArguments(expr, () => x))).toBe("floorDiv(r, 4) * n + table0[r] + x");
  });

  test("nothing replaced is the same object", () => {
    const expr = parseScalar("x + y * 2");
    expect(mapScalar(expr, () => undefined)).toBe(expr);
    expect(substitute(expr, { constructor: 1 })).toBe(expr);
  });
});
