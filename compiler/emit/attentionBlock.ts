import { partName } from "../schedule/attention/groups.ts";
import { blockMember, type BlockField, type JobText } from "./attentionText.ts";

/** Variables of the kernel and members of the struct Block, in order of definition. */
export type BlockView = {
  readonly locals: readonly BlockField[];
  readonly members: readonly BlockField[];
  /** Those that differ from group to group, in `group`. */
  readonly parts: readonly BlockField[];
};

/** The number of a thread block within its example has digits, fastest first. */
export type Digit = { readonly name: "head" | "part" | "chunk" | "tile" | "first"; readonly count: number };

const turnsOf = ({ tiles }: JobText["job"]): number => (tiles.kind === "resident" ? tiles.turns : 1);

export const digitsOf = ({ job, kernel, plan }: Pick<JobText, "job" | "kernel" | "plan">): readonly Digit[] => {
  const head: Digit = { name: "head", count: kernel.heads };
  const part: Digit = { name: "part", count: plan.valueParts };
  const chunk: Digit = { name: "chunk", count: job.split?.chunks ?? 1 };
  const tile: Digit = { name: "tile", count: job.queryTiles };
  const first: Digit = { name: "first", count: Math.ceil(job.groupBlocks / turnsOf(job)) };
  // Heads of a token lie side by side in memory; tiles of a group read the same keys.
  return job.tiles.kind === "resident" ? [head, part, tile, first] : [tile, part, chunk, head, first];
};

export const blocksOf = (digits: readonly Digit[]): number => digits.reduce((product, { count }) => product * count, 1);

const digitText = (digits: readonly Digit[], name: Digit["name"]): string => {
  const place = digits.findIndex((digit) => digit.name === name);
  const count = digits[place]?.count ?? 1;
  if (count === 1) return "0";
  const step = blocksOf(digits.slice(0, place));
  const shifted = step === 1 ? "index" : `index / ${step}`;
  return blocksOf(digits.slice(place + 1)) === 1 ? shifted : `${shifted} % ${count}`;
};

const times = (text: string, factor: number): string => {
  if (text === "0" || factor === 1) return text;
  return /^\w+$/.test(text) ? `${text} * ${factor}` : `(${text}) * ${factor}`;
};

/** `last`: what other members may be read for, as the thread block's factor of products. */
export const blockView = (text: JobText, last: readonly (BlockField | null)[]): BlockView => {
  const { job, plan, needs, pointers } = text;
  const digits = digitsOf(text);
  const ofPointers = [...pointers.values()].toSorted((a, b) => pointerPlace(a) - pointerPlace(b));
  const inPointers = (name: string): boolean => ofPointers.some(({ value }) => new RegExp(`\\b${name}\\b`).test(value));
  const parts = job.groups.axes.filter(({ axis }) => needs.block.has(partName(axis)));
  const locals: BlockField[] = [];
  const local = (name: string, needed: boolean, value: string): void => {
    if (needed) locals.push({ type: "const int", name, value });
  };
  local("head", needs.block.has("head") || inPointers("head"), digitText(digits, "head"));
  local(
    "column",
    needs.block.has("column") || inPointers("column"),
    times(digitText(digits, "part"), plan.valueColumns),
  );
  local(
    "first",
    needs.block.has("first") || parts.length > 0,
    times(digitText(digits, "first"), job.groupsPerBlock * turnsOf(job)),
  );
  const members = [...ofPointers];
  const member = (name: string, value: string): void => void members.push({ type: "int", name, value });
  for (const name of ["head", "column", "first"]) if (needs.block.has(name)) member(name, name);
  const partsOf = (group: string): readonly BlockField[] => {
    let step = 1;
    return job.groups.axes.toReversed().flatMap(({ axis, count }): BlockField[] => {
      const shifted = step === 1 ? group : `${group} / ${step}`;
      const value = step * count >= job.groups.count ? shifted : `${shifted} % ${count}`;
      step *= count;
      const name = partName(axis);
      return needs.block.has(name) ? [{ type: "int", name: blockMember(job, name), value }] : [];
    });
  };
  members.push(...partsOf("first"));
  for (const name of ["tile", "chunk"] as const) if (needs.block.has(name)) member(name, digitText(digits, name));
  for (const field of last) if (field !== null) members.push(field);
  return { locals, members, parts: partsOf("group") };
};

const pointerOrder = ["q", "q_prefix", "k", "k_prefix", "v", "v_prefix", "out", "out_prefix"];
const pointerPlace = ({ name }: BlockField): number =>
  pointerOrder.includes(name) ? pointerOrder.indexOf(name) : pointerOrder.length;
