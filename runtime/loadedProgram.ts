import type { Programs } from "../ir/manifest.ts";
import type { Program } from "../ir/program.ts";
import type { Artefact } from "./artefact.ts";
import { checkCheckpoint, type Checkpoint } from "./checkpoint.ts";
import type { Device } from "./device.ts";
import type { CuFunction, CuGraph, CuGraphExec, CuModule, CuStream } from "./driverApi.ts";
import { CudaError, RuntimeError } from "./errors.ts";
import { readFatbin } from "./fatbin.ts";
import { architectureOf, chooseImage } from "./images.ts";
import { launch, prepareLaunches, type Launch, type LoadedKernel } from "./launches.ts";
import { ProgramMemory } from "./programMemory.ts";
import type { Stretch } from "./stretches.ts";
import { DeviceTensor, type CheckedInputs } from "./tensors.ts";
import { formatBytes } from "./text.ts";
import { prepareWeights } from "./weights.ts";

/** An artefact's programs on a device: their kernels, memory and weights, and the launches of each batch that has been run. */
export class LoadedProgram implements Disposable {
  readonly device: Device;
  readonly programs: Programs;
  readonly stream: CuStream;
  readonly #owned: Disposable[];
  readonly #kernels: ReadonlyMap<string, LoadedKernel>;
  readonly #memory: ProgramMemory;
  readonly #plans: Map<Program, Map<number, Plan>> = new Map();
  #last: Promise<unknown> = Promise.resolve();
  #closed = false;
  /** Calls in other threads that wait for the stream. */
  #waiting = 0;

  constructor(parts: Parts) {
    this.device = parts.device;
    this.programs = parts.programs;
    this.stream = parts.stream;
    this.#owned = parts.owned;
    this.#kernels = parts.kernels;
    this.#memory = parts.memory;
  }

  get closed(): boolean {
    return this.#closed;
  }

  get memory(): ProgramMemory {
    return this.#memory;
  }

  /** Runs `work` when all that was asked for before is done: there is one set of buffers. */
  inTurn<T>(work: () => Promise<T>): Promise<T> {
    const result = this.#last.then(() => {
      this.mustBeOpen();
      return work();
    });
    this.#last = result.catch(() => {});
    return result;
  }

  mustBeOpen(): void {
    if (this.#closed) throw new RuntimeError(`"${this.programs[0].name}" was closed`);
  }

  /** Makes room for a batch of each program, so that its first run need not. */
  reserve(batch: number): void {
    for (const program of this.programs) this.#reserve(program, batch);
  }

  launchesFor(program: Program, batch: number): readonly Launch[] {
    return this.#planFor(program, batch).launches;
  }

  /** Some of the batch's launches as a graph that the device replays without the host. */
  graphFor(program: Program, batch: number, { from, to }: Stretch): CuGraphExec {
    const { launches, graphs } = this.#planFor(program, batch);
    const known = graphs.get(from);
    if (known !== undefined) return known;
    const made = this.#capture(launches.slice(from, to));
    graphs.set(from, made);
    return made;
  }

  upload({ inputs }: CheckedInputs): void {
    this.device.use((driver) => {
      for (const { port, source } of inputs) {
        const to = this.#memory.port(port);
        if (!(source instanceof DeviceTensor)) {
          if (source.length > 0) driver.call("cuMemcpyHtoDAsync_v2", to, source, source.length, this.stream);
        } else if (source.device.sharesMemoryWith(this.device))
          driver.call("cuMemcpyDtoDAsync_v2", to, source.address, source.bytes, this.stream);
        else throw new RuntimeError(`input "${port.name}" is on another device; read() it first`);
      }
    });
  }

  async finished(): Promise<void> {
    this.#waiting++;
    try {
      await this.device.finished(this.stream);
    } finally {
      this.#waiting--;
      if (this.#closed && this.#waiting === 0) this.#release();
      this.mustBeOpen();
    }
  }

  [Symbol.dispose](): void {
    if (this.#closed) return;
    this.#closed = true;
    this.device.release((driver) => driver.status("cuStreamSynchronize", this.stream));
    // Another thread may be about to wait for the stream: it must be there until then.
    if (this.#waiting === 0) this.#release();
  }

  #release(): void {
    this.#forgetPlans();
    for (const owned of this.#owned.toReversed()) owned[Symbol.dispose]();
  }

  #reserve(program: Program, batch: number): void {
    if (this.#memory.reserve(program, batch)) this.#forgetPlans();
  }

  #planFor(program: Program, batch: number): Plan {
    this.#reserve(program, batch);
    const plans = this.#plans.get(program) ?? new Map<number, Plan>();
    this.#plans.set(program, plans);
    const known = plans.get(batch);
    if (known !== undefined) return known;
    const plan: Plan = { launches: prepareLaunches(program, this.#kernels, this.#memory, batch), graphs: new Map() };
    plans.set(batch, plan);
    return plan;
  }

  #capture(launches: readonly Launch[]): CuGraphExec {
    return this.device.use((driver) => {
      const made = new BigUint64Array(new ArrayBuffer(8));
      driver.call("cuStreamBeginCapture_v2", this.stream, captureThisThread);
      try {
        for (const each of launches) launch(driver, each, this.stream);
      } finally {
        driver.call("cuStreamEndCapture", this.stream, made);
      }
      const graph = (made[0] ?? 0n) as CuGraph;
      try {
        return driver.make("cuGraphInstantiateWithFlags", graph, 0);
      } finally {
        driver.call("cuGraphDestroy", graph);
      }
    });
  }

  #forgetPlans(): void {
    for (const { graphs } of [...this.#plans.values()].flatMap((plans) => [...plans.values()]))
      for (const graph of graphs.values()) this.device.release((driver) => driver.call("cuGraphExecDestroy", graph));
    this.#plans.clear();
  }
}

type Plan = {
  readonly launches: readonly Launch[];
  /** By the number of their first launch. */
  readonly graphs: Map<number, CuGraphExec>;
};
type Parts = {
  readonly device: Device;
  readonly programs: Programs;
  readonly stream: CuStream;
  readonly kernels: ReadonlyMap<string, LoadedKernel>;
  readonly memory: ProgramMemory;
  /** In the order in which they were made; all of the above that must be given back. */
  readonly owned: Disposable[];
};

/** CU_STREAM_CAPTURE_MODE_THREAD_LOCAL: what other threads do meanwhile is their own affair. */
const captureThisThread = 1;

/** Checks the checkpoint, loads the kernels, and prepares and uploads the weights. */
export const loadProgram = async (
  device: Device,
  artefact: Artefact,
  checkpoint: Checkpoint,
): Promise<LoadedProgram> => {
  const { programs } = artefact;
  const [first] = programs;
  checkCheckpoint(first, checkpoint);
  const owned: Disposable[] = [];
  try {
    const kernels = new Map<string, LoadedKernel>();
    for (const kernel of programs.flatMap((program) => program.kernels))
      if (!kernels.has(kernel.name)) kernels.set(kernel.name, loadKernel(device, artefact, kernel, owned));
    const stream = device.createStream();
    owned.push({ [Symbol.dispose]: () => device.release((driver) => driver.call("cuStreamDestroy_v2", stream)) });
    const memory = new ProgramMemory(device, programs);
    owned.push(memory);
    await uploadWeights(device, memory, first, checkpoint);
    return new LoadedProgram({ device, programs, stream, kernels, memory, owned });
  } catch (error) {
    for (const each of owned.toReversed()) each[Symbol.dispose]();
    throw error;
  }
};

const loadKernel = (
  device: Device,
  artefact: Artefact,
  kernel: LoadedKernel["kernel"],
  owned: Disposable[],
): LoadedKernel => {
  const { info } = device;
  const { target, path } = chooseImage(kernel, info);
  const shared = kernel.sharedBytes + (kernel.ptxas[target]?.staticSharedBytes ?? 0);
  if (shared > info.sharedBytes)
    throw new RuntimeError(
      `kernel "${kernel.name}" needs ${formatBytes(shared)} of shared memory a block; "${info.name}" has ${formatBytes(info.sharedBytes)}` +
        `\n  hint: build it with --arch ${architectureOf(info)}: its kernels ask for no more`,
    );
  const image = artefact.read(path);
  if (info.kind === "cuda" && !readFatbin(image).some((each) => each.target === target))
    throw new RuntimeError(
      `"${path}" of the artefact "${artefact.folder}" holds no code for ${target}` +
        "\n  hint: build it again with this version",
    );
  try {
    const module = device.use((driver): CuModule => driver.make("cuModuleLoadData", image));
    owned.push({ [Symbol.dispose]: () => device.release((driver) => driver.call("cuModuleUnload", module)) });
    return device.use((driver) => {
      const entry: CuFunction = driver.make("cuModuleGetFunction", module, kernel.name);
      if (kernel.sharedBytes > sharedWithoutAsking)
        driver.call("cuFuncSetAttribute", entry, maxDynamicSharedBytes, kernel.sharedBytes);
      return { kernel, entry };
    });
  } catch (error) {
    throw error instanceof CudaError ? error.of(`kernel "${kernel.name}", image ${path} (${target})`) : error;
  }
};

/** Dynamic shared memory that a launch gets without a function attribute. */
const sharedWithoutAsking = 48 * 1024;
/** CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES */
const maxDynamicSharedBytes = 8;

const uploadWeights = async (
  device: Device,
  memory: ProgramMemory,
  program: Program,
  checkpoint: Checkpoint,
): Promise<void> => {
  for (const { weight, bytes } of prepareWeights(program.weights, checkpoint)) {
    const to = memory.addressOf({ space: "weights", offset: weight.offset, bytes: weight.bytes }, 1);
    if (bytes.length > 0) device.use((driver) => driver.call("cuMemcpyHtoD_v2", to, bytes, bytes.length));
    // Preparing a weight takes the processor: let other work of the process in between.
    await new Promise((resolve) => void setImmediate(resolve));
  }
  // The copies may still be on their way when the calls return, and the program's stream does not wait for them.
  device.use((driver) => driver.call("cuCtxSynchronize"));
};
