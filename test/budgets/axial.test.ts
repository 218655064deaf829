import { describe, expect, it } from "vitest";
import axialDeeplab from "../../models/axialDeeplab.ts";
import nonLocal from "../../models/nonLocal.ts";
import { compileGraph, type Compiled } from "../../compiler/compile.ts";
import type { Precision } from "../../ir/types.ts";
import type { StepProfile } from "../../runtime/profile.ts";
import { drawnInputs, loadOnEmulator } from "../support/emulatedProgram.ts";

// What position-sensitive attention and non-local blocks cost: launches, memory, and bytes as the emulated device counts them.

const compile = (
  model: { readonly trace: typeof axialDeeplab.trace },
  precision: Precision,
  entry: string,
  config: object,
): Compiled => compileGraph(model.trace({ entry, config }), { precision, batch: { min: 1, max: 8 }, keep: false });

const profile = async (compiled: Compiled): Promise<readonly StepProfile[]> => {
  using executable = await loadOnEmulator(compiled);
  return (await executable.profile(drawnInputs(executable, 1), { by: "counters" })).steps;
};
const countersOf = ({ kernel, time }: StepProfile) => {
  if (time.kind !== "counted") throw new Error(`${kernel} was not counted`);
  return time.counters;
};

describe.each<Precision>(["bf16", "f16", "f32"])("an axial block in %s", (precision) => {
  const block = (more: object) =>
    compile(axialDeeplab, precision, "AxialBlock", { inplanes: 128, planes: 64, groups: 8, kernel_size: 56, ...more });
  const kernels = ({ program }: Compiled) => program.steps.map(({ kernel }) => kernel);

  it.each([
    ["as it is", {}],
    ["changing channels", { inplanes: 64 }],
    ["pooling", { stride: 2 }],
    ["pooling and changing channels", { planes: 128, stride: 2 }],
  ])("runs six kernels, %s: two projections around two attentions with theirs", (_kind, more) => {
    const families = kernels(block(more)).map((kernel) => kernel.replace(/_.*/, ""));
    const first = Object.keys(more).length === 0 ? "gemm" : "products";
    expect(families).toEqual([first, "gemm", "attention", "gemm", "attention", "gemm"]);
  });

  it("keeps no weights of pairs in memory", () => {
    // The input, q, k and v, what the projections and attentions make of it, and the result.
    const element = precision === "f32" ? 4 : 2;
    expect(block({}).plan.activations / 8).toBeLessThanOrEqual(56 * 56 * element * (128 + 64 + 64));
  });
});

describe.each(["h", "w"])("an axial attention along %s", (axis) => {
  const [size, lines, groups, planes] = [28, 6, 2, 32];
  const extent = axis === "h" ? { h: size, w: lines } : { h: lines, w: size };
  const config = {
    in_planes: planes,
    out_planes: planes,
    groups,
    kernel_size: size,
    width: axis === "w",
    extent,
  };
  const profiled = profile(compile(axialDeeplab, "bf16", "AxialAttention", config));

  it("copies nothing into another order", async () => {
    const steps = await profiled;
    // The last stores the result as the caller wants it.
    expect(steps.map(({ kernel }) => kernel.replace(/_.*/, ""))).toEqual(["gemm", "attention", "map"]);
  });

  it("reads q, k and v once, and of each table a head's rows for every line", async () => {
    const attention = (await profiled).find(({ kernel }) => kernel.startsWith("attention"));
    if (attention === undefined) throw new Error("there is no attention");
    const { read, written } = countersOf(attention).global;
    const depth = planes / groups;
    const tokens = size * lines * 2 * planes * 2;
    const tables = lines * groups * (2 * size - 1) * 2 * depth * 2;
    // And the factor of the head, which every thread of a thread block reads.
    const factors = lines * groups * 64 * 4;
    expect(read.bytes).toBeLessThanOrEqual(tokens + tables + factors);
    expect(written.bytes).toBe(size * lines * planes * 2);
    expect(written.bytes).toBe(written.uniqueBytes);
  });
});

describe("a non-local block of concatenations", () => {
  const config = { pairwise: "concatenation", dimension: 2, in_channels: 32, inter_channels: 16 };
  const extent = { t: 1, h: 12, w: 12 };

  it("multiplies no queries with keys and writes nothing of the pairs' number", async () => {
    const compiled = compile(nonLocal, "bf16", "NONLocalBlock2D", { ...config, extent });
    const steps = await profile(compiled);
    const attention = steps.find(({ kernel }) => kernel.startsWith("attention"));
    if (attention === undefined) throw new Error("there is no attention");
    const [queries, keys, slots] = [144, 36, 48];
    const { global, tensorFlops } = countersOf(attention);
    expect(tensorFlops).toBe(2 * queries * slots * 16);
    const pairs = queries * keys;
    for (const step of steps) expect(countersOf(step).global.written.bytes).toBeLessThan(pairs * 2 * 4);
    expect(global.written.bytes).toBe(queries * 16 * 2);
  });
});

it("counts of panoptic numbers no more bytes than there are: distances to centres lie in no memory", () => {
  const [h, w, classes] = [33, 65, 19];
  const ids = { thing_list: [11, 12], label_divisor: 1000, stuff_area: 40, void_label: 255_000 };
  const config = { ...ids, threshold: 0.1, nms_kernel: 7, top_k: 50, classes, h, w };
  const { program } = compile(axialDeeplab, "f32", "PanopticPostProcessing", config);
  const read = program.steps.map(({ work }) => work.readBytes.fixed + work.readBytes.perExample);
  // The most is read by the argmax of all pixels' classes.
  expect(Math.max(...read)).toBe(4 * h * w * classes);
});
