import { describe, expect, test } from "vitest";
import {
  attend,
  Conv,
  entry,
  type Grid,
  grid,
  keep,
  LayerNorm,
  Linear,
  Mlp,
  model,
  Module,
  output,
  parameter,
  repeat,
  Sequential,
  system,
  unused,
} from "fovea";
import { z } from "zod";
import { printLayout } from "../../ir/layout.ts";
import { anything, nodesOf, refusalOf } from "../support/trace.ts";

type Set = Grid<"n">;

class Attention extends Module<{ dim: number }> {
  qkv = new Linear(3 * this.config.dim);
  forward(x: Set) {
    const [q, k, v] = this.qkv(x).split(3);
    return keep("", attend(q, k, v), "b n c");
  }
}
class Encoder extends Module<{ dim: number; depth: number }> {
  relative_position_index = unused;
  tokens = parameter(1, 4, this.config.dim);
  layers = repeat(this.config.depth, () => ({ self: { attn: new Attention(this.config) }, norm: new LayerNorm() }));
  // One module under two names: the checkpoint has its parameters twice.
  tied = this.layers[0];
  head = new Sequential(new Linear(5), new Linear(6, { bias: false }));

  forward(x: Set) {
    for (const { self, norm } of this.layers) x = norm(self.attn(x));
    return this.head(x);
  }
}
class Root extends Module<{ dim: number; depth: number }> {
  encoder = new Encoder(this.config);
  forward({ x }: { x: Set }) {
    return { y: this.encoder(x), swapped: output(x, "c b n") };
  }
}
const Config = z.strictObject({ dim: z.int().positive().default(8), depth: z.int().positive().default(2) });
const encoder = model({
  name: "set-encoder",
  config: Config,
  presets: { deep: { depth: 3 } },
  inputs: ({ dim }) => ({ x: grid({ n: 7 }, dim, { layout: "b n c" }) }),
  module: (config) => new Root(config),
  root: "encoder",
  fromCase: ({ width, ...rest }) => ({ dim: width, ...rest }),
});

describe("a model", () => {
  test("names its parameters by the paths of its fields", () => {
    const graph = encoder.trace();
    const parameters = nodesOf(graph, "parameter").map(({ attrs }) => `${attrs.name} [${attrs.shape.join(", ")}]`);
    expect(parameters).toEqual([
      "encoder.layers.0.self.attn.qkv.weight [24, 8]",
      "encoder.layers.0.self.attn.qkv.bias [24]",
      "encoder.layers.0.norm.weight [8]",
      "encoder.layers.0.norm.bias [8]",
      "encoder.layers.1.self.attn.qkv.weight [24, 8]",
      "encoder.layers.1.self.attn.qkv.bias [24]",
      "encoder.layers.1.norm.weight [8]",
      "encoder.layers.1.norm.bias [8]",
      "encoder.head.0.weight [5, 8]",
      "encoder.head.0.bias [5]",
      "encoder.head.1.weight [6, 5]",
    ]);
  });

  test("knows the keys that nothing reads: marked, of a second name, and of a parameter without use", () => {
    expect(encoder.trace({ config: { depth: 1 } }).unused).toEqual([
      "encoder.relative_position_index",
      "encoder.tied.self.attn.qkv.weight",
      "encoder.tied.self.attn.qkv.bias",
      "encoder.tied.norm.weight",
      "encoder.tied.norm.bias",
      "encoder.tokens",
    ]);
  });

  test("says where each value was made: the author's line and the module's path", () => {
    const [first] = nodesOf(encoder.trace(), "attend");
    expect(first?.path).toBe("encoder.layers.0.self.attn");
    expect(first?.span).toEqual({ file: "test/dsl/model.test.ts", line: 31, column: 21 });
  });

  test("publishes outputs and kept values with their layouts, without the root's name", () => {
    const graph = encoder.trace({ preset: "deep" });
    expect(graph.outputs.map(({ name, layout }) => `${name}: ${printLayout(layout)}`)).toEqual([
      "y: b n c",
      "swapped: c b n",
    ]);
    expect(graph.kept.map(({ name }) => name)).toEqual([
      "layers.0.self.attn",
      "layers.1.self.attn",
      "layers.2.self.attn",
    ]);
  });

  test("takes the configuration of a published case", () => {
    const published = { entry: "SetEncoder", config: { width: 12, depth: 1 }, inputs: { x: { shape: [2, 7, 12] } } };
    expect(encoder.fromCase(published)).toEqual({ entry: "set-encoder", config: { dim: 12, depth: 1 } });
    expect(refusalOf(() => encoder.fromCase({ ...published, entry: "SetDecoder" }))).toMatchInlineSnapshot(`
      "error unknown-name: there is no network of set-encoder "SetDecoder"
        hint: did you mean "set-encoder"?"
    `);
  });

  test("refuses configurations field by field", () => {
    expect(refusalOf(() => encoder.trace({ config: { dim: -8, dept: 3 } }))).toMatchInlineSnapshot(`
      "error bad-config: config.dim: too small: expected number to be >0

      error bad-config: config.dept: there is no such field
        hint: did you mean "depth"?"
    `);
    expect(refusalOf(() => encoder.trace({ preset: "deeep" }))).toMatchInlineSnapshot(`
      "error unknown-name: there is no preset "deeep"
        hint: did you mean "deep"?"
    `);
  });

  test("may be one of several that share modules", () => {
    const several = system({
      name: "parts",
      entries: {
        Mlp: entry({
          config: anything,
          inputs: () => ({ x: grid({ n: 3 }, 4) }),
          module: () =>
            new (class extends Module {
              mlp = new Mlp({ hidden: 8, out: 4 });
              forward({ x }: { x: Set }) {
                return { y: this.mlp(x) };
              }
            })(),
        }),
        SetEncoder: entry({
          config: Config,
          inputs: ({ dim }) => ({ x: grid({ n: 7 }, dim) }),
          module: (config) => new Root(config),
        }),
      },
    });
    expect(several.trace().name).toBe("parts/Mlp");
    expect(several.trace({ entry: "set-encoder" }).outputs.map(({ name }) => name)).toEqual(["y", "swapped"]);
    expect(refusalOf(() => several.trace({ entry: "Mpl" }))).toMatchInlineSnapshot(`
      "error unknown-name: there is no network of parts "Mpl"
        hint: there are Mlp, SetEncoder"
    `);
  });
});

describe("what does not fit is refused at the author's line", () => {
  const image = grid({ h: 4, w: 6 }, 8);
  type Image = Grid<"h" | "w">;
  const tracing = (f: (x: Image) => Image | Grid<never> | Grid<"h">) => () =>
    model({
      name: "test",
      config: anything,
      inputs: () => ({ x: image }),
      module: () =>
        new (class extends Module {
          forward({ x }: { x: Image }) {
            return { y: f(x) };
          }
        })(),
    }).trace();
  const row = (x: Image): Grid<"h"> => x.mean("w");
  const twelve = new Linear(12);

  test.each<[string, (x: Image) => Image | Grid<never> | Grid<"h">]>([
    ["extents", (x) => x.add(x.slice("h", 0, 3).padTo({ h: 2 }).slice("w", 0, 5))],
    ["channels", (x) => x.split(3)[0]],
    ["heads", (x) => attend(x, x, x, { heads: 3 })],
    ["queries and keys", (x) => attend(x, x.split(2)[0], x)],
    ["a missing prefix", (x) => x.mean("h").mean("w").add(x.prefix.mean("prefix"))],
    ["a position that is not there", (x) => row(x).at("h", 4)],
    ["a window larger than the grid", (x) => new Conv(4, { size: { h: 5, w: 3 } })(x)],
    ["a stride of no axis of the window", (x) => new Conv(4, { size: { h: 3 }, stride: { w: 2 } })(x)],
    ["a parameter that is no field", (x) => x.add(parameter(8).grid({}))],
    ["a parameter of other extents", (x) => x.add(parameter(23, 8).grid({ h: 4, w: 6 }))],
    ["a view that joins extents", (x) => x.add(parameter(4, 6, 8).view(24, 8).grid({ h: 4, w: 6 }))],
    ["a layout without an axis", (x) => keep("x", x, "b h c")],
    ["a layer met with other channels", (x) => twelve(twelve(x))],
    ["a mistake of JavaScript", (x) => (undefined as unknown as { y: Image }).y.add(x)],
  ])("%s", (name, f) => {
    expect(refusalOf(tracing(f))).toMatchSnapshot(name);
  });

  test("values outside of a trace", () => {
    let left: Image | undefined;
    tracing((x) => (left = x))();
    expect(refusalOf(() => left?.add(left))).toMatch(
      /values exist only while a model is traced\n {2}test\/dsl\/model.test.ts/,
    );
  });
});
