import { describe, expect, it } from "vitest";
import { gelu, LayerNorm, Linear, Module, pointwise, relu, Sequential, Conv } from "fovea";
import { compileGraph } from "../../compiler/compile.ts";
import { deviceErrors } from "../support/agreement.ts";
import { type Image, traceModule } from "../support/trace.ts";

/** A depthwise convolution of each group of channels, normalised, and two results of each: how far points move. */
class Offsets extends Module {
  conv = new Conv(4, { size: { h: 3, w: 3 }, pad: { h: 1, w: 1 }, groups: 4 });
  norm = new LayerNorm();
  out = new Linear(2, { bias: false });
  forward({ x }: { x: Image }) {
    return { out: this.out(gelu(this.norm(this.conv(x.unpack({ group: 2 }))))).mul(0.5) };
  }
}
/** A function of two numbers of each token. */
class Distances extends Module {
  mlp = new Sequential(new Linear(33), relu, new Linear(3));
  forward({ x }: { x: Image }) {
    const [two] = x.split(2, 6) as [Image, Image];
    return { out: this.mlp(pointwise(two, (d) => Math.sign(d) * Math.log2(Math.abs(d) + 1))) };
  }
}

describe.each(["f32", "bf16", "f16"] as const)("few results of rows made of little, in %s", (precision) => {
  it.each([
    ["a convolution, normalised", new Offsets()],
    ["two products", new Distances()],
  ])("%s", async (_, module) => {
    const graph = traceModule(module);
    const { program, fusions } = compileGraph(graph, { precision, batch: { min: 1, max: 2 }, keep: false });
    expect(program.kernels.map(({ family }) => family)).toEqual(["perceptron"]);
    expect(fusions.some(({ because }) => /one kernel computes them from end to end/u.test(because))).toBe(true);
    const errors = await deviceErrors(graph, { precision, keep: false, batch: 2 });
    // Nothing hidden is rounded, and what a caller reads and gets is float32.
    expect([...errors.keys()]).toEqual(["out"]);
    for (const [name, error] of errors) expect(error, name).toBeLessThan(1e-6);
  });
});
