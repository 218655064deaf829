import { existsSync, readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { expect, it } from "vitest";
import { compileGraph } from "../../compiler/compile.ts";
import { CompileError, diagnosticCodes } from "../../compiler/diagnostics.ts";
import type { TraceOptions } from "../../compiler/dsl/index.ts";
import { loadModel } from "../../compiler/frontend/loadModel.ts";

// A folder for each code of the catalogue: a model with the mistake, and all that its author reads.

const folder = fileURLToPath(new URL(".", import.meta.url));
const codes = readdirSync(folder, { withFileTypes: true }).flatMap((entry) =>
  entry.isDirectory() ? [entry.name] : [],
);

it("every code has a folder, and every folder a code", () => {
  expect(codes.toSorted()).toEqual(diagnosticCodes.toSorted());
});

/** What a command line adds to the model file. */
type Options = TraceOptions & { readonly file?: string };
const optionsOf = (code: string): Options => {
  const file = join(folder, code, "options.json");
  return existsSync(file) ? (JSON.parse(readFileSync(file, "utf8")) as Options) : {};
};

it.each(codes)("%s", async (code) => {
  const error = await refusal(code);
  expect(error.diagnostics.map((each) => each.code)).toContain(code);
  await expect(`${error.toString()}\n`).toMatchFileSnapshot(join(folder, code, "expected.txt"));
});

async function refusal(code: string): Promise<CompileError> {
  const { file = "model.ts", ...options } = optionsOf(code);
  try {
    const model = await loadModel(join(folder, code, file));
    compileGraph(model.trace(options), { precision: "bf16", batch: { min: 1, max: 1 }, keep: false });
  } catch (error) {
    if (error instanceof CompileError) return error;
    throw error;
  }
  throw new Error("nothing was refused");
}
