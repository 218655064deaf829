import { existsSync, statSync } from "node:fs";
import { contractOf, printContract, printExtents } from "../../ir/contract.ts";
import { eliminateDeadNodes } from "../../ir/deadNodes.ts";
import type { Graph } from "../../ir/graph.ts";
import type { Extents, ParameterSlot, Program } from "../../ir/program.ts";
import type { Precision } from "../../ir/types.ts";
import { type Artefact, type Build, readArtefact } from "../../runtime/artefact.ts";
import type { Checkpoint } from "../../runtime/checkpoint.ts";
import { chooseProgram } from "../../runtime/chooseProgram.ts";
import type { Inputs } from "../../runtime/tensors.ts";
import { isFilePlace } from "../artefact.ts";
import { ownArray, readArrays } from "./arrays.ts";
import { chooseDevice } from "./device.ts";
import { CommandError, unknownName } from "./failure.ts";
import { type ModelOptions, traceModel } from "./model.ts";
import { deviceRunner, openRunner, planGraph, type PlanRequest } from "./openRunner.ts";
import type { DeviceName } from "./options.ts";
import { type ArrayPort, graphInputs, graphParameters, programInputs } from "./ports.ts";
import type { Runner } from "./runner.ts";
import type { Terminal } from "./terminal.ts";

/** A model file, or the folder of an artefact, before it meets its weights. */
export type Network = {
  /** Null of an artefact: it is compiled. */
  readonly graph: Graph | null;
  readonly inputs: readonly ArrayPort[];
  readonly parameters: readonly ParameterSlot[];
  /** What would run, without images for any device. */
  readonly plan: (batch: number) => Promise<Build>;
  readonly open: (checkpoint: Checkpoint, batch: number) => Promise<Runner>;
};
export type NetworkOptions = ModelOptions & {
  readonly device: DeviceName;
  /** Null: f32 where a model is compiled; an artefact has one of its own. */
  readonly precision: Precision | null;
  /** Files by input: arrays say by their shapes which program of an artefact takes them. */
  readonly inputs: ReadonlyMap<string, readonly string[]>;
};

/** Whether a path is meant as an artefact's, not a model file's. */
export const isArtefactPlace = (path: string): boolean =>
  isFilePlace(path) || statSync(path, { throwIfNoEntry: false })?.isDirectory() === true;

export async function openNetwork(path: string, options: NetworkOptions, terminal: Terminal): Promise<Network> {
  if (isArtefactPlace(path)) return openArtefact(path, options, terminal);
  const traced = await traceModel(path, options, terminal);
  // Published intermediates are for comparing: nobody asks for them here.
  const graph = eliminateDeadNodes({ ...traced, kept: [] });
  const requestFor = (batch: number): PlanRequest => ({
    device: options.device,
    precision: options.precision ?? "f32",
    keep: false,
    batch: { min: batch, max: batch },
  });
  return {
    graph,
    inputs: graphInputs(graph),
    parameters: graphParameters(graph),
    plan: (batch) => planGraph(graph, requestFor(batch), terminal),
    open: (checkpoint, batch) => openRunner(graph, checkpoint, requestFor(batch), terminal),
  };
}

function openArtefact(path: string, options: NetworkOptions, terminal: Terminal): Network {
  const artefact = readArtefact(path);
  const program =
    options.axis === undefined
      ? chooseProgram(artefact.programs, arraysOf(options.inputs))
      : programFor(artefact, options.axis, path);
  const { device, precision } = options;
  if (device === "evaluator")
    throw new CommandError(`"${path}" is compiled, and the evaluator runs models`, "give the model file");
  if (precision !== null && precision !== program.precision) {
    throw new CommandError(
      `"${path}" was built with --dtype ${program.precision}, not ${precision}`,
      `leave --dtype away, or build it with --dtype ${precision}`,
    );
  }
  for (const name of ["entry", "preset", "config"] as const) {
    if (options[name] !== undefined)
      throw new CommandError(
        `--${name} has no meaning for "${path}", which is compiled already`,
        "give the model file instead",
      );
  }
  return {
    graph: null,
    inputs: programInputs(program),
    parameters: program.parameters,
    plan: async () => ({ program, read: artefact.read }),
    open: async (checkpoint) =>
      deviceRunner(await chooseDevice(device, { compiled: true }, terminal), artefact, program, checkpoint, terminal),
  };
}

/** What is known of the inputs' shapes before their program is: clips are made to fit, arrays are what they are. */
function arraysOf(files: NetworkOptions["inputs"]): Inputs {
  const arrays = [...files].flatMap(([name, [file = ""]]) => {
    if (!file.endsWith(".safetensors") || !existsSync(file)) return [];
    const array = ownArray(name, readArrays(file));
    return array === undefined ? [] : [[name, { shape: array.shape, data: new Float32Array() }] as const];
  });
  return Object.fromEntries(arrays);
}

/** The program for these extents; where an axis is not named, for its first one. */
function programFor({ programs }: Artefact, extents: Extents, path: string): Program {
  const [first] = programs;
  const wanted = Object.entries(extents);
  for (const [axis] of wanted)
    if (!(axis in first.extents)) throw unknownName(`symbolic axis of "${path}"`, axis, Object.keys(first.extents));
  const found = programs.find((program) => wanted.every(([axis, extent]) => program.extents[axis] === extent));
  if (found !== undefined) return found;
  throw new CommandError(
    `"${path}" was not built for ${printExtents(extents)}`,
    `its contract: ${printContract(contractOf(programs))}`,
  );
}
