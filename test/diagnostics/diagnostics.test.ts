import { stripVTControlCharacters } from "node:util";
import { describe, expect, it } from "vitest";
import { codeFrame } from "../../compiler/codeFrame.ts";
import {
  CompileError,
  InternalError,
  compileError,
  diagnostic,
  didYouMean,
  invariant,
  nearestName,
} from "../../compiler/diagnostics.ts";

const source = `const a = 1;
  const scale = 1 / Math.sqrt(headDim);
  const scores = matmul(q, k).mul(scale);
}`;
const readSource = (): string => source;

describe("printing", () => {
  const error = compileError(
    "shape-mismatch",
    { op: "matmul", left: "[2, 128]", right: "[64, 128]" },
    {
      span: { file: "model.ts", line: 3, column: 18, length: 12 },
      label: "columns of q (128) must equal rows of k (64)",
      hint: "transpose k",
    },
  );

  it("shows code, message, place, the code around it with the place marked, and the hint", () => {
    expect(error.toString({ readSource })).toBe(`error shape-mismatch: matmul cannot combine [2, 128] with [64, 128]
  model.ts:3:18
   2 |   const scale = 1 / Math.sqrt(headDim);
 > 3 |   const scores = matmul(q, k).mul(scale);
     |                  ^^^^^^^^^^^^ columns of q (128) must equal rows of k (64)
   4 | }
  hint: transpose k`);
  });

  it("colours only when asked, and then nothing but colours differ", () => {
    const coloured = error.toString({ readSource, colour: true });
    expect(coloured).toContain("\u001B[31m");
    expect(stripVTControlCharacters(coloured)).toBe(error.toString({ readSource }));
  });

  it("does without the frame where the source cannot be read, and keeps the label", () => {
    expect(error.toString({ readSource: () => undefined })).toContain("model.ts:3:18\n  columns of q");
  });

  it("is plain data for tools", () => {
    expect(JSON.parse(JSON.stringify(error))).toEqual({ diagnostics: error.diagnostics });
  });

  it("keeps a mark inside its line, and its line's tabs", () => {
    expect(codeFrame("\tab", { file: "f", line: 1, column: 2, length: 99 }, "")).toBe(" > 1 | \tab\n     | \t^^");
    expect(codeFrame("ab", { file: "f", line: 1, column: 9, length: 3 }, "here")).toBe(
      " > 1 | ab\n     |         ^ here",
    );
  });
});

const at = (file: string, line: number, column: number) =>
  diagnostic("unknown-name", { what: "op", name: `${file}${line}` }, { span: { file, line, column } });

describe("CompileError", () => {
  it("orders by file, line and column, those without a place first", () => {
    const loose = diagnostic("no-model", { file: "x" }, { span: null });
    const { diagnostics } = new CompileError([at("b", 9, 1), at("a", 2, 2), at("b", 3, 1), loose, at("a", 2, 1)]);
    expect(diagnostics.map(({ span }) => (span === null ? "" : `${span.file}${span.line}:${span.column}`))).toEqual([
      "",
      "b3:1",
      "b9:1",
      "a2:1",
      "a2:2",
    ]);
  });

  it("prints ten and counts the rest", () => {
    const text = new CompileError(Array.from({ length: 13 }, (_, line) => at("a", line + 1, 1))).toString({
      readSource: () => undefined,
    });
    expect(text.match(/^error /gm)).toHaveLength(10);
    expect(text).toMatch(/and 3 more$/);
  });
});

describe("names", () => {
  it("offers the nearest, and nothing when none is near", () => {
    expect(nearestName("lienar", ["linear", "conv"])).toBe("linear");
    expect(nearestName("LINEAR", ["linear"])).toBe("linear");
    expect(nearestName("t", ["h", "w"])).toBeUndefined();
    expect(nearestName("attention", ["conv", "pool"])).toBeUndefined();
    expect(didYouMean("softmx", ["softmax"])).toBe('did you mean "softmax"?');
    expect(didYouMean("zzz", ["softmax"])).toBe("");
  });
});

describe("invariant", () => {
  it("throws an internal error that says so", () => {
    expect(() => invariant(false, "no tile fits")).toThrow(new InternalError("no tile fits"));
    expect(() => invariant(false, "no tile fits")).toThrow(/^internal: no tile fits$/);
  });
});
