import { emitted, type SampleCase } from "../kernels/sampleCase.ts";
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

describeCompiles(
  "sampling kernels",
  Object.entries(cases).map(([differs, test]) => {
    const name = `sample_${differs.replace("-", "_")}`;
    return { name, family: "sample", source: emitted(test, name).source };
  }),
);
