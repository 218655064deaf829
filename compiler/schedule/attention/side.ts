import { add, and, floorDiv, literal, lt, mod, mul, sub, variable } from "../../../ir/scalarBuild.ts";
import { below, type Ranges } from "../../../ir/scalarRange.ts";
import { simplify } from "../../../ir/scalarSimplify.ts";
import { substitute } from "../../../ir/scalarWalk.ts";
import type { Scalar } from "../../../ir/scalar.ts";
import type { SlotLayout } from "./blocks.ts";
import { groupRanges, partsOfGroup, tokenMap, type Groups, type GroupTokens, type TokenMap } from "./groups.ts";

/** The queries of a thread block, or its keys. */
export type Side = {
  readonly tokens: GroupTokens;
  readonly layout: SlotLayout;
  /** The token of a slot, in variables `slot`, `place`, `first` (the first group of the thread block) and `part.AXIS`. */
  readonly slot: SlotMap;
};
export type SlotMap = TokenMap & {
  /** Index of the token's group in the thread block. */
  readonly group: Scalar;
  /** What `place` is. */
  readonly place: Scalar;
  readonly ranges: Ranges;
};

/** `bounded`: an axis whose tokens end at the thread block's `length`. */
export const sideOf = (tokens: GroupTokens, layout: SlotLayout, groups: Groups, bounded?: string): Side => {
  const { units, groupsPerUnit, unitSlots } = layout;
  const perBlock = units * groupsPerUnit;
  const count = Math.max(1, tokens.count);
  const ranges: Ranges = {
    ...groupRanges(groups),
    slot: below(units * unitSlots),
    first: below(groups.count),
    place: below(Math.max(1, tokens.count - tokens.prefixCount)),
    ...(bounded === undefined ? {} : { length: { min: -1, max: tokens.count + 1 } }),
  };
  // Positions of slots without a token are never used: they need not be right, and so need no care.
  const positions: Ranges = { ...ranges, slot: below(perBlock === 1 ? count : units * unitSlots) };
  const slot = variable("slot");
  const filled = groupsPerUnit * count === unitSlots;
  const within = units === 1 ? slot : mod(slot, unitSlots);
  const index = filled
    ? floorDiv(slot, count)
    : add(mul(floorDiv(slot, unitSlots), groupsPerUnit), floorDiv(within, count));
  const group = perBlock === 1 ? literal(0) : simplify(index, ranges);
  const local = perBlock === 1 ? slot : filled ? mod(slot, count) : mod(within, count);
  const absolute = add(variable("first"), group);
  const parts = perBlock === 1 ? {} : partsOfGroup(groups, absolute, ranges);
  const inside = and(lt(within, groupsPerUnit * count), perBlock === 1 ? 1 : lt(absolute, groups.count));
  const map = tokenMap(tokens, {
    ...groupRanges(groups),
    local: below(count),
    place: below(Math.max(1, tokens.count - tokens.prefixCount)),
  });
  const placed = (expr: Scalar): Scalar => simplify(substitute(expr, { ...parts, local }), positions);
  // A length is no more than there are tokens.
  const there = bounded === undefined ? and(inside, placed(map.exists)) : lt(local, variable("length"));
  return {
    tokens,
    layout,
    slot: {
      exists: tokens.count === 0 ? literal(0) : simplify(there, ranges),
      isPrefix: placed(map.isPrefix),
      prefix: placed(map.prefix),
      at: Object.fromEntries(Object.entries(map.at).map(([axis, expr]) => [axis, placed(expr)])),
      group,
      place: simplify(sub(local, tokens.prefixCount), ranges),
      ranges,
    },
  };
};
