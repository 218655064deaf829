import type { BufferId } from "./lower/memory.ts";
import type { Launch } from "./lower/context.ts";
import type { GemmKernel, MapKernel } from "./kernels.ts";

/**
 * Where a kernel adds to a value that nobody reads afterwards, its result takes over that value's memory. A copy of the
 * rest of the value (the class token beside an updated grid) then copies memory onto itself and goes.
 *
 * Before: `x1[1..] = product + x0[1..]; x1[0] = x0[0]`     After: `x0[1..] = product + x0[1..]`
 */
export const reuseInPlace = (launches: readonly Launch[]): readonly Launch[] => {
  let current = launches;
  for (let step = 0; step < current.length; step++) {
    const launch = current[step];
    const taken = launch?.inPlace.find((buffer) => canTakeOver(current, step, buffer));
    const given = launch?.writes[0];
    if (taken === undefined || given === undefined) continue;
    current = current.map((each) => renameBuffer(each, given, taken)).filter((each) => !copiesOntoItself(each));
  }
  return current;
};

/** The value is read by this step, and by copies into the result, and by nothing later; the result isn't written before. */
const canTakeOver = (launches: readonly Launch[], step: number, buffer: BufferId): boolean => {
  const launch = launches[step];
  const result = launch?.writes[0];
  if (!launch || result === undefined || launch.writes.length !== 1 || result === buffer) return false;
  if (sizeIn(launches, buffer) !== sizeIn(launches, result)) return false;
  // Every step of a loop reads anew what was made before it, or by the step before.
  if (launches.some((each) => each.stage !== launch.stage && each.writes.includes(buffer))) return false;
  const before = launches.slice(0, step).some((each) => each.writes.includes(result) && !isCopy(each, buffer, result));
  const after = launches
    .slice(step + 1)
    .some((each) => (each.reads.includes(buffer) && !isCopy(each, buffer, result)) || each.writes.includes(buffer));
  const readBefore = launches
    .slice(0, step)
    .some((each) => each.reads.includes(result) && !each.writes.includes(result));
  return !before && !after && !readBefore;
};

const sizeIn = (launches: readonly Launch[], buffer: BufferId): string | undefined => {
  for (const { kernel, sources } of launches) {
    const operand = sources.findIndex((source) => source.kind === "buffer" && source.buffer === buffer);
    if (operand >= 0) return JSON.stringify(kernel.operands[operand]);
  }
  return undefined;
};

/** A copy of elements of one buffer to the very same places of another. */
const isCopy = (launch: Launch, from: BufferId, to: BufferId): boolean => {
  const { kernel, sources } = launch;
  if (
    kernel.kind !== "map" ||
    kernel.fold ||
    kernel.body.kind !== "argument" ||
    kernel.elements.length !== 1 ||
    kernel.stores.length !== 1
  )
    return false;
  const [element] = kernel.elements;
  const [store] = kernel.stores;
  if (!element || !store) return false;
  const reads = sources[element.operand];
  const writes = sources[store.operand];
  return (
    reads?.kind === "buffer" &&
    reads.buffer === from &&
    writes?.kind === "buffer" &&
    writes.buffer === to &&
    samePlace(element, store)
  );
};
const samePlace = (a: MapKernel["stores"][number], b: GemmKernel["stores"][number]): boolean =>
  JSON.stringify([a.offset, a.valid]) === JSON.stringify([b.offset, b.valid]);

const copiesOntoItself = (launch: Launch): boolean => launch.writes.some((buffer) => isCopy(launch, buffer, buffer));

const renameBuffer = (launch: Launch, from: BufferId, to: BufferId): Launch => {
  if (!launch.reads.includes(from) && !launch.writes.includes(from)) return launch;
  const rename = (buffer: BufferId): BufferId => (buffer === from ? to : buffer);
  return {
    ...launch,
    sources: launch.sources.map((source) =>
      source.kind === "buffer" ? { ...source, buffer: rename(source.buffer) } : source,
    ),
    reads: [...new Set(launch.reads.map(rename))],
    writes: [...new Set(launch.writes.map(rename))],
    inPlace: launch.inPlace.map(rename),
  };
};
