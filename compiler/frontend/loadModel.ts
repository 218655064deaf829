import { existsSync, readdirSync } from "node:fs";
import { basename, dirname, resolve } from "node:path";
import { fileURLToPath, pathToFileURL } from "node:url";
import { compileError, CompileError, didYouMean } from "../diagnostics.ts";
import type { Model } from "../dsl/index.ts";
import { authorPlace, placeOfError, readable } from "../dsl/place.ts";
import { readCachedModel, writeCachedModel } from "./modelCache.ts";

/**
 * The model that a TypeScript file exports by default. Throws a CompileError: TypeScript's own errors first and
 * unchanged, then lambdas that cannot become part of a kernel. A file that was loaded before, and whose imports are the
 * same, is neither read nor checked again.
 */
export async function loadModel(file: string | URL): Promise<Model> {
  const path = typeof file === "string" && !file.startsWith("file:") ? resolve(file) : fileURLToPath(file);
  if (!existsSync(path)) {
    const beside = existsSync(dirname(path)) ? readdirSync(dirname(path)) : [];
    throw compileError(
      "model-not-found",
      { file: readable(path) },
      { span: null, hint: didYouMean(basename(path), beside) },
    );
  }
  const exported = await importModel(await emittedModule(path));
  const model = "default" in exported ? exported.default : undefined;
  if (!isModel(model))
    throw compileError(
      "no-model",
      { file: readable(path) },
      { span: null, hint: "export default model({ name, config, inputs, module })" },
    );
  return model;
}

/** The module to import. Where the library runs from its sources, whoever compiles those compiles models too. */
async function emittedModule(path: string): Promise<string> {
  const fromSources = import.meta.url.endsWith(".ts");
  const cached = fromSources ? undefined : readCachedModel(path);
  if (cached !== undefined) return cached.entry;
  // Only here: the compiler of TypeScript takes longer to load than a cached model to run.
  const { checkModel } = await import("./checkModel.ts");
  const { entry, inputs, emitted } = checkModel(path);
  if (fromSources) return path;
  await writeCachedModel(path, entry, inputs, emitted);
  return entry;
}

async function importModel(path: string): Promise<object> {
  process.setSourceMapsEnabled(true);
  try {
    return (await import(pathToFileURL(path).href)) as object;
  } catch (error) {
    if (error instanceof CompileError || !(error instanceof Error)) throw error;
    throw compileError("model-failed", { message: error.message }, { span: placeOfError(error) ?? authorPlace() });
  }
}

const isModel = (value: unknown): value is Model =>
  typeof value === "object" &&
  value !== null &&
  "trace" in value &&
  typeof value.trace === "function" &&
  "entries" in value;
