import { describe, expect, it } from "vitest";
import { parseScalar } from "../../ir/scalarText.ts";
import { printCudaLocals } from "../../compiler/emit/cudaLocals.ts";
import { floatLiteral, printCuda, printCudaOperand } from "../../compiler/emit/cudaScalar.ts";
import type { CudaScope, CudaType } from "../../compiler/emit/cudaTypes.ts";
import { geluArgument } from "../../ir/scalarGelu.ts";

const scope: CudaScope = {
  variables: {
    r: { type: "int", text: "row", min: 0, max: 4999 },
    n: { type: "int", text: "n", min: 0, max: 99_999 },
    d: { type: "int", text: "d", min: -7, max: 7 },
    far: { type: "long", text: "far", min: 0, max: 2 ** 40 },
    "q.isPrefix": { type: "bool", text: "isPrefix" },
    s: { type: "float", text: "score" },
  },
  arguments: [
    { type: "float", text: "x" },
    { type: "int", text: "index" },
  ],
  tables: [{ type: "float", element: (index) => `bias[${index.join("][")}]` }],
};
const print = (text: string, as: CudaType = "int"): string => printCuda(parseScalar(text), scope, as);

describe("integers", () => {
  it("have no more parentheses than they need", () => {
    expect(print("(r + 1) * 3 - d")).toBe("(row + 1) * 3 - d");
    expect(print("r - (d - 1)")).toBe("row - (d - 1)");
    expect(print("r + -3")).toBe("row - 3");
    expect(printCudaOperand(parseScalar("r + 1"), scope, "int")).toBe("(row + 1)");
  });

  it("divide with / and % where nothing is negative, and round down by name elsewhere", () => {
    expect(print("floorDiv(r, 7) * 7 + mod(r, 7)")).toBe("row / 7 * 7 + row % 7");
    expect(print("mod(d, 7)")).toBe("floor_mod(d, 7)");
    expect(print("floorDiv(d, 2)")).toBe("floor_div(d, 2)");
    expect(print("rem(d, 2)")).toBe("d % 2");
  });

  it("know what a condition says of its sides", () => {
    expect(print("d < 1 ? 0 : floorDiv(d - 1, 2)")).toBe("d < 1 ? 0 : (d - 1) / 2");
    expect(print("d >= 0 && mod(d, 2) == 0", "bool")).toBe("d >= 0 && d % 2 == 0");
    expect(print("0 <= d && d < 3 ? mod(d, 2) : 5")).toBe("0 <= d && d < 3 ? d % 2 : 5");
    expect(print("d > 0 || r == 1 ? 5 : mod(-d, 2)")).toBe("d > 0 || row == 1 ? 5 : -d % 2");
  });

  it("take 64 bits where 32 may not hold the result, and only there", () => {
    expect(print("r * 400000", "int")).toBe("row * 400000");
    expect(print("r * n * 9", "long")).toBe("(int64_t)(row * n) * 9");
    expect(print("500000 * r + n", "long")).toBe("500000 * (int64_t)row + n");
    expect(print("far + r * 2", "long")).toBe("far + row * 2");
    expect(print("min(far, n)", "long")).toBe("min(far, (int64_t)n)");
    expect(print("mod(far, 1000)")).toBe("(int)(far % 1000)");
    expect(print("$1 + 1", "long")).toBe("(int64_t)index + 1");
    expect(() => print("r * 500000")).toThrow("internal: an integer of 64 bits stands where an int does");
  });
});

describe("floats", () => {
  it("convert integers and booleans at the border", () => {
    expect(print("abs(r - n) * 0.5", "float")).toBe("(float)abs(row - n) * 0.5f");
    expect(print("s + 1", "float")).toBe("score + 1.0f");
    expect(print("r / n", "float")).toBe("(float)row / (float)n");
    expect(print("s * (r < n)", "float")).toBe("score * (row < n ? 1.0f : 0.0f)");
    expect(print("floor(s)", "int")).toBe("(int)floorf(score)");
    expect(print("q.isPrefix ? s : 0", "float")).toBe("isPrefix ? score : 0.0f");
  });

  it("call the device's functions", () => {
    expect(print("tanh(s) + erf($0) + sigmoid(s) + pow(s, 2) + round(s)", "float")).toBe(
      "tanhf(score) + erff(x) + sigmoid(score) + square(score) + round_half_up(score)",
    );
    expect(printCuda(parseScalar("exp(s) + sigmoid(s)"), { ...scope, fast: true }, "float")).toBe(
      "fast_exp(score) + fast_sigmoid(score)",
    );
    expect(print("max(s, r)", "float")).toBe("fmaxf(score, (float)row)");
  });

  it("read tables at integer indices", () => {
    expect(print("s + table0[r - 1, floor(s)]", "float")).toBe("score + bias[row - 1][(int)floorf(score)]");
  });

  it("print the shortest literal that reads back", () => {
    for (const value of [0.1, 1 / 3, 1e-6, 65504, 16777216, Math.PI, 3.4e38, -2.5, 1e-45]) {
      expect(Math.fround(Number(floatLiteral(value).slice(0, -1)))).toBe(Math.fround(value));
    }
    expect([0.1, 1, 1e-6, -0, Infinity, 1e39, NaN].map(floatLiteral)).toEqual([
      "0.1f",
      "1.0f",
      "0.000001f",
      "-0.0f",
      "INFINITY",
      "INFINITY",
      "NAN",
    ]);
  });
});

describe("gelu", () => {
  it.each([
    "0.5 * $0 * (1 + erf($0 / 1.4142135623730951))",
    "$0 * ((erf($0 * 0.7071067811865476) + 1) * 0.5)",
    "$0 / 2 * (1 + erf($0 / sqrt(2)))",
  ])("is one function however it is written: %s", (text) => {
    expect(print(text, "float")).toBe("gelu(x)");
    expect(printCuda(parseScalar(text), { ...scope, fast: true }, "float")).toBe("fast_gelu(x)");
  });

  it("is not seen where the halves differ", () => {
    expect(geluArgument(parseScalar("0.5 * $0 * (1 + erf($1 / 1.4142135623730951))"))).toBeUndefined();
    expect(geluArgument(parseScalar("0.5 * $0 * (1 + erf($0 / 1.5))"))).toBeUndefined();
    expect(geluArgument(parseScalar("0.4 * $0 * (1 + erf($0 / 1.4142135623730951))"))).toBeUndefined();
  });
});

const locals = (...texts: readonly string[]) =>
  printCudaLocals(
    texts.map((text) => ({ scalar: parseScalar(text), as: "float" as const })),
    scope,
    "t",
  );

describe("printCudaLocals", () => {
  it("computes once what occurs twice", () => {
    expect(locals("exp(s + 1) * (s + 1) + exp(s + 1)")).toEqual({
      statements: ["const float t0 = score + 1.0f;", "const float t1 = expf(t0);"],
      values: ["t1 * t0 + t1"],
    });
    expect(locals("s * s", "s + 2")).toEqual({ statements: [], values: ["score * score", "score + 2.0f"] });
  });

  it("shares between expressions and keeps types", () => {
    expect(locals("(r - 1) * 0.5", "mod(r - 1, 3) * s")).toEqual({
      statements: ["const int t0 = row - 1;"],
      values: ["(float)t0 * 0.5f", "(float)floor_mod(t0, 3) * score"],
    });
  });

  it("leaves reads of memory on their side of a choice", () => {
    const both = "r > 0 ? table0[r - 1, 0] + table0[r - 1, 0] : 0";
    expect(locals(both).statements).toEqual([]);
    expect(locals(`(${both}) + table0[r - 1, 0]`).statements).toEqual(["const float t0 = bias[row - 1][0];"]);
  });

  it("counts the argument of a gelu once", () => {
    expect(locals("0.5 * (s + 1) * (1 + erf((s + 1) / 1.4142135623730951))")).toEqual({
      statements: [],
      values: ["gelu(score + 1.0f)"],
    });
  });
});
