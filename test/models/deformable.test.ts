import { basename } from "node:path";
import { describe, expect, test } from "vitest";
import { readArrays } from "../../compiler/cli/arrays.ts";
import { fusionNotes } from "../../compiler/fusionNotes.ts";
import { runPasses } from "../../compiler/passes/pipeline.ts";
import { lower } from "../../compiler/schedule/lower/lower.ts";
import deformable from "../../models/deformable.ts";
import { sampleLevels } from "../../models/deformableDetr.ts";
import { differences, goldenCases, parametersOf, readCase } from "../support/golden.ts";
import { type Image, refusalOf, traceImage, traceModule } from "../support/trace.ts";
import { attend, constant, deformable as deform, Linear, Module } from "fovea";

/** Cores have no weights. */
const weightsOf = (folder: string): ReadonlyMap<string, unknown> =>
  readCase(folder).weights === null ? new Map() : readArrays(`${folder}/weights.safetensors`);

describe.each(goldenCases("deformable").map((folder) => [basename(folder), folder] as const))("%s", (_, folder) => {
  const golden = readCase(folder);

  test("computes what the published code computed, intermediates included", () => {
    expect(differences(deformable, golden)).toEqual([]);
  });

  test("knows the checkpoint's keys, all of them", () => {
    const graph = deformable.trace(deformable.fromCase(golden));
    const known = [...parametersOf(graph).map(({ name }) => name), ...graph.unused];
    expect(known.toSorted()).toEqual([...weightsOf(folder).keys()].toSorted());
  });
});

const shapes = [
  [6, 9],
  [3, 5],
];
const msda = { n_levels: 2, Lq: 7, d_model: 16, n_heads: 2, spatial_shapes: shapes };

describe("MSDeformAttn", () => {
  const launchesOf = (config: object) => {
    const traced = deformable.trace({ entry: "MSDeformAttn", config });
    return lower(runPasses({ ...traced, kept: [] }).graph, "bf16").launches;
  };

  test.each([
    ["points", {}],
    ["boxes", { reference_dim: 4 }],
    ["a padding mask", { padding: true }],
  ])("is four kernels with %s: values, offsets with weights, sampling, the result", (_, more) => {
    const launches = launchesOf({ ...msda, ...more });
    expect(launches.map(({ kernel }) => kernel.kind)).toEqual(["gemm", "gemm", "sample", "gemm"]);
    expect(launches[0]?.kernel).toMatchObject({ columns: 16 });
    // Of each point an offset and a logit.
    expect(launches[1]?.kernel).toMatchObject({ columns: 2 * 2 * 4 * 3 });
  });

  test("stores offsets and weights in float32, values in bf16", () => {
    const { operands, position, weight, levels } = launchesOf(msda).flatMap(({ kernel }) =>
      kernel.kind === "sample" ? [kernel] : [],
    )[0] ?? { operands: [], position: [], weight: { elements: [] }, levels: [] };
    const placed = [...position, weight].flatMap(({ elements }) =>
      elements.map(({ operand }) => operands[operand]?.storage),
    );
    expect(new Set(placed)).toEqual(new Set(["f32"]));
    expect(levels.map(({ values }) => operands[values.operand]?.storage)).toEqual(["bf16", "bf16"]);
  });

  test("computes points where they are read, and says so", () => {
    const traced = deformable.trace({ entry: "MSDeformAttn", config: msda });
    const { graph } = runPasses({ ...traced, kept: [] });
    const notes = fusionNotes(graph, lower(graph, "bf16").roles);
    expect(
      notes.filter(({ because }) => because.includes("sampling")).map(({ fused, what }) => ({ fused, what })),
    ).toEqual([{ fused: true, what: "pointwise op" }]);
  });

  test("refuses levels that are not as many as n_levels says", () => {
    expect(() => launchesOf({ ...msda, n_levels: 3 })).toThrow(/spatial_shapes.*there is one for each of n_levels/);
  });
});

test("the encoder layer of Deformable DETR knows the published keys", () => {
  const { Lq: _queries, ...layer } = msda;
  const config = { ...layer, d_ffn: 32 };
  const graph = deformable.trace({ entry: "DeformableTransformerEncoderLayer", config });
  const both = (name: string): readonly string[] => [`${name}.bias`, `${name}.weight`];
  expect(
    parametersOf(graph)
      .map(({ name }) => name)
      .toSorted(),
  ).toEqual(
    [
      ...["linear1", "linear2", "norm1", "norm2"].flatMap(both),
      ...["attention_weights", "output_proj", "sampling_offsets", "value_proj"].flatMap((name) =>
        both(`self_attn.${name}`),
      ),
    ].toSorted(),
  );
});

test("levels that do not add up to the value are refused with both numbers", () => {
  const refused = refusalOf(() =>
    traceImage((x) => {
      const value = x.at("w", 0).rename("h", "s");
      const points = constant(
        { q: 1, head: 2, level: 2, point: 1 },
        Array.from({ length: 4 }, () => [0.5, 0.5]),
      );
      const weights = constant(
        { q: 1, head: 2, level: 2, point: 1 },
        Array.from({ length: 4 }, () => [1]),
      );
      return sampleLevels(
        value,
        [
          [1, 2],
          [1, 1],
        ],
        points,
        weights,
        "none",
      );
    }),
  );
  expect(refused).toMatch(/the levels 1 x 2, 1 x 1 have 3 positions, and the value has 4/);
});

test("a layer that attends and samples keeps queries and keys in 16 bits, apart from the points", () => {
  class Both extends Module {
    q = new Linear(16);
    k = new Linear(16);
    offsets = new Linear(8);

    forward({ x }: { x: Image }) {
      const points = this.offsets(x).unpack({ head: 2, point: 2 });
      const sampled = deform([x], { points, axes: ["w", "h"], heads: "head", over: ["point"] });
      return { seen: attend(this.q(x), this.k(x), x, { heads: 2 }), sampled };
    }
  }
  const { launches } = lower(runPasses(traceModule(new Both())).graph, "bf16");
  // An attention's result is copied to the caller.
  const kinds = launches.map(({ kernel }) => kernel.kind);
  expect(kinds.toSorted()).toEqual(["attention", "gemm", "gemm", "map", "sample"]);
  const attention = launches.find(({ kernel }) => kernel.kind === "attention")?.kernel;
  expect(attention?.kind === "attention" && attention.operands[attention.q.grid.operand]?.storage).toBe("bf16");
});

describe.each(["bf16", "f16"] as const)("where tokens look, in %s", (precision) => {
  const config = { dim: 24, heads: 3, patch: 4, image: [16, 20], frames: 4, depth: 2, mlp_ratio: 2, classes: 5 };
  const { graph } = runPasses({ ...deformable.trace({ entry: "DVT", config }), kept: [] });
  const { launches } = lower(graph, precision);
  const products = launches.flatMap(({ kernel }) => (kernel.kind === "gemm" ? [kernel] : []));

  test("is computed of float32, in tf32", () => {
    const samplings = launches.flatMap(({ kernel }) => (kernel.kind === "sample" ? [kernel] : []));
    expect(samplings).toHaveLength(4);
    for (const { position, weight, operands } of samplings)
      for (const { operand } of [...position, weight].flatMap(({ elements }) => elements))
        expect(operands[operand]?.storage).toBe("f32");
    const placing = products.filter(({ tf32 }) => tf32);
    // The patches of float32 pixels, what motion adds in all blocks, and what queries add in both attentions of each.
    expect(placing).toHaveLength(4);
    for (const { operands, stores } of placing)
      for (const { operand } of stores) expect(operands[operand]?.storage).toBe("f32");
  });

  test("leaves products of tokens alone to the precision asked for", () => {
    // The residual stream is float32, what is computed of it is not: values, the scales' and the MLP's layers.
    const others = products.filter(({ tf32 }) => !tf32);
    expect(others.length).toBeGreaterThan(products.length / 2);
    expect(new Set(others.map((product) => product.precision))).toEqual(new Set([precision]));
  });
});

describe("a layer that looks at the frames of a video", () => {
  const video = { dim: 24, heads: 3, patch: 4, image: [16, 20], frames: 4, n_scales: 3 };
  const kindsOf = (entry: string): readonly string[] => {
    const { graph } = runPasses({ ...deformable.trace({ entry, config: video }), kept: [] });
    return lower(graph, "bf16").launches.map(({ kernel }) => kernel.kind);
  };

  test("multiplies queries and cues per frame, and adds them up where it samples", () => {
    // The cues are the network's: motion in patches, beside residuals, averaged, and summed over time.
    const cues = ["map", "map", "map", "map"];
    expect(kindsOf("DeformableSpaceTimeAttention")).toEqual([...cues, "gemm", "gemm", "gemm", "sample", "gemm"]);
  });

  test("computes values with the scales, and offsets with the queries", () => {
    const scales = ["gemm", "gemm", "gemm"];
    expect(kindsOf("DeformableMultiScaleAttention")).toEqual(["gemm", ...scales, "sample", "gemm"]);
  });
});
