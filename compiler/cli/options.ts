import { InvalidArgumentError } from "commander";
import type { Precision } from "../../ir/types.ts";
import { didYouMean } from "../diagnostics.ts";
import type { ImageTarget } from "../toolchain/compileImages.ts";

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

/** Columns of a profile's table. */
export const sortKeys = ["time", "work", "bytes", "launch"] as const;
export type SortKey = (typeof sortKeys)[number];

export type BatchRange = { readonly min: number; readonly max: number };
/** `8`, or `1..32`: one build serves all of them. */
export function parseBatch(text: string): BatchRange {
  const [, from, to] = /^(\d+)(?:\.\.(\d+))?$/.exec(text) ?? [];
  const [min, max] = [Number(from), Number(to ?? from)];
  if (from === undefined || min < 1) throw new InvalidArgumentError("It is a number from 1, or a range as 1..32.");
  if (max < min) throw new InvalidArgumentError(`The range is empty: ${max} is below ${min}.`);
  if (max > 65_535) throw new InvalidArgumentError("It is at most 65535.");
  return { min, max };
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
