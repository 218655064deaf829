import type { Linear, Origin, Program, Step } from "../ir/program.ts";
import type { Emulator, LaunchCounters } from "./emulated.ts";
import type { CuEvent } from "./driverApi.ts";
import { RuntimeError } from "./errors.ts";
import { launch, type Launch } from "./launches.ts";
import type { LoadedProgram } from "./loadedProgram.ts";
import { takeSteps } from "./loop.ts";
import { stretchesOf, type Stretch } from "./stretches.ts";
import { type Floor, floorOf, h200, predict, type Prediction, type TargetModel } from "./predict.ts";
import type { CheckedInputs } from "./tensors.ts";

export type ProfileOptions = {
  readonly batch?: number;
  /**
   * Events on a GPU; counters on the emulated device, where events say how long the host took to play it and nothing
   * else.
   */
  readonly by?: "events" | "counters";
  /** Runs that events measure; each time is the median. */
  readonly repeats?: number;
  /** What the emulated device's counts are turned into time for. */
  readonly target?: TargetModel;
};

/** Where the time of a run goes. */
export type Profile = {
  readonly device: string;
  readonly batch: number;
  /** The GPU that predictions and floors are for. */
  readonly target: string;
  /** Every launch of the run: those of a loop as often as its steps were taken. */
  readonly steps: readonly StepProfile[];
  /** Where times come from: events of the device, exact counts of the emulated one, or the plan alone (floors: nothing ran). */
  readonly basis: "measured" | "counted" | "planned";
  readonly milliseconds: number;
  /** The whole program replayed as a graph, between two events; null where nothing was measured. */
  readonly replayMilliseconds: number | null;
};
export type StepProfile = {
  /** Which of the program's steps. */
  readonly number: number;
  readonly kernel: string;
  readonly origin: Origin;
  /** What the mathematics needs. */
  readonly work: { readonly flops: number; readonly readBytes: number; readonly writeBytes: number };
  readonly time: StepTime;
  /** What `target` needs at least. */
  readonly floor: Floor;
};
type StepTime =
  /** By events on the device, between the end of one kernel and of the next. */
  | { readonly kind: "measured"; readonly milliseconds: number }
  /** Counted by the emulated device; the time is an estimate for another one. */
  | ({ readonly kind: "counted"; readonly counters: LaunchCounters } & Prediction)
  /** Nothing ran: the floor. */
  | { readonly kind: "planned"; readonly milliseconds: number };

export const profileProgram = async (
  loaded: LoadedProgram,
  checked: CheckedInputs,
  { by, repeats = 20, target = h200 }: ProfileOptions,
): Promise<Profile> => {
  const { program, batch } = checked;
  const all = loaded.launchesFor(program, batch);
  loaded.upload(checked);
  await loaded.finished();
  const run = await stretchesOfRun(loaded, checked);
  const numbered = run.flatMap(({ from, to }) => all.slice(from, to).map((each, at) => ({ each, number: from + at })));
  const launches = numbered.map(({ each }) => each);
  const { emulator } = loaded.device;
  const method = by ?? (emulator === null ? "events" : "counters");
  if (method === "counters" && emulator === null)
    throw new RuntimeError(`"${loaded.device.info.name}" has no counters: only the emulated device counts`);
  const times =
    method === "counters" && emulator !== null
      ? await countSteps(loaded, launches, emulator, batch, target)
      : await measureSteps(loaded, launches, repeats);
  const replayMilliseconds = method === "events" ? await measureReplay(loaded, checked, run, repeats) : null;
  const steps = numbered.map(({ number, each: { step } }, index) =>
    stepProfile(step, number, program.precision, batch, target, () => times[index] ?? unknown),
  );
  return {
    device: loaded.device.info.name,
    batch,
    basis: method === "counters" ? "counted" : "measured",
    target: target.name,
    steps,
    milliseconds: sumOf(steps),
    replayMilliseconds,
  };
};

/** What is known before anything runs: the work of each launch, and the least time that it can take on `target`. */
export const planProfile = (program: Program, batch: number, target: TargetModel = h200): Profile => {
  const steps = program.steps.map((step, number) =>
    stepProfile(step, number, program.precision, batch, target, ({ milliseconds }) => ({
      kind: "planned",
      milliseconds,
    })),
  );
  return {
    device: "no device",
    batch,
    basis: "planned",
    target: target.name,
    steps,
    milliseconds: sumOf(steps),
    replayMilliseconds: null,
  };
};

const unknown: StepTime = { kind: "measured", milliseconds: Number.NaN };
const sumOf = (steps: readonly StepProfile[]): number => steps.reduce((sum, { time }) => sum + time.milliseconds, 0);

const stepProfile = (
  { kernel, origin, work: { flops, readBytes, writeBytes } }: Step,
  number: number,
  precision: Program["precision"],
  batch: number,
  target: TargetModel,
  time: (floor: Floor) => StepTime,
): StepProfile => {
  const work = {
    flops: evaluate(flops, batch),
    readBytes: evaluate(readBytes, batch),
    writeBytes: evaluate(writeBytes, batch),
  };
  const floor = floorOf(work, precision, target);
  return { number, kernel, origin, work, time: time(floor), floor };
};

/** What a run launches, one stretch behind another: how many steps a loop takes, a run says. */
const stretchesOfRun = async (loaded: LoadedProgram, checked: CheckedInputs): Promise<readonly Stretch[]> => {
  const { before, step, after } = stretchesOf(checked.program);
  const { loop } = checked.program;
  if (loop === null || step === null) return [before];
  replay(loaded, checked, [before]);
  const { steps } = await takeSteps(loaded, loop, checked.batch, async () => replay(loaded, checked, [step]));
  return [before, ...Array.from({ length: steps }, () => step), after];
};

const replay = (loaded: LoadedProgram, { program, batch }: CheckedInputs, run: readonly Stretch[]): void => {
  const graphs = run.filter(({ from, to }) => from < to).map((stretch) => loaded.graphFor(program, batch, stretch));
  loaded.device.use((driver) => {
    for (const graph of graphs) driver.call("cuGraphLaunch", graph, loaded.stream);
  });
};

/** One kernel at a time, between its launch and its end: the counters are those of the last launch. */
const countSteps = async (
  loaded: LoadedProgram,
  launches: readonly Launch[],
  emulator: Emulator,
  batch: number,
  target: TargetModel,
): Promise<readonly StepTime[]> => {
  const { device, stream } = loaded;
  const times: StepTime[] = [];
  for (const each of launches) {
    // Settings hold for the whole process: they are changed for one launch, in which nothing else gets a turn, so that
    // neither another profile ends this one's counting nor another program's launch comes before its counters.
    emulator.set("counters", 1);
    try {
      device.use((driver) => {
        launch(driver, each, stream);
        driver.call("cuStreamSynchronize", stream);
      });
    } finally {
      emulator.set("counters", 0);
    }
    const counters = emulator.counters();
    times.push({ kind: "counted", counters, ...predict(counters, evaluate(each.step.work.flops, batch), target) });
    await new Promise((resolve) => void setImmediate(resolve));
  }
  return times;
};

/** The median of `repeats` runs, after two that warm up. */
const measureSteps = async (
  loaded: LoadedProgram,
  launches: readonly Launch[],
  repeats: number,
): Promise<readonly StepTime[]> => {
  const samples = launches.map((): number[] => []);
  using events = createEvents(loaded, launches.length + 1);
  for (let run = -2; run < repeats; run++) {
    loaded.device.use((driver) => {
      for (const [index, event] of events.list.entries()) {
        driver.call("cuEventRecord", event, loaded.stream);
        const next = launches[index];
        if (next !== undefined) launch(driver, next, loaded.stream);
      }
    });
    await loaded.finished();
    if (run >= 0) for (const [index, each] of samples.entries()) each.push(events.milliseconds(index));
  }
  return samples.map((each) => ({ kind: "measured", milliseconds: median(each) }));
};

/** The median of `repeats` replays, after two that warm up. */
const measureReplay = async (
  loaded: LoadedProgram,
  checked: CheckedInputs,
  run: readonly Stretch[],
  repeats: number,
): Promise<number> => {
  const samples: number[] = [];
  using events = createEvents(loaded, 2);
  const record = (event: CuEvent | undefined): void => {
    if (event !== undefined) loaded.device.use((driver) => driver.call("cuEventRecord", event, loaded.stream));
  };
  const [start, end] = events.list;
  for (let repeat = -2; repeat < repeats; repeat++) {
    record(start);
    replay(loaded, checked, run);
    record(end);
    await loaded.finished();
    if (repeat >= 0) samples.push(events.milliseconds(0));
  }
  return median(samples);
};

/** Events in a row; `milliseconds(i)` is the time from event i to the next. */
const createEvents = (
  { device }: LoadedProgram,
  count: number,
): Disposable & { readonly list: readonly CuEvent[]; readonly milliseconds: (index: number) => number } => {
  const list: CuEvent[] = [];
  const release = (): void => {
    for (const event of list) device.release((driver) => driver.call("cuEventDestroy_v2", event));
  };
  try {
    for (let i = 0; i < count; i++) list.push(device.use((driver) => driver.make("cuEventCreate", 0)));
  } catch (error) {
    release();
    throw error;
  }
  return {
    list,
    milliseconds: (index) => {
      const out = new Float32Array(new ArrayBuffer(8));
      const [start, end] = [list[index], list[index + 1]];
      if (start !== undefined && end !== undefined)
        device.use((driver) => driver.call("cuEventElapsedTime", out, start, end));
      return out[0] ?? Number.NaN;
    },
    [Symbol.dispose]: release,
  };
};

const evaluate = ({ fixed, perExample }: Linear, batch: number): number => fixed + perExample * batch;

const median = (values: readonly number[]): number => {
  const sorted = values.toSorted((a, b) => a - b);
  const middle = sorted.length / 2;
  return ((sorted[Math.floor(middle)] ?? Number.NaN) + (sorted[Math.ceil(middle) - 1] ?? Number.NaN)) / 2;
};
