import type { Argument, BlockCount, Kernel, Linear, Program, Step } from "../../../ir/program.ts";
import type { BufferLife, Flow, FlowEnd } from "./data.ts";

/** Kernels' texts by name. */
export type Texts = ReadonlyMap<string, string>;

type Access = { readonly region: Region; readonly step: number; readonly reads: boolean; readonly writes: boolean };
type Region = { readonly space: string; readonly start: number; readonly end: number };

/**
 * Who reads what whom wrote, from the addresses of the launches alone, so that it is known of every artefact. A region
 * may be written by several launches (a class token beside its patches): going back from a reader, launches that wrote
 * to it count until they have written all of it.
 */
export function flowsOf(program: Program, texts: Texts, batch: number): { flows: Flow[]; lives: BufferLife[] } {
  const accesses = program.steps.flatMap((step, index) => accessesOf(step, index, program, texts, batch));
  const flows: Flow[] = [];
  const lives: BufferLife[] = [];
  for (const reader of accesses.filter(({ reads }) => reads)) {
    const { region, step } = reader;
    const port = portOf(region, program);
    if (port !== null && region.space === "input") flows.push({ from: port, to: step, bytes: sizeOf(region) });
    let missing = sizeOf(region);
    const before = accesses.filter(
      (each) => each.writes && each.step < step && each.region.space === region.space && overlap(each.region, region),
    );
    for (const writer of before.toReversed()) {
      const size = overlap(writer.region, region);
      const wrote = Math.min(size, writtenBytes(program, writer.step, batch));
      flows.push({ from: writer.step, to: step, bytes: wrote });
      if (region.space === "activations" || region.space === "shared")
        lives.push({ ...placeOf(writer.region, region.space), from: writer.step, to: step });
      missing -= wrote;
      // An example's part of a buffer is padded to 256 bytes.
      if (missing < padding * batch) break;
    }
  }
  for (const { region, step, writes } of accesses) {
    const port = portOf(region, program);
    if (writes && port !== null) flows.push({ from: step, to: port, bytes: sizeOf(region) });
  }
  return { flows: unique(flows), lives: joined(lives) };
}

const padding = 256;

function accessesOf(step: Step, index: number, program: Program, texts: Texts, batch: number): Access[] {
  const constant = constantPointers(texts.get(step.kernel) ?? "", step.kernel);
  return step.arguments.flatMap((argument, position) => {
    const region = regionOf(argument, program, batch);
    const reads = constant[position] ?? false;
    return region === null ? [] : [{ region, step: index, reads, writes: !reads }];
  });
}

/** For each parameter of a kernel, whether it points to what the kernel only reads. */
export function constantPointers(text: string, kernel: string): readonly boolean[] {
  const at = text.search(new RegExp(`(?<![\\w.])${kernel}\\(`, "m"));
  const signature = at < 0 ? "" : text.slice(at + kernel.length + 1);
  const end = signature.indexOf(")");
  return signature
    .slice(0, Math.max(end, 0))
    .split(",")
    .map((parameter) => /\bconst\b.*\*/.test(parameter));
}

function regionOf(argument: Argument, program: Program, batch: number): Region | null {
  if (argument.kind !== "buffer") return null;
  const { buffer } = argument;
  switch (buffer.space) {
    case "activations":
      return range("activations", buffer.offset * batch, buffer.bytesPerExample * batch);
    case "shared":
      return range("shared", buffer.offset, buffer.bytes);
    case "weights":
      return null;
    case "input":
    case "output":
    case "kept": {
      const ports = { input: program.inputs, output: program.outputs, kept: program.kept }[buffer.space];
      const port = ports[buffer.index];
      const elements = (port?.shape ?? []).reduce<number>(
        (product, size) => product * (typeof size === "number" ? size : size.batchTimes * batch),
        1,
      );
      const width = { f32: 4, f16: 2, bf16: 2, i32: 4, u8: 1 }[port?.storage ?? "f32"];
      // Ports lie apart from one another: far enough that they never overlap.
      return range(buffer.space, buffer.index * 2 ** 42, elements * width);
    }
  }
}

const range = (space: string, start: number, size: number): Region => ({ space, start, end: start + size });
const sizeOf = ({ start, end }: Region): number => end - start;
const overlap = (a: Region, b: Region): number => Math.max(0, Math.min(a.end, b.end) - Math.max(a.start, b.start));
const placeOf = (region: Region, space: "activations" | "shared"): Pick<BufferLife, "space" | "offset" | "bytes"> => ({
  space,
  offset: region.start,
  bytes: sizeOf(region),
});

function portOf({ space, start }: Region, program: Program): { readonly port: string } | null {
  const ports = { input: program.inputs, output: program.outputs, kept: program.kept };
  if (space !== "input" && space !== "output" && space !== "kept") return null;
  return { port: ports[space][Math.floor(start / 2 ** 42)]?.name ?? space };
}

const writtenBytes = ({ steps }: Program, index: number, batch: number): number => {
  const work = steps[index]?.work.writeBytes;
  return work === undefined ? 0 : evaluate(work, batch);
};

/** Two launches may share several buffers; the graph shows one edge. */
function unique(flows: readonly Flow[]): Flow[] {
  const name = (end: FlowEnd): string => (typeof end === "number" ? String(end) : `:${end.port}`);
  const found = new Map<string, Flow>();
  for (const flow of flows) {
    const key = `${name(flow.from)} ${name(flow.to)}`;
    found.set(key, { ...flow, bytes: flow.bytes + (found.get(key)?.bytes ?? 0) });
  }
  return [...found.values()];
}

/** Lives of one place that meet are one: several read it, or one updates it in place. */
function joined(lives: readonly BufferLife[]): BufferLife[] {
  const result: BufferLife[] = [];
  for (const life of lives.toSorted((a, b) => a.from - b.from || a.to - b.to)) {
    const at = result.findIndex(
      (other) =>
        other.space === life.space &&
        other.offset === life.offset &&
        other.bytes === life.bytes &&
        life.from <= other.to,
    );
    const other = result[at];
    if (other === undefined) result.push(life);
    else result[at] = { ...other, to: Math.max(other.to, life.to) };
  }
  return result;
}

const evaluate = ({ fixed, perExample }: Linear, batch: number): number => fixed + perExample * batch;

export const blocksOf = ({ grid }: Step, batch: number): number =>
  grid.reduce((product, count) => product * blocksAlong(count, batch), 1);

const blocksAlong = ({ factor, fixed, perExample, divisor, plus }: BlockCount, batch: number): number =>
  factor * Math.ceil((fixed + perExample * batch) / divisor) + (plus === undefined ? 0 : blocksAlong(plus, batch));

export const textsOf = (kernels: readonly Kernel[], read: (path: string) => Uint8Array): Texts =>
  new Map(kernels.map(({ name, source }) => [name, new TextDecoder().decode(read(source))]));
