import { existsSync, readFileSync } from "node:fs";
import { join } from "node:path";
import type { Graph } from "../../ir/graph.ts";
import type { Model } from "../dsl/index.ts";
import { loadModel } from "../frontend/loadModel.ts";
import { packageRoot } from "../packageRoot.ts";
import { CommandError } from "./failure.ts";
import { type GoldenCase, modelFileOf } from "./golden/case.ts";
import type { Terminal } from "./terminal.ts";

/** Which network of a model file is meant. */
export type ModelOptions = {
  readonly entry?: string;
  readonly preset?: string;
  /** A JSON file: the fields that differ from the preset, or from the defaults. */
  readonly config?: string;
};

export async function traceModel(file: string, options: ModelOptions, terminal: Terminal): Promise<Graph> {
  const config = options.config === undefined ? undefined : readConfig(options.config);
  const model = await openModel(file, terminal);
  return model.trace({
    ...(options.entry === undefined ? {} : { entry: options.entry }),
    ...(options.preset === undefined ? {} : { preset: options.preset }),
    ...(config === undefined ? {} : { config }),
  });
}

/** The network that a golden case is about, from the models that come with fovea. */
export async function traceCase(golden: GoldenCase, terminal: Terminal): Promise<Graph> {
  const file = join(packageRoot(), "models", modelFileOf(golden.system));
  if (!existsSync(file)) {
    throw new CommandError(
      `fovea has no model of "${golden.system}"`,
      `a case of this system is checked against models/${modelFileOf(golden.system)}`,
    );
  }
  const model = await openModel(file, terminal);
  return model.trace(model.fromCase(golden));
}

const openModel = (file: string, terminal: Terminal): Promise<Model> =>
  terminal.task(`reading ${file}`, () => loadModel(file));

function readConfig(file: string): object {
  let config: unknown;
  try {
    config = JSON.parse(readFileSync(file, "utf8"));
  } catch (error) {
    const reason = error instanceof SyntaxError ? `is not JSON: ${error.message}` : "cannot be read";
    throw new CommandError(`the configuration "${file}" ${reason}`, 'it is a JSON object: {"num_frames": 16}');
  }
  if (typeof config !== "object" || config === null || Array.isArray(config)) {
    throw new CommandError(
      `the configuration "${file}" is not a JSON object`,
      'it is a JSON object: {"num_frames": 16}',
    );
  }
  return config;
}
