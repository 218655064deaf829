import { expect } from "vitest";
import { partName } from "../../compiler/schedule/attention/groups.ts";
import { attentionPlans, type AttentionPlan, type Job } from "../../compiler/schedule/attention/plan.ts";
import type { Side } from "../../compiler/schedule/attention/side.ts";
import type { AttentionKernel } from "../../compiler/schedule/kernels.ts";
import { compileScalar } from "../../ir/scalarEvaluate.ts";
import type { Scalar } from "../../ir/scalar.ts";
import { literal } from "../../ir/scalarBuild.ts";
import { variablesOf } from "../../ir/scalarWalk.ts";
import { prefixRows, rowsOf, sizeOf, type TensorType } from "../../ir/types.ts";

type Variables = ReadonlyMap<string, number>;
type Reader = (variables: Variables) => number;

/** An expression as a function of named variables; one that it reads and nobody gives is NaN, as memory that nobody wrote. */
const reader = (expr: Scalar): Reader => {
  const names = [...variablesOf(expr)];
  const compiled = compileScalar(expr, { variable: (name) => names.indexOf(name) });
  const slots = new Float64Array(Math.max(1, names.length));
  return (variables) => {
    for (const [i, name] of names.entries()) slots[i] = variables.get(name) ?? Number.NaN;
    return compiled(slots);
  };
};

/** A token of a thread block's slot: its row in the type, or null where there is none. */
type Slot = { readonly row: number; readonly group: number; readonly variables: Variables } | null;

const slotReader = (side: Side, name: "q" | "k", type: TensorType): ((parts: Variables) => readonly Slot[]) => {
  const { slot, layout, tokens } = side;
  const [exists, isPrefix, prefix] = [reader(slot.exists), reader(slot.isPrefix), reader(slot.prefix)];
  const [group, place] = [reader(slot.group), reader(slot.place)];
  const at = tokens.axes.map(({ axis }) => ({ axis, read: reader(slot.at[axis] ?? literal(0)) }));
  const front = prefixRows(type);
  return (parts) =>
    Array.from({ length: layout.units * layout.unitSlots }, (_, index): Slot => {
      const own = new Map(parts).set("slot", index);
      own.set("place", place(own));
      if (exists(own) === 0) return null;
      const coordinates = new Map(at.map(({ axis, read }) => [axis, read(own)]));
      const flat = (axes: readonly string[]): number =>
        axes.reduce((sum, axis) => sum * (sizeOf(type, axis) ?? 1) + (coordinates.get(axis) ?? 0), 0);
      const ofPrefix = isPrefix(own);
      const row =
        ofPrefix === 1
          ? flat(type.prefix.over) * type.prefix.count + prefix(own)
          : front + flat(type.axes.map(({ axis }) => axis));
      const variables = new Map([...coordinates].map(([axis, x]) => [`${name}.${axis}`, x]));
      return { row, group: group(own), variables: variables.set(`${name}.isPrefix`, ofPrefix) };
    });
};

/** By tile, the blocks that it meets, and whether it sees them whole. */
const blocksReader = ({ schedule }: Job): ((tile: number, parts: Variables) => ReadonlyMap<number, boolean>) => {
  switch (schedule.kind) {
    case "dense":
      return () =>
        new Map(
          Array.from({ length: schedule.blocks }, (_, block) => [
            block,
            block < schedule.blocks - 1 || !schedule.partialTail,
          ]),
        );
    case "table":
      return (tile) =>
        new Map(
          schedule.entries
            .slice(schedule.starts[tile], schedule.starts[tile + 1])
            .map((entry) => [entry >> 1, (entry & 1) === 1]),
        );
    case "closed": {
      const [count, blockAt, full] = [reader(schedule.count), reader(schedule.block), reader(schedule.full)];
      return (tile, parts) => {
        const found = new Map<number, boolean>();
        const met = count(new Map(parts).set("tile", tile));
        for (let i = 0; i < met; i++) {
          const variables = new Map(parts).set("tile", tile).set("i", i);
          const block = blockAt(variables);
          if (found.has(block)) expect.fail(`tile ${tile} meets block ${block} twice`);
          found.set(block, full(variables.set("block", block)) !== 0);
        }
        return found;
      };
    }
  }
};

/**
 * Runs all plans that one is chosen from token by token, as the kernel's loops do: every query in one place, exactly the keys met that `sees` names,
 * none twice, none hidden that a step takes for seen.
 */
export const checkPlan = (kernel: AttentionKernel, sees: (query: number, key: number) => boolean): void => {
  for (const plan of attentionPlans(kernel)) checkOne(kernel, plan, sees);
};

const checkOne = (
  kernel: AttentionKernel,
  plan: AttentionPlan,
  sees: (query: number, key: number) => boolean,
): void => {
  const places = new Int32Array(rowsOf(kernel.query));
  const keyRows = rowsOf(kernel.key);
  for (const job of plan.jobs) {
    const { span, keySlots } = job.tiles;
    // Only the last step of all keys is narrower than the others.
    if (job.schedule.kind !== "dense") expect(keySlots % span, "steps end where the slots do").toBe(0);
    const tileSlots = job.tiles.kind === "resident" ? 16 : 16 * job.tiles.warps;
    const queriesOf = slotReader(job.query, "q", kernel.query);
    const keysOf = slotReader(job.key, "k", kernel.key);
    const blocksOf = blocksReader(job);
    const irregular = reader(job.irregular);
    const names = [...variablesOf(job.keep)];
    const keep = compileScalar(job.keep, { variable: (name) => names.indexOf(name) });
    const slots = new Float64Array(Math.max(1, names.length));
    for (let index = 0; index < job.groupBlocks; index++) {
      const parts = partsOf(job, index);
      const isIrregular = irregular(parts) !== 0;
      const keys = keysOf(parts);
      for (const [slot, query] of queriesOf(parts).entries()) {
        if (query === null) continue;
        places[query.row] = (places[query.row] ?? 0) + 1;
        const met = new Uint8Array(keyRows);
        for (const [i, name] of names.entries()) slots[i] = query.variables.get(name) ?? Number.NaN;
        for (const [block, whole] of blocksOf(Math.floor(slot / tileSlots), parts))
          for (let at = block * span; at < Math.min((block + 1) * span, keys.length); at++) {
            const key = keys[at] ?? null;
            let kept = key !== null && key.group === query.group;
            if (kept && key !== null) {
              for (const [i, name] of names.entries())
                if (name.startsWith("k.")) slots[i] = key.variables.get(name) ?? Number.NaN;
              kept = keep(slots) !== 0;
            }
            if (whole && !isIrregular && !kept)
              expect.fail(`query ${query.row} takes slot ${at} for seen, of ${JSON.stringify(kernel.pattern)}`);
            if (kept && key !== null) met[key.row] = (met[key.row] ?? 0) + 1;
          }
        for (let key = 0; key < keyRows; key++)
          if (met[key] !== (sees(query.row, key) ? 1 : 0))
            expect.fail(`query ${query.row} meets key ${key} ${met[key]} times of ${JSON.stringify(kernel.pattern)}`);
      }
    }
  }
  expect(
    places.every((count) => count === 1),
    "every query in one place",
  ).toBe(true);
};

const partsOf = (job: Job, index: number): Variables => {
  const first = index * job.groupsPerBlock;
  const parts = new Map([["first", first]]);
  let rest = first;
  for (const { axis, count } of job.groups.axes.toReversed()) {
    parts.set(partName(axis), rest % count);
    rest = Math.floor(rest / count);
  }
  return parts;
};
