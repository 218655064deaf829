import { compileGraph } from "../../compiler/compile.ts";
import setTransformer from "../../models/setTransformer.ts";
import { describeCompiles } from "./compiles.ts";

// The widest rows and the most keys of one kernel, and narrow heads.
const blocks = [
  { dim: 128, num_heads: 4, num_inds: 48, ln: false },
  { dim: 128, num_heads: 8, num_inds: 32, ln: true },
  { dim: 112, num_heads: 7, num_inds: 64, ln: true },
];

for (const { dim, ...block } of blocks) {
  const graph = setTransformer.trace({ entry: "ISAB", config: { dim_in: dim, dim_out: dim, points: 5000, ...block } });
  const { program, sources } = compileGraph(graph, { precision: "bf16", batch: { min: 1, max: 4 }, keep: false });
  describeCompiles(
    `multihead attention blocks of ${dim} channels and ${block.num_inds} keys`,
    program.kernels.flatMap(({ name, family, source }) =>
      family === "mab" ? [{ name, family, source: sources.get(source) ?? "" }] : [],
    ),
  );
}
