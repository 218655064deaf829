import { readFileSync } from "node:fs";
import { join } from "node:path";
import { Command, CommanderError, Option } from "commander";
import type { Precision } from "../../ir/types.ts";
import { packageRoot } from "../packageRoot.ts";
import type { ImageTarget } from "../toolchain/compileImages.ts";
import { exampleText } from "./examples.ts";
import { CommandError, exitCodes } from "./failure.ts";
import { type Preprocessing, published } from "./media/preprocess.ts";
import type { ModelOptions } from "./model.ts";
import * as parse from "./options.ts";
import { exitCodeOf, messageOf } from "./report.ts";
import { openTerminal } from "./terminal.ts";
import type { ChosenToken } from "./tokenView.ts";

/** Runs one command line (without the names of node and of this program) and gives the exit status. Never throws. */
export async function main(args: readonly string[]): Promise<number> {
  // Whoever reads our output may have seen enough: `fovea inspect … | head`.
  process.stdout.on("error", (error: NodeJS.ErrnoException) =>
    process.exit(error.code === "EPIPE" ? 0 : exitCodes.internal),
  );
  let status: number = exitCodes.success;
  const program = createProgram((code) => (status = code));
  try {
    await program.parseAsync(args, { from: "user" });
    return status;
  } catch (error) {
    // What is wrong with a command line commander has said already.
    if (error instanceof CommanderError) return error.exitCode === 0 ? exitCodes.success : exitCodes.failed;
    process.stderr.write(`${messageOf(error, { colour: process.stderr.isTTY })}\n`);
    return exitCodeOf(error);
  }
}

type Json = { readonly json?: true };
type ModelFlags = ModelOptions & Json & { readonly dtype: Precision };
type BuildFlags = Omit<ModelFlags, "axis"> & {
  readonly axis?: parse.ContractFlags;
  readonly batch?: parse.BatchRange;
  readonly multiprocessors?: number;
  readonly arch?: readonly ImageTarget[];
  readonly out?: string;
  readonly weights?: string;
};
type InspectFlags = ModelFlags & {
  readonly batch: parse.BatchRange;
  readonly stage?: string;
  readonly kernel?: string;
  readonly pattern?: true;
  readonly token: ChosenToken;
  readonly points?: true | string;
  readonly input: ReadonlyMap<string, readonly string[]>;
  readonly weights?: string;
  readonly device: parse.DeviceName;
  readonly svg?: string;
  readonly keep?: true;
} & PreprocessingFlags;
type DeviceFlags = ModelOptions & Json & { readonly device: parse.DeviceName; readonly dtype?: Precision };
type RunFlags = DeviceFlags & {
  readonly weights: string;
  readonly input: ReadonlyMap<string, readonly string[]>;
  readonly output?: string;
  readonly plot?: string;
  readonly top: number;
  readonly labels?: string;
} & PreprocessingFlags;
type PreprocessingFlags = {
  readonly mean: readonly number[];
  readonly deviation: readonly number[];
  readonly interval?: number;
  readonly motion: parse.MotionSource;
};
type ConvertFlags = ModelOptions &
  Json & {
    readonly for?: string;
    readonly inflate?: true;
    readonly rename: { readonly [from: string]: string };
  };
type VerifyFlags = Json & { readonly device: parse.DeviceName; readonly dtype: Precision };
type ProfileFlags = DeviceFlags &
  PreprocessingFlags & {
    readonly weights?: string;
    readonly input: ReadonlyMap<string, readonly string[]>;
    readonly tokens?: true | string[];
    readonly plan?: true;
    readonly sort: parse.SortKey;
    readonly depth: number;
    readonly examples: number;
    readonly trace?: string;
    readonly report?: string;
    readonly against?: string;
  };

type DiffFlags = Json & { readonly text?: true; readonly counters: boolean; readonly examples: number };

/**
 * The commands. Each loads what it needs when it runs: help is there at once. `finish` takes the exit status of the
 * command that ran.
 */
function createProgram(finish: (status: number) => void): Command {
  const program = new Command("fovea")
    .description(
      "Compiles vision, video and set transformers written in TypeScript to fused CUDA kernels, and runs them.",
    )
    .version(version())
    .exitOverride()
    .showHelpAfterError("(fovea --help lists commands, fovea COMMAND --help their options)");

  withModel(program.command("build"))
    .description("compile a model to an artefact: kernels, their images and a manifest")
    .argument("<model>", "a model file")
    .addOption(dtype().default("f32"))
    .option(
      "--axis <name=extents>",
      "what one build serves: batch=1..32, and t=8,16,32 of an axis that the model leaves open; again for other axes",
      parse.collectAxis,
    )
    .addOption(batch())
    .option(
      "--arch <names>",
      "compile for emulated, sm_80, sm_90a, … and PTX for newer ones (default: emulated, and GPUs where there is nvcc)",
      parse.parseTargets,
    )
    .option(
      "--multiprocessors <count>",
      "of the GPU, over which long runs of keys are split (default: 132, as H100 and H200 have)",
      parse.parseCount,
    )
    .option("--weights <file>", "a checkpoint, to be prepared for the C interface (weights.bin)")
    .option(
      "--out <place>",
      "where the artefact goes: a folder, or one file NAME.fovea (default: a folder named after the model)",
    )
    .addOption(json())
    .action(async (model: string, flags: BuildFlags) => {
      const { build } = await import("./build.ts");
      const options = {
        ...flags,
        precision: flags.dtype,
        contract: contractOf(flags),
        targets: flags.arch ?? null,
        multiprocessors: flags.multiprocessors ?? null,
        out: flags.out ?? null,
        weights: flags.weights ?? null,
        json: flags.json === true,
      };
      finish(await build(model, options, openTerminal(flags)));
    });

  withPreprocessing(withExtents(withModel(program.command("run"))))
    .description("run a model or an artefact on pictures, clips or arrays")
    .argument("<model>", "a model file, or an artefact: a folder, or NAME.fovea")
    .requiredOption("--weights <file>", "the checkpoint: .safetensors (also sharded), .pth, .pt, .pyth or .npz")
    .requiredOption(
      "--input <name=file>",
      "a video, a folder of pictures, a picture, a moving GIF or WebP, .safetensors, or rows of numbers as .csv; again for other inputs, and for more examples",
      parse.collectInput,
      new Map(),
    )
    .addOption(device())
    .addOption(dtype())
    .option("--output <file>", "write all outputs to a .safetensors file")
    .option("--plot <file.svg>", "draw the points of sets in the colours of their clusters")
    .option("--top <n>", "how many classes to show", parse.parseCount, 5)
    .option("--labels <file>", "names of the classes: a JSON list, or one a line")
    .addOption(json())
    .action(async (model: string, flags: RunFlags) => {
      const { run } = await import("./run.ts");
      const options = {
        ...flags,
        inputs: flags.input,
        precision: flags.dtype ?? null,
        output: flags.output ?? null,
        plot: flags.plot ?? null,
        labels: flags.labels ?? null,
        preprocessing: preprocessingOf(flags),
        json: flags.json === true,
      };
      finish(await run(model, options, openTerminal(flags)));
    });

  withPreprocessing(withExtents(withModel(program.command("inspect"))))
    .description(
      "show what the compiler makes of a model (passes, kernels, what was fused and why), or what an artefact holds",
    )
    .argument("<model>", "a model file, or an artefact: a folder, or NAME.fovea")
    .addOption(dtype().default("f32"))
    .addOption(batch().default(parse.usualBatch, "1..32"))
    .option("--stage <pass>", "print the graph as this pass, by name or number, left it")
    .option("--kernel <name>", "print the text of this kernel")
    .option("--pattern", "draw which queries of each attention meet which keys, and count what is computed")
    .option("--points [module]", "draw where a query of each deformable layer, or of this one, looks")
    .option(
      "--input <name=file>",
      "what --points looks at, as for run (default: random numbers)",
      parse.collectInput,
      new Map(),
    )
    .option("--weights <file>", "the checkpoint for --points (default: random weights)")
    .addOption(device())
    .option(
      "--token <place>",
      "whose keys or points are drawn: t=3,h=7, or prefix (default: the middle)",
      parse.parseToken,
      {},
    )
    .option("--svg <folder>", "write these drawings as pictures")
    .option("--keep", "the plan that keeps every published intermediate")
    .addOption(json())
    .action(async (model: string, flags: InspectFlags, command: Command) => {
      const { isArtefactPlace } = await import("./network.ts");
      if (isArtefactPlace(model)) {
        const { inspectArtefact } = await import("./inspectArtefact.ts");
        const options = {
          kernel: flags.kernel ?? null,
          ofModel: otherThan(command, ["kernel", "json"]),
          json: flags.json === true,
        };
        return finish(inspectArtefact(model, options, openTerminal(flags)));
      }
      if (flags.points !== undefined) {
        const { inspectPoints } = await import("./points/inspectPoints.ts");
        const options = {
          ...flags,
          points: flags.points === true ? null : flags.points,
          inputs: flags.input,
          precision: flags.dtype,
          weights: flags.weights ?? null,
          preprocessing: preprocessingOf(flags),
          svg: flags.svg ?? null,
          json: flags.json === true,
        };
        return finish(await inspectPoints(model, options, openTerminal(flags)));
      }
      const { inspect } = await import("./inspect.ts");
      const options = {
        ...flags,
        precision: flags.dtype,
        keep: flags.keep === true,
        stage: flags.stage ?? null,
        kernel: flags.kernel ?? null,
        pattern: flags.pattern === true,
        token: flags.token,
        svg: flags.svg ?? null,
        json: flags.json === true,
      };
      finish(await inspect(model, options, openTerminal(flags)));
    });

  program
    .command("verify")
    .description("run published cases and compare every output and intermediate with what the published code computed")
    .argument("<cases...>", "folders with a case.json")
    .addOption(device())
    .addOption(dtype().default("f32"))
    .addOption(json())
    .action(async (cases: string[], flags: VerifyFlags) => {
      const { verify } = await import("./verify.ts");
      finish(
        await verify(
          cases,
          { device: flags.device, precision: flags.dtype, json: flags.json === true },
          openTerminal(flags),
        ),
      );
    });

  withPreprocessing(withExtents(withModel(program.command("profile"))))
    .description("measure a model or an artefact kernel by kernel, and by module as the author wrote it")
    .argument("<model>", "a model file, or an artefact: a folder, or NAME.fovea")
    .option("--weights <file>", "the checkpoint (default: random weights)")
    .addOption(device())
    .addOption(dtype())
    .option("--examples <n>", "the batch of random inputs", parse.parseCount, 1)
    .option("--input <name=file>", "as for run (default: random numbers)", parse.collectInput, new Map())
    .addOption(
      new Option("--sort <key>", "what the launches are sorted by, the most first")
        .choices(parse.sortKeys)
        .default("time"),
    )
    .option("--depth <n>", "fold modules deeper than this", parse.parseCount, 4)
    .option("--plan", "run nothing: the work of each launch, and the least time it can take on an H200")
    .option("--trace <file.json>", "write the launches by module, for Perfetto or chrome://tracing")
    .option(
      "--report <file.html>",
      "write a page to look at: graph, flame, roofline, memory, kernels beside their source",
    )
    .option("--against <report.html>", "let the report show an earlier one beside it, module by module")
    .option(
      "--tokens [modules...]",
      "let the report show whom tokens attend to in these modules, in the first example (default: the last of each kernel)",
    )
    .addOption(json())
    .action(async (model: string, flags: ProfileFlags) => {
      const { profile } = await import("./profile.ts");
      const options = {
        ...flags,
        precision: flags.dtype ?? null,
        weights: flags.weights ?? null,
        inputs: flags.input,
        preprocessing: preprocessingOf(flags),
        plan: flags.plan === true,
        tokens: flags.tokens === true ? [] : (flags.tokens ?? null),
        trace: flags.trace ?? null,
        report: flags.report ?? null,
        against: flags.against ?? null,
        json: flags.json === true,
      };
      finish(await profile(model, options, openTerminal(flags)));
    });

  program
    .command("diff")
    .description("compare two artefacts: which kernels differ and why, and their counts and predicted times")
    .argument("<before>", "an artefact: a folder, or NAME.fovea")
    .argument("<after>", "another one")
    .option("--text", "print how the kernels' texts differ")
    .option("--no-counters", "compare what was built alone: run nothing on the emulated device")
    .option("--examples <n>", "the batch to count", parse.parseCount, 1)
    .addOption(json())
    .action(async (before: string, after: string, flags: DiffFlags) => {
      const { diff } = await import("./diff.ts");
      const options = { ...flags, text: flags.text === true, json: flags.json === true };
      finish(await diff(before, after, options, openTerminal(flags)));
    });

  withModel(
    program
      .command("convert-weights")
      .description(
        "write any checkpoint that can be read (.pth, .pt, .pyth, .npz, sharded safetensors) as one safetensors file, as it is or as a model takes it",
      )
      .argument("<in>", "the checkpoint")
      .argument("<out>", "the .safetensors file to write")
      .option("--for <model>", "a model file: resize tables of positions to what it takes"),
  )
    .option("--inflate", "the weights are of images and the model is of clips: copy them along time")
    .option("--rename <from=to>", "with --inflate: names that begin otherwise", parse.collectRename, {})
    .addOption(json())
    .action(async (from: string, to: string, flags: ConvertFlags) => {
      const { convertWeights } = await import("./convertWeights.ts");
      const { for: model = null, inflate = false, json: asJson = false, ...rest } = flags;
      finish(await convertWeights(from, to, { ...rest, model, inflate, json: asJson }, openTerminal(flags)));
    });

  program
    .command("devices")
    .description("list what this machine can run programs on")
    .option("--emulator", "print where the emulated device's driver is, and nothing else")
    .addOption(json())
    .action(async (flags: Json & { readonly emulator?: true }) => {
      const { devices } = await import("./devices.ts");
      const options = { json: flags.json === true, emulator: flags.emulator === true };
      finish(await devices(options, openTerminal(flags)));
    });

  for (const command of program.commands) command.addHelpText("after", exampleText(command.name()));
  return program;
}

/** An option that was given beside these, as it was typed. */
const otherThan = (command: Command, known: readonly string[]): string | null =>
  command.options.find(
    (option) =>
      !known.includes(option.attributeName()) && command.getOptionValueSource(option.attributeName()) === "cli",
  )?.long ?? null;

const withModel = (command: Command): Command =>
  command
    .option("--entry <name>", "which network of the model file (default: the first)")
    .option("--preset <name>", "a published configuration of the model")
    .option("--config <file>", "JSON: fields that differ from the preset, or from the defaults");

const withPreprocessing = (command: Command): Command =>
  command
    .option("--mean <numbers>", "of clips: subtracted from channels in 0..1", parse.parseChannels, published.mean)
    .option("--deviation <numbers>", "of clips: channels are divided by it", parse.parseChannels, published.deviation)
    .option(
      "--interval <n>",
      "of a video at 30 frames a second every n-th frame is seen (default: as published for TimeSformer)",
      parse.parseCount,
    )
    .addOption(
      new Option(
        "--motion <source>",
        "what motion that is not given is made of: a video's own vectors, or matched blocks",
      )
        .choices(parse.motionSources)
        .default("auto"),
    );
const preprocessingOf = ({ mean, deviation, interval }: PreprocessingFlags): Preprocessing => ({
  mean,
  deviation,
  interval: interval ?? null,
});
const withExtents = (command: Command): Command =>
  command.option(
    "--axis <name=extent>",
    "the extent of an axis that the model leaves open, as in t=16; again for other axes",
    parse.collectExtent,
  );

/** `--batch` is short for `--axis batch=`. */
function contractOf({ axis = { axes: {} }, batch: range }: BuildFlags): parse.ContractFlags {
  if (axis.batch !== undefined && range !== undefined)
    throw new CommandError("the batch is given twice: as --batch and as --axis batch=");
  return range === undefined ? axis : { ...axis, batch: range };
}

const dtype = (): Option =>
  new Option("--dtype <name>", `how numbers are stored: ${parse.precisions.join(", ")}`).argParser(
    parse.parsePrecision,
  );
const batch = (): Option =>
  new Option("--batch <range>", "batches that one build serves: 8, or 1..32, as --axis batch=").argParser(
    parse.parseBatch,
  );
const device = (): Option =>
  new Option("--device <name>", `what to run on: ${parse.deviceNames.join(", ")} (the float64 interpreter)`)
    .argParser(parse.parseDevice)
    .default("auto");
const json = (): Option => new Option("--json", "print JSON");

const version = (): string =>
  String((JSON.parse(readFileSync(join(packageRoot(), "package.json"), "utf8")) as { version?: unknown }).version);
