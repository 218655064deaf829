import type { Graph } from "../../ir/graph.ts";
import type { Program } from "../../ir/program.ts";
import type { Precision } from "../../ir/types.ts";
import type { Artefact, Build } from "../../runtime/artefact.ts";
import type { Checkpoint } from "../../runtime/checkpoint.ts";
import type { Device } from "../../runtime/device.ts";
import { loadExecutable } from "../../runtime/executable.ts";
import { architectureOf } from "../../runtime/images.ts";
import type { HostTensor } from "../../runtime/tensors.ts";
import { type Family, packArtefact } from "../artefact.ts";
import { knownProgram } from "../knownProgram.ts";
import { targetOf, usualTarget, type Target } from "../schedule/target.ts";
import type { ImageTarget } from "../toolchain/compileImages.ts";
import type { NumberArray, NumberArrays } from "./arrays.ts";
import { chooseDevice } from "./device.ts";
import { evaluatorRunner } from "./evaluatorRunner.ts";
import { compileKernels, inMemory } from "./images.ts";
import { batchInFront } from "./keptValues.ts";
import type { BatchRange, DeviceName } from "./options.ts";
import type { Runner } from "./runner.ts";
import type { Terminal } from "./terminal.ts";

export type PlanRequest = {
  readonly device: DeviceName;
  readonly precision: Precision;
  readonly batch: BatchRange;
  /** Every published intermediate comes out as well. */
  readonly keep: boolean;
};

/** Compiles a graph for the device asked for and loads it there with its weights. */
export async function openRunner(
  graph: Graph,
  checkpoint: Checkpoint,
  request: PlanRequest,
  terminal: Terminal,
): Promise<Runner> {
  if (request.device === "evaluator") return evaluatorRunner(graph, checkpoint);
  const device = await chooseDevice(request.device, { compiled: false }, terminal);
  return disposedOnFailure(device, async () => {
    const stored = batchInFront(graph);
    const artefact = await compileFor(device, stored.graph, request, terminal);
    const runner = await deviceRunner(device, artefact, artefact.programs[0], checkpoint, terminal);
    return { ...runner, run: async (...given) => stored.inOrder(await runner.run(...given)) };
  });
}

/** An artefact in memory, with images for this device alone. */
async function compileFor(device: Device, graph: Graph, request: Compilation, terminal: Terminal): Promise<Artefact> {
  const { major, minor } = device.info.computeCapability;
  const family = await compile(graph, request, targetOf([`sm_${major}${minor}`]), terminal);
  const images = await compileKernels(family, [architectureOf(device.info) as ImageTarget], terminal);
  return inMemory(graph.name, packArtefact(family, images));
}

type Compilation = Pick<PlanRequest, "precision" | "batch" | "keep">;

async function compile(
  graph: Graph,
  { precision, batch, keep }: Compilation,
  target: Target,
  terminal: Terminal,
): Promise<Family> {
  const { program, sources } = await terminal.task(`compiling ${graph.name}`, () =>
    knownProgram(graph, { precision, batch, keep, target }),
  );
  return { programs: [program], sources };
}

/** What would run, without images for any device. */
export async function planGraph(graph: Graph, request: Compilation, terminal: Terminal): Promise<Build> {
  const { programs, read } = inMemory(
    graph.name,
    packArtefact(await compile(graph, request, usualTarget, terminal), []),
  );
  return { program: programs[0], read };
}

/** Loads an artefact, to run one of its programs; the device is the runner's from here on. */
export async function deviceRunner(
  device: Device,
  { folder, read }: Artefact,
  program: Program,
  checkpoint: Checkpoint,
  terminal: Terminal,
): Promise<Runner> {
  return disposedOnFailure(device, async () => {
    const alone: Artefact = { folder, programs: [program], read };
    const executable = await terminal.task("preparing weights", () => loadExecutable(device, alone, checkpoint));
    return {
      kind: device.info.kind,
      device: device.info.name,
      kernels: program.steps.length,
      run: async (inputs, loopEnded = () => {}) => {
        const lostBefore = lostPoints(device);
        const results = await executable.run(toHost(inputs, program.inputs), { loopEnded });
        const lost = lostPoints(device) - lostBefore;
        if (lost > 0) terminal.warn(`${lost} sampling points are not finite numbers: nothing was read for them`);
        return new Map(
          Object.entries(results).map(([name, { shape, data }]) => [name, { shape, values: fromHost(data) }]),
        );
      },
      profile: (inputs) => executable.profile(toHost(inputs, program.inputs)),
      build: { program, read },
      [Symbol.dispose]: () => {
        executable[Symbol.dispose]();
        device[Symbol.dispose]();
      },
    };
  });
}

/** The emulated device counts them; a GPU does not. */
const lostPoints = (device: Device): number => device.emulator?.totals().lostPoints ?? 0;

function toHost(inputs: NumberArrays, ports: Program["inputs"]): { [name: string]: HostTensor } {
  const storages = new Map(ports.map(({ name, storage }) => [name, storage]));
  return Object.fromEntries(
    [...inputs].map(([name, { shape, values }]) => {
      const storage = storages.get(name);
      const data =
        storage === "i32"
          ? Int32Array.from(values)
          : storage === "u8"
            ? Uint8Array.from(values)
            : Float32Array.from(values);
      return [name, { shape, data }];
    }),
  );
}

const fromHost = (data: HostTensor["data"]): NumberArray["values"] =>
  data instanceof Uint8Array ? Int32Array.from(data) : data;

async function disposedOnFailure<T>(device: Device, work: () => Promise<T>): Promise<T> {
  try {
    return await work();
  } catch (error) {
    device[Symbol.dispose]();
    throw error;
  }
}
