import type { Scalar } from "../../../ir/scalar.ts";
import { add, floorDiv, literal, lt, max, min, mul, select, sub, variable } from "../../../ir/scalarBuild.ts";
import { compileScalar } from "../../../ir/scalarEvaluate.ts";
import { below, type Ranges } from "../../../ir/scalarRange.ts";
import { simplify } from "../../../ir/scalarSimplify.ts";
import { variablesOf } from "../../../ir/scalarWalk.ts";
import { congruent, groupRanges, partName, startsOf, type Groups, type GroupTokens, type TokenAxis } from "./groups.ts";
import type { ClosedSchedule } from "./schedule.ts";

/** Slots of a thread block's queries, of those that are taken together, of its keys and of a block of them. */
type Slots = {
  readonly queries: number;
  readonly tile: number;
  readonly keys: number;
  readonly block: number;
};

/**
 * Which keys some queries of a box meet: all prefix tokens, then rows of the box of keys along its outermost axis, from
 * the first that the first query sees to the last that the last one does. Computed from where the box lies, so that one
 * at a border meets no more than others. No block is seen whole: a row holds keys beside each query's own.
 */
export const tileSchedule = (query: GroupTokens, key: GroupTokens, groups: Groups, slots: Slots): ClosedSchedule => {
  const [tiles, blocks] = [Math.ceil(slots.queries / slots.tile), Math.ceil(slots.keys / slots.block)];
  const lead = Math.ceil(key.prefixCount / slots.block);
  const ranges: Ranges = { ...groupRanges(groups), tile: below(tiles), i: below(blocks), block: below(blocks) };
  const rows = rowsMet(query, key, slots.tile);
  const first = max(floorDiv(add(key.prefixCount, rows.first), slots.block), lead);
  const end = floorDiv(add(key.prefixCount, rows.end, slots.block - 1), slots.block);
  const count = simplify(select(rows.hasQueries, add(lead, sub(end, first)), 0), ranges);
  const i = variable("i");
  return {
    kind: "closed",
    tiles,
    blocks,
    ...countsOf(count, tiles, groups),
    count,
    block: simplify(lead === 0 ? add(first, i) : select(lt(i, lead), i, add(first, sub(i, lead))), ranges),
    full: literal(0),
  };
};

/** In slots behind the prefix tokens' where the rows that a tile meets begin and end, and whether it has any queries. */
type Rows = { readonly first: Scalar; readonly end: Scalar; readonly hasQueries: Scalar };

const rowsMet = (query: GroupTokens, key: GroupTokens, tileSlots: number): Rows => {
  const ofKey = outermost(key);
  const ofQuery = query.axes.find(({ axis }) => axis === ofKey?.axis);
  const tile = ofQuery?.part;
  const all: Rows = { first: literal(0), end: literal(key.count - key.prefixCount), hasQueries: literal(1) };
  if (ofQuery === undefined || ofKey === undefined || tile?.kind !== "tile") return all;
  const { reach } = tile.keys;
  const { least, most } = congruent(ofQuery.size, tile.stride);
  const start = startsOf(variable(partName(ofQuery.axis)), tile);
  const from = mul(variable("tile"), tileSlots);
  // Where another axis is outermost among the queries, any of this axis' places may be in a tile.
  const isOutermost = outermost(query) === ofQuery;
  const local = (slot: Scalar, otherwise: number): Scalar =>
    isOutermost ? min(floorDiv(slot, ofQuery.gridStep), tile.size - 1) : literal(otherwise);
  const firstQuery = add(start.queries, local(from, 0));
  const lastQuery = add(start.queries, local(add(from, tileSlots - 1), tile.size - 1));
  const firstKey = max(min(sub(firstQuery, reach.before), least - 1 - reach.fromEnd), 0);
  const lastKey = min(max(add(lastQuery, reach.after), reach.fromStart), most - 1);
  return {
    first: mul(sub(firstKey, start.keys), ofKey.gridStep),
    end: mul(add(sub(lastKey, start.keys), 1), ofKey.gridStep),
    hasQueries: most % tile.size === 0 ? literal(1) : lt(firstQuery, most),
  };
};

/** The tiled axis whose neighbouring positions are farthest apart in memory: axes that are not tiled lie inside. */
const outermost = ({ axes }: GroupTokens): TokenAxis | undefined =>
  axes
    .filter(({ part }) => part?.kind === "tile" || part?.kind === "keys")
    .toSorted((a, b) => b.gridStep - a.gridStep)[0];

/** Blocks that tiles meet: the most, and the mean of all tiles and all parts of the axis that decides. */
const countsOf = (count: Scalar, tiles: number, groups: Groups): { readonly most: number; readonly mean: number } => {
  const names = ["tile", ...groups.axes.map(({ axis }) => partName(axis))];
  const read = compileScalar(count, { variable: (name) => names.indexOf(name) });
  const slots = new Float64Array(names.length);
  const variables = variablesOf(count);
  const decisive = groups.axes.find(({ axis }) => variables.has(partName(axis)));
  let [most, sum] = [0, 0];
  const parts = decisive?.count ?? 1;
  for (let part = 0; part < parts; part++) {
    if (decisive !== undefined) slots[names.indexOf(partName(decisive.axis))] = part;
    for (let tile = 0; tile < tiles; tile++) {
      slots[0] = tile;
      const met = read(slots);
      [most, sum] = [Math.max(most, met), sum + met];
    }
  }
  return { most, mean: sum / (parts * tiles) };
};
