import { mul } from "../../ir/scalarBuild.ts";
import { below, type Ranges } from "../../ir/scalarRange.ts";
import { simplify } from "../../ir/scalarSimplify.ts";
import { substitute, variablesOf } from "../../ir/scalarWalk.ts";
import type { Scalar } from "../../ir/scalar.ts";
import { blockScope, isTrue, needOfBlock, type JobText } from "./attentionText.ts";
import type { JobLengths } from "../schedule/attention/jobLengths.ts";
import { printCuda } from "./cudaScalar.ts";

/** The block schedule as C++ text. */
export type ScheduleView = {
  readonly kind: "dense" | "single" | "closed" | "table";
  /** Of "dense": keys in whole steps, and in the narrower one behind them (0: none), and whether they hide any. */
  readonly wholeKeys: number;
  readonly tailKeys: number;
  readonly wholeMasked: string;
  /** A condition more for whole steps, and one for the last: where keys end at a length. */
  readonly wholeIf: string;
  readonly tailIf: string | null;
  readonly tailMasked: string;
  /** In `tile`: how many steps; then in `i`: the first key of one, and whether every query sees all of it. */
  readonly count: string;
  readonly key0: string;
  readonly full: string;
  readonly masked: string;
  readonly usesTile: boolean;
  readonly table: { readonly starts: string; readonly entries: string } | null;
};

/** Whether the thread block's group is cut off or wrapped. */
export const irregularText = (text: JobText): string => {
  const { irregular, query } = text.job;
  needOfBlock(text, irregular);
  return printCuda(irregular, blockScope(text, query.slot.ranges), "bool");
};

export const scheduleView = (text: JobText): ScheduleView => {
  const { job } = text;
  const { schedule, tiles } = job;
  const print = (expr: Scalar, ranges: Ranges, as: "int" | "bool"): string => {
    needOfBlock(text, expr);
    return printCuda(expr, blockScope(text, { ...job.query.slot.ranges, ...ranges }), as);
  };
  const edge = job.irregular.kind === "number" ? null : irregularText(text);
  const fullText = (full: string): string => {
    if (edge === null || full === "false") return full;
    return full === "true" ? `!(${edge})` : `${full} && !(${edge})`;
  };
  const view = (full: string): Pick<ScheduleView, "full" | "masked"> => {
    const whole = fullText(full);
    return { full: whole, masked: negated(whole) };
  };
  if (job.split !== null) text.needs.block.add("chunk");
  if (tiles.kind === "stream" || job.queryTiles > 1) text.needs.block.add("tile");
  const none = {
    wholeIf: "",
    tailIf: null,
    wholeKeys: 0,
    tailKeys: 0,
    wholeMasked: "false",
    tailMasked: "true",
    usesTile: false,
    table: null,
  };
  switch (schedule.kind) {
    case "dense": {
      const slots = job.key.layout.units * job.key.layout.unitSlots;
      const before = (schedule.blocks - 1) * tiles.span;
      const apart = schedule.partialTail || slots - before !== tiles.span;
      const masked = edge ?? "false";
      if (job.lengths !== null) return boundedSchedule(text, job.lengths, schedule.blocks, slots);
      return {
        ...none,
        kind: "dense",
        wholeKeys: apart ? before : slots,
        tailKeys: apart ? slots - before : 0,
        wholeMasked: masked,
        tailMasked: schedule.partialTail ? "true" : masked,
        count: String(schedule.blocks),
        key0: `i * ${tiles.span}`,
        ...view(schedule.partialTail ? `i < ${schedule.blocks - 1}` : "true"),
      };
    }
    case "closed": {
      const single = schedule.count.kind === "number" && schedule.count.value === 1;
      const ranges: Ranges = { tile: below(schedule.tiles), i: below(single ? 1 : Math.max(1, schedule.blocks)) };
      const block = simplify(schedule.block, ranges);
      const full = simplify(substitute(schedule.full, { block }), ranges);
      const whole = full.kind === "number" ? String(isTrue(full)) : print(full, ranges, "bool");
      return {
        ...none,
        kind: single ? "single" : "closed",
        count: print(schedule.count, ranges, "int"),
        key0: print(simplify(mul(block, tiles.span), ranges), ranges, "int"),
        ...view(whole),
        usesTile: [schedule.count, block, full].some((expr) => variablesOf(expr).has("tile")),
      };
    }
    case "table": {
      const type = (numbers: readonly number[]): string =>
        numbers.some((each) => each > 65535) ? "uint32_t" : "uint16_t";
      // One entry more, for the look at the block behind the last.
      const entries = [...schedule.entries, 0];
      return {
        ...none,
        kind: "table",
        count: "block_starts[tile + 1] - block_starts[tile]",
        key0: `(int)(entry >> 1) * ${tiles.span}`,
        ...view("(entry & 1) != 0"),
        usesTile: true,
        table: {
          starts: `${type(schedule.starts)} block_starts[${schedule.starts.length}] = {${lines(schedule.starts)}}`,
          entries: `${type(entries)} block_entries[${entries.length}] = {${lines(entries)}}`,
        },
      };
    }
  }
};

/** Blocks of keys up to the thread block's length. */
const boundedSchedule = (
  { job, plan, needs }: JobText,
  { boundsQueries }: JobLengths,
  blocks: number,
  slots: number,
): ScheduleView => {
  const { tiles } = job;
  const { span } = tiles;
  needs.block.add("length");
  const before = (blocks - 1) * span;
  const isWhole = slots - before === span;
  const queries = tiles.kind === "resident" ? 16 : 16 * plan.warps;
  // A tile of queries that are all behind the length meets no key, one that is partly so tests each pair.
  const dead = boundsQueries ? `tile * ${queries} >= block.length ? 0 : ` : "";
  const crosses = boundsQueries ? ` || tile * ${queries} + ${queries} > block.length` : "";
  const alive = boundsQueries ? ` && tile * ${queries} < block.length` : "";
  const masked = (keys: string): string => `${keys} > block.length${crosses}`;
  return {
    kind: "dense",
    wholeKeys: isWhole ? slots : before,
    tailKeys: isWhole ? 0 : slots - before,
    wholeMasked: masked(`key0 + ${span}`),
    tailMasked: masked(String(slots)),
    wholeIf: ` && key0 < block.length${alive}`,
    tailIf: `${before} < block.length${alive}`,
    count: `${dead}(block.length + ${span - 1}) / ${span}`,
    key0: `i * ${span}`,
    full: `!(${masked(`i * ${span} + ${span}`)})`,
    masked: masked(`key0 + ${span}`),
    usesTile: boundsQueries,
    table: null,
  };
};

const negated = (condition: string): string => {
  if (condition === "true") return "false";
  if (condition === "false") return "true";
  return condition === "(entry & 1) != 0" ? "(entry & 1) == 0" : `!(${condition})`;
};

const lines = (numbers: readonly number[]): string => {
  const rows: string[] = [];
  for (let i = 0; i < numbers.length; i += 24) rows.push(numbers.slice(i, i + 24).join(", "));
  return rows.length === 1 ? (rows[0] ?? "") : `\n    ${rows.join(",\n    ")}`;
};
