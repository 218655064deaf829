import { beforeAll, describe, expect, test } from "vitest";
import { listDevices, openDevice } from "../../runtime/index.ts";
import { emulatorLibrary } from "./programs.ts";

let library = "";
beforeAll(async () => {
  library = await emulatorLibrary();
}, 300_000);

describe("devices", () => {
  test("are listed with what they can do, and what is missing with the reason", () => {
    const { devices } = listDevices({ emulatorLibrary: library });
    expect(devices.find((device) => device.kind === "emulated")).toMatchObject({
      index: 0,
      computeCapability: { major: 9, minor: 0 },
      sharedBytes: 227 * 1024,
      precisions: ["f32", "f16", "bf16"],
    });
    const { missing } = listDevices({ emulatorLibrary: "/nowhere/libcuda_emulated.so" });
    expect(missing.find(({ kind }) => kind === "emulated")?.because).toMatch(
      /cannot load the driver library "\/nowhere\/libcuda_emulated.so"/,
    );
    // A library that is no driver.
    const other = listDevices({ emulatorLibrary: "libm.so.6" }).missing.find(({ kind }) => kind === "emulated");
    expect(other?.because).toMatch(/"libm.so.6" has no cuInit/);
  });

  test("are opened by index, and refuse to work once closed", () => {
    expect(() => openDevice({ kind: "emulated", library, index: 3 })).toThrow(
      "no emulated device 3: there are 1, from 0",
    );
    expect(() => openDevice({ kind: "emulated", library, index: -1 })).toThrow(/no emulated device -1/);
    const device = openDevice({ kind: "emulated", library });
    const memory = device.allocate(1000, "a test");
    expect(memory.address % 256n).toBe(0n);
    device[Symbol.dispose]();
    device[Symbol.dispose]();
    memory[Symbol.dispose]();
    expect(() => device.memory()).toThrow(/was closed/);
  });

  test("share their memory with other openings of the same device, until the last is closed", () => {
    const first = openDevice({ kind: "emulated", library });
    using second = openDevice({ kind: "emulated", library });
    const free = second.memory().freeBytes;
    using _ = second.allocate(2 ** 20, "a test");
    expect(first.memory().freeBytes).toBeLessThanOrEqual(free - 2 ** 20);
    expect(first.sharesMemoryWith(second)).toBe(true);
    first[Symbol.dispose]();
    expect(second.memory().freeBytes).toBeLessThanOrEqual(free - 2 ** 20);
  });
});
