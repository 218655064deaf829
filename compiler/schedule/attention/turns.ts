import type { Scalar } from "../../../ir/scalar.ts";
import { sub, variable } from "../../../ir/scalarBuild.ts";
import { below, type Ranges } from "../../../ir/scalarRange.ts";
import { simplify } from "../../../ir/scalarSimplify.ts";
import { substitute, variablesOf } from "../../../ir/scalarWalk.ts";
import type { AttentionKernel } from "../kernels.ts";
import { classify, full } from "./blocks.ts";
import type { Groups, GroupTokens } from "./groups.ts";
import type { BiasPlaces } from "./relative.ts";
import type { ResidentTiles } from "./tiles.ts";

/** Groups of one bias: what decides whether a thread block takes several of them in turn. */
type Alike = {
  readonly kernel: AttentionKernel;
  readonly groups: Groups;
  readonly query: GroupTokens;
  readonly key: GroupTokens;
  readonly keep: Scalar;
  readonly bias: BiasPlaces;
  readonly tiles: ResidentTiles;
  readonly valuesAreKeys: boolean;
};

/**
 * How many groups a thread block takes one after the other: more than one where a step covers the keys of a group, each
 * warp has one tile of queries, and all groups that are not cut off or wrapped have the same biases and see all of
 * themselves. The biases then stay in registers: every product starts from them, and keys that no group has are hidden
 * by a bias of minus infinity. As many as leave two thread blocks for each multiprocessor (of an A100, as
 * gemmTiles.ts) at eight examples: the bias is read less often, and the next group comes while one is at work.
 *
 * Others look biases up in shared memory, as the emulated device counts it: in float32 that is 6 % of the passes over its
 * banks for 7 x 7 and 5 % for 12 x 12, which the operands' own reads outweigh. Of 12 x 12 in bf16 it is 35 %, but their
 * 72 biases a thread, beside scores and sums, leave registers for 12 warps on a multiprocessor and not for 16.
 */
export const turnsOf = (alike: Alike): number => {
  const { kernel, groups, tiles } = alike;
  const slabs = tiles.querySlots / 16;
  const single = tiles.units * tiles.groupsPerUnit === 1 && tiles.keySlots === tiles.span && slabs <= tiles.warps;
  const ordinary = kernel.positions === null && !alike.valuesAreKeys;
  const plain = kernel.precision !== "f32" && kernel.normalize === "softmax" && kernel.scale > 0 && ordinary;
  // Registers of a thread: a bias and a score for each two keys, a sum for each two columns. More do not stay below 128.
  const fits = tiles.keySlots + kernel.valueDim / 2 <= 80;
  if (!single || !plain || !fits || !sharesBias(alike) || !seesAll(alike)) return 1;
  const most = (8 * kernel.heads * groups.count) / (2 * 108);
  return [8, 4, 2].find((turns) => turns <= most && turns <= groups.count) ?? 1;
};

/** Whether the bias between two tokens depends on how they lie within their group alone. */
const sharesBias = ({ kernel, groups, bias }: Alike): boolean => {
  const place = sub(bias.placeOfQuery, bias.placeOfKey);
  const axes = groups.axes.filter(({ part }) => part.kind !== "residue").map(({ axis }) => axis);
  const together = Object.fromEntries(
    axes.flatMap((axis) => ["q", "k"].map((side) => [`${side}.${axis}`, variable(`both.${axis}`)])),
  );
  const ranges: Ranges = Object.fromEntries(
    kernel.query.axes.flatMap(({ axis, size }) => ["both", "q", "k"].map((side) => [`${side}.${axis}`, below(size)])),
  );
  const moved = variablesOf(simplify(substitute(place, together), ranges));
  return axes.length === groups.axes.length && axes.every((axis) => !moved.has(`both.${axis}`));
};

/** Whether every query of a regular group sees every key of it. */
const seesAll = ({ groups, query, key, keep }: Alike): boolean => {
  if (groups.axes.some(({ regular }) => regular === 0)) return false;
  const layout = (tokens: GroupTokens) => ({ tokens, units: 1, groupsPerUnit: 1, unitSlots: tokens.count });
  const sizes = { tile: query.count, block: key.count };
  const { classes } = classify(layout(query), layout(key), keep, sizes, groups, {
    regularOnly: true,
    guardsQueries: true,
  });
  return classes.every((each) => each === full);
};
