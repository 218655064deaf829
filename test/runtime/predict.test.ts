import { describe, expect, test } from "vitest";
import type { LaunchCounters } from "../../runtime/emulated.ts";
import { h200, predict } from "../../runtime/predict.ts";

const none = { requests: 0, sectors: 0, bytes: 0, uniqueBytes: 0 };
const idle = { requests: 0, wavefronts: 0, conflicts: 0 };
const counters = (change: Partial<LaunchCounters>): LaunchCounters => ({
  kernel: "k",
  blocks: 1,
  barriers: 0,
  collectives: 0,
  mbarrierArrivals: 0,
  specialOps: 0,
  lostPoints: 0,
  mmaM16n8k16: 0,
  mmaM16n8k8: 0,
  wgmma: 0,
  tensorFlops: 0,
  bulkBytes: 0,
  cpuNanoseconds: 0,
  global: { read: none, written: none, atomic: none },
  shared: { load: idle, store: idle, ldmatrix: idle, stmatrix: idle, cpAsync: idle },
  buffers: [],
  ...change,
});

describe("a predicted time", () => {
  test("of a copy is what memory takes, each byte once", () => {
    const side = { requests: 1, sectors: 2 ** 25, bytes: 2 ** 30, uniqueBytes: 2 ** 30 };
    const { milliseconds, bound, target } = predict(
      counters({ global: { read: side, written: side, atomic: none } }),
      0,
    );
    expect({ bound, target }).toEqual({ bound: "memory", target: "H200" });
    expect(milliseconds).toBeCloseTo(2 ** 31 / 4.3e9 + 1.3e-3, 6);
  });

  test("of bytes that are read again and again is what the cache takes", () => {
    const read = { requests: 1, sectors: 2 ** 28, bytes: 2 ** 33, uniqueBytes: 2 ** 20 };
    expect(predict(counters({ global: { read, written: none, atomic: none } }), 0).bound).toBe("cache");
  });

  test("of attention adds tensor cores and exponentials, which take as long at a head dim of 64", () => {
    const scores = 2 ** 32;
    const { parts, bound, milliseconds } = predict(
      counters({ tensorFlops: scores * 4 * 64, specialOps: scores }),
      scores * 256,
    );
    expect(bound).toBe("arithmetic");
    expect(parts.tensor / parts.special).toBeGreaterThan(1);
    expect(parts.tensor / parts.special).toBeLessThan(1.3);
    expect(parts.plain).toBe(0);
    expect(milliseconds).toBeCloseTo(parts.tensor + parts.special + parts.launch, 9);
  });

  test("counts arithmetic that tensor cores did not do, and bank conflicts as passes", () => {
    expect(predict(counters({}), h200.plainFlops).parts.plain).toBeCloseTo(1000, 9);
    const load = { requests: 1, wavefronts: h200.sharedWavefronts, conflicts: 0 };
    const shared = { load, store: idle, ldmatrix: idle, stmatrix: idle, cpAsync: idle };
    expect(predict(counters({ shared }), 0)).toMatchObject({ bound: "shared memory", parts: { shared: 1000 } });
  });

  test("of next to nothing is a launch", () => {
    expect(predict(counters({}), 1)).toMatchObject({ bound: "launch", parts: { launch: 1.3e-3 } });
  });
});
