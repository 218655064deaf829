import { describe, expect, test } from "vitest";
import type { Kernel } from "../../ir/program.ts";
import type { DeviceInfo } from "../../runtime/device.ts";
import { chooseImage } from "../../runtime/images.ts";

const kernelFor = (...targets: string[]): Kernel => ({
  name: "attention_0",
  source: "kernels/attention_0.cu",
  family: "attention",
  threads: 128,
  sharedBytes: 0,
  images: Object.fromEntries(targets.map((target) => [target, `images/${target}`])),
  ptxas: {},
  notes: [],
});
const device = (major: number, minor: number): DeviceInfo => ({
  kind: "cuda",
  index: 0,
  name: "NVIDIA Test",
  computeCapability: { major, minor },
  memoryBytes: 1,
  multiprocessors: 1,
  sharedBytes: 1,
  driverVersion: "13.0",
  precisions: ["f32"],
});
const targetOn = (major: number, minor: number, ...targets: string[]): string =>
  chooseImage(kernelFor(...targets), device(major, minor)).target;

describe("choosing an image", () => {
  test("takes the binary with the architecture's own instructions first", () => {
    expect(targetOn(9, 0, "sm_80", "sm_90", "sm_90a", "compute_90a")).toBe("sm_90a");
  });
  test("takes the newest binary of the same major version that is not newer than the device", () => {
    expect(targetOn(8, 9, "sm_80", "sm_86", "sm_90a", "compute_80")).toBe("sm_86");
    expect(targetOn(8, 6, "sm_80", "sm_89")).toBe("sm_80");
  });
  test("takes a binary of the device's family, before one without the family's instructions", () => {
    expect(targetOn(10, 3, "sm_90a", "sm_100", "sm_100f", "compute_90")).toBe("sm_100f");
    expect(targetOn(12, 0, "sm_100f", "compute_90")).toBe("compute_90");
  });
  test("never takes a binary of another major version, nor sm_90a on a newer device", () => {
    expect(targetOn(12, 0, "sm_80", "sm_90a", "compute_80", "compute_90a")).toBe("compute_80");
    expect(targetOn(10, 0, "sm_90a", "compute_75", "compute_90")).toBe("compute_90");
  });
  test("says what was built and what to build when nothing runs", () => {
    expect(() => targetOn(8, 0, "sm_90a", "emulated", "odd")).toThrowErrorMatchingInlineSnapshot(`
      [RuntimeError: kernel "attention_0" has no image for "NVIDIA Test" (sm_80): it was built for sm_90a, emulated, odd
        hint: build it with --arch sm_80]
    `);
    expect(() => targetOn(8, 0)).toThrow(/it was not compiled/);
  });
  test("takes the emulated image on the emulated device and there only", () => {
    const emulated: DeviceInfo = { ...device(9, 0), kind: "emulated" };
    expect(chooseImage(kernelFor("sm_90a", "emulated"), emulated).target).toBe("emulated");
    expect(() => chooseImage(kernelFor("sm_90a"), emulated)).toThrow(/--arch emulated/);
  });
});
