import { type Checkpoint, checkpointOf } from "../../runtime/checkpoint.ts";
import { inflateWeights } from "../../runtime/inflateWeights.ts";
import { openTensors } from "../../runtime/openTensors.ts";
import { resizeWeights } from "../../runtime/resizeWeights.ts";
import { dtypeBytes, type TensorToWrite, writeSafetensors } from "../../runtime/safetensors.ts";
import { countOf } from "./arrays.ts";
import { CommandError, exitCodes } from "./failure.ts";
import { bytes } from "./figures.ts";
import { type ModelOptions, traceModel } from "./model.ts";
import { graphParameters } from "./ports.ts";
import type { Terminal } from "./terminal.ts";
import { writeWhole } from "./writeWhole.ts";

export type ConvertOptions = ModelOptions & {
  /** The model file that the weights shall fit; null: they stay as they are. */
  readonly model: string | null;
  /** They are an image network's, and the model is of clips. */
  readonly inflate: boolean;
  /** First parts of names, and what they become. */
  readonly rename: { readonly [from: string]: string };
  readonly json: boolean;
};

/** Writes the tensors of any readable file of weights by their names to a safetensors file: as they are, or as a model takes them. */
export async function convertWeights(
  from: string,
  to: string,
  options: ConvertOptions,
  terminal: Terminal,
): Promise<number> {
  if (options.model === null && (options.inflate || Object.keys(options.rename).length > 0))
    throw new CommandError(
      "--inflate and --rename need to know which model it is for",
      "add --for models/videoSwin.ts",
    );
  using file = await openTensors(from);
  const { tensors, changed, missing } =
    options.model === null
      ? { tensors: new Map<string, TensorToWrite>(file.tensors), changed: [], missing: [] }
      : await fitted(file, options.model, options, terminal);
  // The place may be that of the source.
  await terminal.task(`writing ${to}`, async () =>
    writeWhole(to, (draft) => writeSafetensors(draft, tensors, new Map([["format", "pt"]]))),
  );
  const total = [...tensors.values()].reduce((sum, { dtype, shape }) => sum + countOf(shape) * dtypeBytes[dtype], 0);
  if (options.json) {
    const list = [...tensors].map(([name, { dtype, shape }]) => ({ name, dtype, shape }));
    terminal.print(JSON.stringify({ from, to, bytes: total, tensors: list, changed, missing }, null, 2));
  } else {
    terminal.print(`wrote ${terminal.paint.bold(to)}: ${tensors.size} tensors, ${bytes(total)}`);
    for (const { name, shape } of changed)
      terminal.print(`    ${name} ${options.inflate ? "inflated" : "resized"} to [${shape.join(", ")}]`);
    if (missing.length > 0) terminal.print(`    the model also wants ${missing.join(", ")}`);
  }
  return exitCodes.success;
}

type Change = { readonly name: string; readonly shape: readonly number[] };
type Fitted = {
  readonly tensors: ReadonlyMap<string, TensorToWrite>;
  /** Tensors that have another size than in the file. */
  readonly changed: readonly Change[];
  /** What the model wants and the file lacks. */
  readonly missing: readonly string[];
};
type Stored = Awaited<ReturnType<typeof openTensors>>;

/** What is resized or inflated becomes float32; the rest stays as it is stored. */
async function fitted(file: Stored, model: string, options: ConvertOptions, terminal: Terminal): Promise<Fitted> {
  const graph = await traceModel(model, options, terminal);
  const parameters = graphParameters(graph);
  const given = checkpointOf(file);
  const made: Checkpoint = options.inflate
    ? inflateWeights({ parameters }, given, options)
    : resizeWeights({ parameters }, given);
  const stored = new Map([...given.tensors].map(([name, tensor]) => [tensor, name]));
  const changed: Change[] = [];
  const tensors = [...made.tensors].map(([name, tensor]): [string, TensorToWrite] => {
    const original = file.tensors.get(stored.get(tensor) ?? "");
    if (original !== undefined) return [name, original];
    const { shape } = tensor;
    changed.push({ name, shape });
    return [name, { dtype: "F32", shape, bytes: () => new Uint8Array(Float32Array.from(tensor.values()).buffer) }];
  });
  const names = new Set(made.tensors.keys());
  const missing = [...new Set(parameters.map(({ name }) => name))].filter((name) => !names.has(name));
  return { tensors: new Map(tensors), changed, missing };
}
