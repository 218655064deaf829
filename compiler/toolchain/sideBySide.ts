import { availableParallelism } from "node:os";

/** A compiler takes this much memory at its worst. */
const bytesPerJob = 700 * 2 ** 20;

/** How many compilers may run at once: as many as there are cores, and memory for, of the container's where there is one. */
export const jobLimit = (): number =>
  Math.max(1, Math.min(availableParallelism(), Math.floor(process.availableMemory() / bytesPerJob)));

/**
 * Runs `work` on each item, at most `limit` at a time, in order of the items. The first failure aborts `signal`, on which
 * those that run should stop, starts no more, and is thrown when all have ended.
 */
export async function sideBySide<Item, Result>(
  items: readonly Item[],
  limit: number,
  work: (item: Item, signal: AbortSignal) => Promise<Result>,
): Promise<readonly Result[]> {
  const results: Result[] = [];
  const controller = new AbortController();
  const failures: unknown[] = [];
  const queue = items.entries();
  const runner = async (): Promise<void> => {
    for (const [index, item] of queue) {
      if (failures.length > 0) return;
      try {
        results[index] = await work(item, controller.signal);
      } catch (error) {
        failures.push(error);
        controller.abort();
      }
    }
  };
  await Promise.all(Array.from({ length: Math.min(limit, items.length) }, runner));
  if (failures.length > 0) throw failures[0];
  return results;
}
