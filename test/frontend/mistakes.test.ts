import { expect, test } from "vitest";
import { CompileError, printDiagnostic } from "../../compiler/diagnostics.ts";
import { checkModel } from "../../compiler/frontend/checkModel.ts";

const mistakesIn = (file: string): string => {
  try {
    checkModel(new URL(`../fixtures/mistakes/${file}`, import.meta.url).pathname);
  } catch (error) {
    if (error instanceof CompileError)
      return `${error.diagnostics.map((each) => printDiagnostic(each)).join("\n\n")}\n`;
    throw error;
  }
  return "none";
};

test("what TypeScript says of an author's mistakes names the axis, the option or the field", async () => {
  await expect(mistakesIn("types.ts")).toMatchFileSnapshot("../fixtures/mistakes/types.txt");
});

test("what in a lambda cannot become part of a kernel is named, with what to write instead", async () => {
  await expect(mistakesIn("lambdas.ts")).toMatchFileSnapshot("../fixtures/mistakes/lambdas.txt");
});
