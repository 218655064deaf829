import { InvalidArgumentError } from "commander";
import type { Extents } from "../../ir/program.ts";
import type { Precision } from "../../ir/types.ts";
import { didYouMean } from "../diagnostics.ts";
import type { ImageTarget } from "../toolchain/compileImages.ts";
import type { ChosenToken } from "./tokenView.ts";

/** Makes a parser of one name out of several; an unknown one is answered with the nearest. */
const oneOf =
  <Name extends string>(names: readonly Name[]) =>
  (text: string): Name => {
    const found = names.find((name) => name === text);
    if (found !== undefined) return found;
    const nearest = didYouMean(text, names);
    throw new InvalidArgumentError(`${nearest === "" ? "" : `${nearest} `}It is one of ${names.join(", ")}.`);
  };

export const precisions: readonly Precision[] = ["f32", "f16", "bf16"];
export const parsePrecision: (text: string) => Precision = oneOf(precisions);

/** `evaluator` is the float64 interpreter of the graph: exact, slow, and no device at all. */
export type DeviceName = "auto" | "cuda" | "emulated" | "evaluator";
export const deviceNames: readonly DeviceName[] = ["auto", "cuda", "emulated", "evaluator"];
export const parseDevice: (text: string) => DeviceName = oneOf(deviceNames);

/** Where motion comes from: the vectors that a video holds, or blocks matched between frames. */
export type MotionSource = "auto" | "codec" | "matching";
export const motionSources: readonly MotionSource[] = ["auto", "codec", "matching"];

/** Columns of a profile's table. */
export const sortKeys = ["time", "work", "bytes", "launch"] as const;
export type SortKey = (typeof sortKeys)[number];

export type BatchRange = { readonly min: number; readonly max: number };
/** What a build serves where nobody says anything else. */
export const usualBatch: BatchRange = { min: 1, max: 32 };

/** `8`, or `1..32`: one build serves all of them. */
export function parseBatch(text: string): BatchRange {
  const [, from, to] = /^(\d+)(?:\.\.(\d+))?$/.exec(text) ?? [];
  const [min, max] = [Number(from), Number(to ?? from)];
  if (from === undefined || min < 1) throw new InvalidArgumentError("It is a number from 1, or a range as 1..32.");
  if (max < min) throw new InvalidArgumentError(`The range is empty: ${max} is below ${min}.`);
  if (max > 65_535) throw new InvalidArgumentError("It is at most 65535.");
  return { min, max };
}

/** What a build serves, as far as it was said: a range of batches, and extents by axis. */
export type ContractFlags = {
  readonly batch?: BatchRange;
  readonly axes: { readonly [axis: string]: readonly number[] };
};

/** Collects `batch=1..32`, `t=8,16,32` and `t=8..10`, given once for each axis. */
export function collectAxis(text: string, before: ContractFlags = { axes: {} }): ContractFlags {
  const [, axis, value] = /^([A-Za-z_]\w*)=(.+)$/.exec(text) ?? [];
  if (axis === undefined || value === undefined)
    throw new InvalidArgumentError("It is AXIS=EXTENTS, as in t=8,16,32 or batch=1..32.");
  if (axis in before.axes || (axis === "batch" && before.batch !== undefined))
    throw new InvalidArgumentError(`The axis ${axis} is given twice.`);
  if (axis === "batch") {
    if (value.includes(","))
      throw new InvalidArgumentError("One build serves all batches of a range: batch=1..32, not a list.");
    return { ...before, batch: parseBatch(value) };
  }
  return { ...before, axes: { ...before.axes, [axis]: parseExtents(value) } };
}

/** Each extent takes a program of its own: there are not to be many. */
const mostExtents = 64;

function parseExtents(text: string): readonly number[] {
  const [, from, to] = /^(\d+)\.\.(\d+)$/.exec(text) ?? [];
  const count = Number(to) - Number(from) + 1;
  if (count > mostExtents)
    throw new InvalidArgumentError(`A range of ${count} extents takes ${count} programs; name those that are needed.`);
  const list =
    from === undefined ? text.split(",").map(Number) : Array.from({ length: count }, (_, i) => Number(from) + i);
  if (list.length === 0) throw new InvalidArgumentError(`The range is empty: ${to} is below ${from}.`);
  if (list.some((each) => !Number.isInteger(each) || each < 1))
    throw new InvalidArgumentError("Extents are numbers from 1: t=8,16,32, or all of a range: t=8..10.");
  return [...new Set(list)].toSorted((a, b) => a - b);
}

/** Collects `t=16`, given once for each axis. */
export function collectExtent(text: string, before: Extents = {}): Extents {
  const [, axis, value] = /^([A-Za-z_]\w*)=(\d+)$/.exec(text) ?? [];
  if (axis === undefined || Number(value) < 1) throw new InvalidArgumentError("It is AXIS=EXTENT, as in t=16.");
  if (axis in before) throw new InvalidArgumentError(`The axis ${axis} is given twice.`);
  return { ...before, [axis]: Number(value) };
}

/** `sm_80,sm_90a,compute_90,emulated`: what kernels are compiled for. */
export function parseTargets(text: string): readonly ImageTarget[] {
  const targets = text.split(",").map((each) => each.trim());
  for (const target of targets) {
    if (!isTarget(target))
      throw new InvalidArgumentError(
        `"${target}" is neither emulated nor an architecture such as sm_80, sm_90a or (PTX) compute_90.`,
      );
  }
  return [...new Set(targets.filter(isTarget))];
}
const isTarget = (text: string): text is ImageTarget =>
  text === "emulated" || /^(sm_\d{2,3}[af]?|compute_\d{2,3})$/.test(text);

/** Collects `NAME=FILE`, given once for each input, or once for each example of an input's batch. */
export function collectInput(
  text: string,
  before: ReadonlyMap<string, readonly string[]>,
): ReadonlyMap<string, readonly string[]> {
  const at = text.indexOf("=");
  if (at < 1 || at === text.length - 1) throw new InvalidArgumentError("It is NAME=FILE, as in video=clip.mp4.");
  const [name, file] = [text.slice(0, at), text.slice(at + 1)];
  return new Map([...before, [name, [...(before.get(name) ?? []), file]]]);
}

/** `t=3,h=7`, or `prefix`. */
export function parseToken(text: string): ChosenToken {
  if (text === "prefix") return text;
  return Object.fromEntries(
    text.split(",").map((part) => {
      const [, axis, at] = /^\s*(\w+)=(\d+)\s*$/.exec(part) ?? [];
      if (axis === undefined) throw new InvalidArgumentError("It names axes, as in t=3,h=7, or is prefix.");
      return [axis, Number(at)];
    }),
  );
}

/** Collects `FROM=TO`: first parts of names, and what they become. */
export function collectRename(
  text: string,
  before: { readonly [from: string]: string },
): { readonly [from: string]: string } {
  const [from, to, ...more] = text.split("=");
  if (!from || !to || more.length > 0) throw new InvalidArgumentError("It is FROM=TO, as in head=cls_head.fc_cls.");
  return { ...before, [from]: to };
}

export function parseCount(text: string): number {
  const count = Number(text);
  if (!Number.isInteger(count) || count < 1) throw new InvalidArgumentError("It is a number from 1.");
  return count;
}

/** One number for all channels, or three: red, green, blue. */
export function parseChannels(text: string): readonly number[] {
  const numbers = text.split(",").map(Number);
  const [first, ...rest] = numbers;
  if (
    first === undefined ||
    numbers.some((value) => !Number.isFinite(value)) ||
    (rest.length !== 0 && rest.length !== 2)
  ) {
    throw new InvalidArgumentError("It is one number, or three for red, green and blue: 0.45 or 0.48,0.46,0.41.");
  }
  return rest.length === 0 ? [first, first, first] : numbers;
}
