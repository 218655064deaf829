import { expect, it } from "vitest";
import { compileGraph } from "../../compiler/compile.ts";
import vtn from "../../models/vtn.ts";

it("a layer of VTN's Longformer takes eight launches: products of all tokens and of the global one start it together", () => {
  const graph = vtn.trace({
    entry: "VTNTemporal",
    config: { num_hidden_layers: 2, attention_window: [18, 18], hidden_dim: 96, num_attention_heads: 2 },
  });
  const { program } = compileGraph(graph, { precision: "bf16", batch: { min: 1, max: 1 }, keep: false });
  for (const layer of ["layer.0", "layer.1"]) {
    const launches = program.steps.filter(({ origin }) => origin.path.includes(`encoder.${layer}.`));
    expect(launches.map(({ kernel }) => kernel.replace(/_\d+$/, ""))).toEqual([
      "products_query",
      "attention_self",
      "attention_self",
      "gemm_dense",
      "row_LayerNorm",
      "gemm_dense",
      "gemm_dense",
      "row_LayerNorm",
    ]);
  }
});
