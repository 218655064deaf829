import { emitted, type SampleCase } from "../kernels/sampleCase.ts";
import { compileGraph } from "../../compiler/compile.ts";
import deformable from "../../models/deformable.ts";
import { describeCompiles } from "./compiles.ts";

const pyramid: SampleCase = {
  levels: [
    [100, 134],
    [50, 67],
    [25, 34],
    [13, 17],
  ],
  queries: 300,
  heads: 8,
  points: 4,
  width: 32,
  precision: "bf16",
};
const cases: { readonly [name: string]: SampleCase } = {
  bf16: pyramid,
  f16: { ...pyramid, precision: "f16" },
  f32: { ...pyramid, precision: "f32" },
  scored: { ...pyramid, keyWidth: 32 },
  "scored-f32": { ...pyramid, precision: "f32", keyWidth: 30 },
  odd: { ...pyramid, width: 71 },
  dense: { ...pyramid, levels: [[14, 14]], queries: 1568, heads: 12, points: 8, width: 64, dense: true },
  "dense-f16": {
    ...pyramid,
    precision: "f16",
    levels: [
      [7, 9],
      [3, 5],
    ],
    width: 24,
    padding: "border",
    dense: true,
  },
  border: { ...pyramid, width: 30, padding: "border", coordinates: "centres", normalize: "none" },
};

/** Samplings and perceptrons that share launches, and perceptrons of their own. */
const ofDat = [
  { release: 2022, q_size: [14, 14], n_heads: 12, n_groups: 3, stride: 1 },
  { q_size: [14, 14], n_heads: 12, n_groups: 3, stride: 2, ksize: 2, log_cpb: true },
].flatMap((config, number) => {
  const graph = deformable.trace({ entry: "DAttentionBaseline", config });
  const { program, sources } = compileGraph(graph, { precision: "bf16", batch: { min: 1, max: 8 }, keep: false });
  return program.kernels.flatMap(({ name, family, source }) =>
    family === "joint" || family === "perceptron"
      ? [{ name: `dat${number}_${name}`, family, source: (sources.get(source) ?? "").replaceAll(name, `dat${number}_${name}`) }] // prettier-ignore
      : [],
  );
});

describeCompiles("DAT's kernels", ofDat);

describeCompiles(
  "sampling kernels",
  Object.entries(cases).map(([differs, test]) => {
    const name = `sample_${differs.replace("-", "_")}`;
    return { name, family: "sample", source: emitted(test, name).source };
  }),
);
