import type { Scalar } from "../../ir/scalar.ts";
import { below, type Ranges } from "../../ir/scalarRange.ts";
import { simplify } from "../../ir/scalarSimplify.ts";
import { substitute } from "../../ir/scalarWalk.ts";
import type { Job } from "../schedule/attention/plan.ts";

/** The block schedule as C++ text. */
export type ScheduleView = {
  readonly kind: "dense" | "closed" | "table";
  /** Keys of whole steps, and of the narrower one behind them (0: none). */
  readonly wholeKeys: number;
  readonly tailKeys: number;
  /** Whether the whole steps and the last one hide nothing: "true", "false" or a condition on the thread block. */
  readonly wholeMasked: string;
  readonly tailMasked: string;
  /** In `tile`: how many blocks; then in `i`, the block; then in `block_index`, whether it is seen whole. */
  readonly count: string;
  readonly single: boolean;
  readonly index: string;
  readonly full: string;
  readonly usesTile: boolean;
  readonly table: { readonly starts: string; readonly entries: string; readonly startType: string } | null;
};

export const scheduleView = (job: Job, print: (expr: Scalar, ranges: Ranges) => string): ScheduleView => {
  const { schedule, tiles } = job;
  const regular = job.irregular.kind === "number" && job.irregular.value === 0;
  const edge = regular ? "" : print(job.irregular, {});
  const and = (full: string): string =>
    regular || full === "false" ? full : full === "true" ? `!(${edge})` : `${full} && !(${edge})`;
  const none = { count: "0", single: false, index: "0", full: "false", usesTile: false, table: null };
  if (schedule.kind === "dense") {
    const slots = job.key.layout.units * job.key.layout.unitSlots;
    const tail = slots - (schedule.blocks - 1) * tiles.span;
    const apart = schedule.partialTail || tail !== tiles.span;
    const blocks = String(schedule.blocks);
    const full = schedule.partialTail ? `i < ${schedule.blocks - 1}` : "true";
    return {
      ...none,
      kind: "dense",
      wholeKeys: apart ? (schedule.blocks - 1) * tiles.span : slots,
      tailKeys: apart ? tail : 0,
      wholeMasked: regular ? "false" : edge,
      tailMasked: schedule.partialTail ? "true" : regular ? "false" : edge,
      count: blocks,
      index: "i",
      full: and(full),
    };
  }
  const rest = { wholeKeys: 0, tailKeys: 0, wholeMasked: "false", tailMasked: "true" };
  if (schedule.kind === "table") {
    const wide = schedule.entries.some((entry) => entry > 65535);
    const longStarts = schedule.entries.length > 65535;
    return {
      ...rest,
      kind: "table",
      count: "block_starts[tile + 1] - block_starts[tile]",
      single: false,
      index: "entry >> 1",
      full: and("(entry & 1) != 0"),
      usesTile: true,
      table: {
        // One entry more, which the look at the block behind the last reads.
        entries: `${wide ? "uint32_t" : "uint16_t"} block_entries[${schedule.entries.length + 1}] = {${wrap([...schedule.entries, 0])}}`,
        starts: `block_starts[${schedule.starts.length}] = {${wrap(schedule.starts)}}`,
        startType: longStarts ? "uint32_t" : "uint16_t",
      },
    };
  }
  const ranges: Ranges = { tile: below(schedule.tiles), i: below(Math.max(1, schedule.blocks)) };
  const single = schedule.count.kind === "number" && schedule.count.value === 1;
  const own: Ranges = single ? { ...ranges, i: below(1) } : ranges;
  const index = simplify(schedule.block, own);
  const full = simplify(substitute(schedule.full, { block: index }), own);
  return {
    ...rest,
    kind: "closed",
    count: print(schedule.count, ranges),
    single,
    index: print(index, own),
    full: and(full.kind === "number" ? (full.value === 0 ? "false" : "true") : print(full, own)),
    usesTile: [schedule.count, index, full].some((expr) => usesTile(expr)),
    table: null,
  };
};

const usesTile = (expr: Scalar): boolean => JSON.stringify(expr).includes('"tile"');

const wrap = (numbers: readonly number[]): string => {
  const lines: string[] = [];
  for (let i = 0; i < numbers.length; i += 24) lines.push(numbers.slice(i, i + 24).join(", "));
  return lines.length === 1 ? (lines[0] ?? "") : `\n    ${lines.join(",\n    ")}`;
};
