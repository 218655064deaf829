import { existsSync, readFileSync } from "node:fs";
import { basename, dirname, join } from "node:path";
import { combinations } from "../../ir/contract.ts";
import type { Graph } from "../../ir/graph.ts";
import type { Extents } from "../../ir/program.ts";
import type { Variant } from "../compiled.ts";
import type { Model, TraceOptions } from "../dsl/index.ts";
import { loadModel } from "../frontend/loadModel.ts";
import { packageRoot } from "../packageRoot.ts";
import { CommandError } from "./failure.ts";
import { type GoldenCase, modelFileOf } from "./golden/case.ts";
import { type BatchRange, type ContractFlags, usualBatch } from "./options.ts";
import type { Terminal } from "./terminal.ts";

/** Which network of a model file is meant. */
export type ModelOptions = {
  readonly entry?: string;
  readonly preset?: string;
  /** A JSON file: the fields that differ from the preset, or from the defaults. */
  readonly config?: string;
  /** Extents of axes that the network leaves open. */
  readonly axis?: Extents;
};

export async function traceModel(file: string, options: ModelOptions, terminal: Terminal): Promise<Graph> {
  const model = await openModel(file, terminal);
  return model.trace(traceOptions(options));
}

/** What a build is to serve: the network for each combination of its symbolic axes' extents, and the batches of all. */
export type ModelFamily = { readonly variants: readonly [Variant, ...Variant[]]; readonly batch: BatchRange };

/** Traces a network once for each combination of extents: those asked for, and the model's own of other axes. */
export async function traceFamily(
  file: string,
  options: Omit<ModelOptions, "axis">,
  asked: ContractFlags,
  terminal: Terminal,
): Promise<ModelFamily> {
  const model = await openModel(file, terminal);
  const own = model.contract(options.entry);
  const axes = Object.entries({ ...own.axes, ...asked.axes }).map(([axis, extents]) => ({ axis, extents }));
  const all = combinations(axes);
  if (all.length > mostPrograms) {
    throw new CommandError(
      `the contract has ${all.length} combinations of extents, each a program of its own; ${mostPrograms} are the most`,
      "name fewer extents of each axis",
    );
  }
  const [first, ...others] = all.map((extents): Variant => ({
    graph: model.trace(traceOptions({ ...options, axis: extents })),
    extents,
  }));
  if (first === undefined) throw new CommandError("an axis of the contract has no extents");
  return { variants: [first, ...others], batch: asked.batch ?? own.batch ?? usualBatch };
}

/** More would be a mistake: each takes kernels and time to compile. */
const mostPrograms = 64;

const traceOptions = ({ entry, preset, config, axis }: ModelOptions): TraceOptions => ({
  ...(entry === undefined ? {} : { entry }),
  ...(preset === undefined ? {} : { preset }),
  ...(config === undefined ? {} : { config: readConfig(config) }),
  ...(axis === undefined ? {} : { axes: axis }),
});

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

function openModel(file: string, terminal: Terminal): Promise<Model> {
  if (existsSync(file) && !/\.[cm]?[jt]s$/.test(file))
    throw new CommandError(
      `"${file}" is no model file`,
      basename(file) === "manifest.json"
        ? `an artefact is its whole folder: "${dirname(file)}"`
        : "a model is a TypeScript file; an artefact is a folder, or NAME.fovea",
    );
  return terminal.task(`reading ${file}`, () => loadModel(file));
}

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
