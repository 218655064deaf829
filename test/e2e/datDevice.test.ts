import { describe, expect, it } from "vitest";
import deformable from "../../models/deformable.ts";
import { deviceErrors } from "../support/agreement.ts";

// As they are run, when no value between is wanted and kernels swallow what lies between them.

/** As the published cases have it; float16 has three bits more than bfloat16. */
const tolerance = { f32: 2e-5, f16: 0.055 / 8, bf16: 0.055 };
const swept = process.env["FOVEA_SAMPLE_RUNS"] !== undefined;
const small = { q_size: [7, 6], n_heads: 4, n_head_channels: 8, n_groups: 2, stride: 1 };
const cases: { readonly [name: string]: object } = {
  "2022, table of distances": { ...small, release: 2022 },
  "2023, function of the distance, places kept inside": { ...small, log_cpb: true, offset_range_factor: -1 },
  ...(swept ? {
  "2023, table of distances, strided": { ...small, q_size: [8, 6], stride: 2, ksize: 2 },
  "2022, places kept inside": { ...small, release: 2022, offset_range_factor: -1 },
  "2022, offsets without bound": { ...small, release: 2022, offset_range_factor: 0 },
  "2022, no offset": { ...small, release: 2022, no_off: true },
  "2022, convolved queries": { ...small, release: 2022, dwc_pe: true },
  "2022, bias by place": { ...small, release: 2022, fixed_pe: true },
  "2022, no bias": { ...small, release: 2022, use_pe: false },
  "2023, convolved queries": { ...small, dwc_pe: true },
  "2023, bias by place": { ...small, fixed_pe: true },
  "2023, no bias, large window": { ...small, use_pe: false, ksize: 5 },
  "2023, no offset": { ...small, no_off: true },
  "2023, one group, long": { ...small, q_size: [5, 11], n_groups: 1, stride: 2 },
  "2023, a group a head": { ...small, n_groups: 4, ksize: 5 },
  "2023, odd channels": { ...small, n_head_channels: 5, n_heads: 6, n_groups: 3 },
  "2023, large": { ...small, q_size: [28, 28], n_heads: 3, n_head_channels: 32, n_groups: 1, stride: 4, ksize: 5 },
  "2023, large, function": { ...small, q_size: [14, 14], n_heads: 12, n_head_channels: 32, n_groups: 3, log_cpb: true },
  } : {}),
}; // prettier-ignore

describe.each(swept ? (["f32", "bf16", "f16"] as const) : (["f32", "bf16"] as const))("DAT in %s", (precision) => {
  it.each(Object.entries(cases))("%s", { timeout: 120_000 }, async (_, config) => {
    const graph = deformable.trace({ entry: "DAttentionBaseline", config });
    const errors = await deviceErrors(graph, { precision, keep: false, batch: 2 });
    expect([...errors.keys()]).toEqual(["out"]);
    for (const [name, error] of errors) expect(error, name).toBeLessThan(tolerance[precision]);
  });
});
