import type { Programs } from "../ir/manifest.ts";
import type { LoopEnd, Port, Program } from "../ir/program.ts";
import { readArtefact, type Artefact } from "./artefact.ts";
import type { Checkpoint } from "./checkpoint.ts";
import { chooseProgram } from "./chooseProgram.ts";
import type { Device } from "./device.ts";
import { CudaError, RuntimeError } from "./errors.ts";
import { launch } from "./launches.ts";
import { loadProgram, type LoadedProgram } from "./loadedProgram.ts";
import { cutToCounts } from "./counts.ts";
import { takeSteps } from "./loop.ts";
import { stretchesOf, type Stretch } from "./stretches.ts";
import { profileProgram, type Profile, type ProfileOptions } from "./profile.ts";
import {
  type CheckedInputs,
  checkInputs,
  download,
  DeviceTensor,
  portBytes,
  portShape,
  requireBatch,
  type HostTensor,
  type Inputs,
} from "./tensors.ts";
import { didYouMean } from "./text.ts";

/**
 * Loads a program from its folder: checks the checkpoint against it before anything else, then loads its kernels and
 * prepares its weights. Throws a CheckpointError, or a RuntimeError that says what is wrong with the artefact or device.
 */
export const loadExecutable = async (
  device: Device,
  artefact: Artefact | string,
  checkpoint: Checkpoint,
  options: LoadOptions = {},
): Promise<Executable> => {
  const source = typeof artefact === "string" ? readArtefact(artefact) : artefact;
  if (options.batch !== undefined) requireBatch(source.programs[0], options.batch);
  const loaded = await loadProgram(device, source, checkpoint);
  try {
    if (options.batch !== undefined) loaded.reserve(options.batch);
    return new Executable(loaded, source);
  } catch (error) {
    loaded[Symbol.dispose]();
    throw error;
  }
};

export type LoadOptions = {
  /** Makes room for this batch at once; otherwise the first run of a larger batch does. */
  readonly batch?: number;
};

export type RunOptions = {
  /** Checked against the inputs' shapes, which imply it. */
  readonly batch?: number;
  /** False launches kernel by kernel instead of replaying the batch's graph. */
  readonly graph?: boolean;
  /** Waits after every kernel, so that a failure names its step. Slow. */
  readonly checkSteps?: boolean;
  /** Told how the program's loop ended, if it has one. */
  readonly loopEnded?: (end: LoopEnd) => void;
};

/** A loaded network, ready to run. Close it with `using` or `[Symbol.dispose]()`, before its device. */
export class Executable implements Disposable {
  /** One for each combination of the symbolic axes' extents: a run takes that of its inputs' shapes. */
  readonly programs: Programs;
  readonly #loaded: LoadedProgram;
  readonly #artefact: Artefact;

  constructor(loaded: LoadedProgram, artefact: Artefact) {
    this.programs = loaded.programs;
    this.#loaded = loaded;
    this.#artefact = artefact;
  }

  /**
   * Runs once: outputs, and the values that the program was built to keep, by name. The event loop stays free. Runs of
   * one executable follow each other; leave the inputs as they are until theirs is done.
   */
  async run(inputs: Inputs, options: RunOptions = {}): Promise<{ readonly [name: string]: HostTensor }> {
    const loaded = this.#loaded;
    const checked = this.#check(inputs, options.batch);
    return loaded.inTurn(async () => {
      loaded.launchesFor(checked.program, checked.batch);
      loaded.upload(checked);
      await this.#launchAll(checked, options);
      await loaded.finished();
      const { device, memory } = loaded;
      const results = resultsOf(checked.program).map((port) => {
        const shape = portShape(port, checked.batch);
        return [port.name, download(device, memory.port(port), shape, port.storage)] as const;
      });
      return cutToCounts(checked.program.outputs, Object.fromEntries(results));
    });
  }

  /** As `run`, with results that stay on the device, at their full length. The caller disposes of each. */
  async runOnDevice(inputs: Inputs, options: RunOptions = {}): Promise<{ readonly [name: string]: DeviceTensor }> {
    const loaded = this.#loaded;
    const checked = this.#check(inputs, options.batch);
    return loaded.inTurn(async () => {
      const made: [string, DeviceTensor][] = [];
      try {
        loaded.launchesFor(checked.program, checked.batch);
        loaded.upload(checked);
        await this.#launchAll(checked, options);
        for (const port of resultsOf(checked.program)) {
          const memory = loaded.device.allocate(portBytes(port, checked.batch), `"${port.name}"`);
          const tensor = new DeviceTensor(loaded.device, port.storage, portShape(port, checked.batch), memory);
          made.push([port.name, tensor]);
          if (tensor.bytes > 0)
            loaded.device.use((driver) =>
              driver.call(
                "cuMemcpyDtoDAsync_v2",
                tensor.address,
                loaded.memory.port(port),
                tensor.bytes,
                loaded.stream,
              ),
            );
        }
        await loaded.finished();
        return Object.fromEntries(made);
      } catch (error) {
        for (const [, tensor] of made) tensor[Symbol.dispose]();
        throw error;
      }
    });
  }

  /** Where the time goes, step by step: measured on a GPU; on the emulated device counted, and predicted from the counts. */
  async profile(inputs: Inputs, options: ProfileOptions = {}): Promise<Profile> {
    const checked = this.#check(inputs, options.batch);
    return this.#loaded.inTurn(() => profileProgram(this.#loaded, checked, options));
  }

  /** Makes room for a batch of whatever extents, so that its first run need not. Throws where the device has not enough. */
  async reserve(batch: number): Promise<void> {
    requireBatch(this.programs[0], batch);
    return this.#loaded.inTurn(async () => this.#loaded.reserve(batch));
  }

  /** The CUDA text of a kernel. */
  source(kernel: string): string {
    const kernels = this.programs.flatMap((program) => program.kernels);
    const found = kernels.find((each) => each.name === kernel);
    const names = [...new Set(kernels.map((each) => each.name))];
    if (found === undefined)
      throw new RuntimeError(`"${this.programs[0].name}" has no kernel "${kernel}"${didYouMean(kernel, names)}`);
    return new TextDecoder().decode(this.#artefact.read(found.source));
  }

  /** Waits for what runs, and frees everything. Runs that have not begun are rejected. */
  [Symbol.dispose](): void {
    this.#loaded[Symbol.dispose]();
  }

  #check(inputs: Inputs, batch: number | undefined): CheckedInputs {
    return checkInputs(chooseProgram(this.programs, inputs), inputs, batch);
  }

  async #launchAll(run: CheckedInputs, options: RunOptions): Promise<void> {
    const { loop } = run.program;
    const { before, step, after } = stretchesOf(run.program);
    await this.#launch(run, before, options);
    if (loop === null || step === null) return;
    const end = await takeSteps(this.#loaded, loop, run.batch, () => this.#launch(run, step, options));
    await this.#launch(run, after, options);
    options.loopEnded?.(end);
  }

  async #launch(run: CheckedInputs, stretch: Stretch, { graph = true, checkSteps = false }: RunOptions): Promise<void> {
    const { device, stream } = this.#loaded;
    const { program, batch } = run;
    if (stretch.from === stretch.to) return;
    if (checkSteps) return this.#launchOneByOne(run, stretch);
    if (graph) {
      const replay = this.#loaded.graphFor(program, batch, stretch);
      device.use((driver) => driver.call("cuGraphLaunch", replay, stream));
      return;
    }
    const launches = this.#loaded.launchesFor(program, batch).slice(stretch.from, stretch.to);
    device.use((driver) => {
      for (const each of launches) launch(driver, each, stream);
    });
  }

  async #launchOneByOne({ program, batch }: CheckedInputs, { from, to }: Stretch): Promise<void> {
    for (const [index, each] of this.#loaded.launchesFor(program, batch).entries()) {
      if (index < from || index >= to) continue;
      const { kernel, origin } = each.step;
      try {
        this.#loaded.device.use((driver) => launch(driver, each, this.#loaded.stream));
        await this.#loaded.finished();
      } catch (error) {
        const what = `step ${index}, ${kernel} (${origin.path}, ${origin.file}:${origin.line}): ${origin.formula}`;
        throw error instanceof CudaError ? error.of(what) : error;
      }
    }
  }
}

const resultsOf = ({ outputs, kept }: Program): readonly Port[] => [...outputs, ...kept];
