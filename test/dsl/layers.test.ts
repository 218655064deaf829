import { describe, expect, test } from "vitest";
import {
  attend,
  BatchNorm,
  combine,
  concat,
  Conv,
  Embedding,
  grid,
  type Grid,
  GroupNorm,
  LayerNorm,
  Linear,
  maxPool,
  meanPool,
  Module,
  parameter,
  pointwise,
  softplus,
} from "fovea";
import { evaluateScalar } from "../../ir/scalarEvaluate.ts";
import type { Graph } from "../../ir/graph.ts";
import { printGraph } from "../../ir/print.ts";
import { printType } from "../../ir/typeText.ts";
import { type Image, nodesOf, refusalOf, traceImage, traceModule } from "../support/trace.ts";

/** A graph without what says where its values come from. */
const textOf = (graph: Graph): string => printGraph(graph).replaceAll(/ \/\/ .*$/gm, "");
/** The graph of a layer. */
const linesOf = (layer: (x: Image) => Grid<"h" | "w">): string => {
  class Root extends Module {
    layer = layer;
    forward({ x }: { x: Image }) {
      return { y: this.layer(x) };
    }
  }
  return textOf(traceModule(new Root()));
};

describe("layers are made of the graph's ops", () => {
  test("Linear", () =>
    expect(linesOf(new Linear(3))).toMatchInlineSnapshot(`
      "graph "test"
      %0: [b, h 4, w 5; 8] = input {name="x", layout="b c h w"}
      %1: [out 3; 8] = parameter {name="layer.weight", shape=[3, 8], layout="out c"}
      %2: [b, h 4, w 5; 3] = linear %0, %1
      %3: [3] = parameter {name="layer.bias", shape=[3], layout="c"}
      %4: [b, h 4, w 5; 3] = pointwise %2, %3 {body=$0 + $1}
      output "y" = %4 "b h w c"
      "
    `));
  test("Linear without bias", () =>
    expect(linesOf(new Linear(3, { bias: false }))).toMatchInlineSnapshot(`
      "graph "test"
      %0: [b, h 4, w 5; 8] = input {name="x", layout="b c h w"}
      %1: [out 3; 8] = parameter {name="layer.weight", shape=[3, 8], layout="out c"}
      %2: [b, h 4, w 5; 3] = linear %0, %1
      output "y" = %2 "b h w c"
      "
    `));
  test("LayerNorm", () =>
    expect(linesOf(new LayerNorm({ eps: 1e-6 }))).toMatchInlineSnapshot(`
      "graph "test"
      %0: [b, h 4, w 5; 8] = input {name="x", layout="b c h w"}
      %1: [b, h 4, w 5; 8] = normalize %0 {eps=0.000001, groups=1, axes=[]}
      %2: [8] = parameter {name="layer.weight", shape=[8], layout="c"}
      %3: [8] = parameter {name="layer.bias", shape=[8], layout="c"}
      %4: [b, h 4, w 5; 8] = pointwise %1, %2, %3 {body=$0 * $1 + $2}
      output "y" = %4 "b h w c"
      "
    `));
  test("GroupNorm", () =>
    expect(linesOf(new GroupNorm(4))).toMatchInlineSnapshot(`
      "graph "test"
      %0: [b, h 4, w 5; 8] = input {name="x", layout="b c h w"}
      %1: [b, h 4, w 5; 8] = normalize %0 {eps=0.00001, groups=4, axes=[h, w]}
      %2: [8] = parameter {name="layer.weight", shape=[8], layout="c"}
      %3: [8] = parameter {name="layer.bias", shape=[8], layout="c"}
      %4: [b, h 4, w 5; 8] = pointwise %1, %2, %3 {body=$0 * $1 + $2}
      output "y" = %4 "b h w c"
      "
    `));
  test("BatchNorm", () =>
    expect(linesOf(new BatchNorm())).toMatchInlineSnapshot(`
      "graph "test"
      %0: [b, h 4, w 5; 8] = input {name="x", layout="b c h w"}
      %1: [8] = parameter {name="layer.weight", shape=[8], layout="c"}
      %2: [8] = parameter {name="layer.bias", shape=[8], layout="c"}
      %3: [8] = parameter {name="layer.running_mean", shape=[8], layout="c"}
      %4: [8] = parameter {name="layer.running_var", shape=[8], layout="c"}
      %5: [8] = pointwise %1, %4 {body=$0 / sqrt($1 + 0.00001)}
      %6: [8] = pointwise %2, %3, %5 {body=$0 - $1 * $2}
      %7: [b, h 4, w 5; 8] = pointwise %0, %5, %6 {body=$0 * $1 + $2}
      output "y" = %7 "b h w c"
      unused "layer.num_batches_tracked"
      "
    `));
  test("Conv", () =>
    expect(
      linesOf(
        new Conv(6, {
          size: { w: 3, h: 2 },
          stride: { w: 2 },
          dilation: { h: 2 },
          pad: { w: 1, h: [0, 1] },
          groups: 2,
        }),
      ),
    ).toMatchInlineSnapshot(`
      "graph "test"
      %0: [b, h 4, w 5; 8] = input {name="x", layout="b c h w"}
      %1: [out 6, w 3, h 2; 4] = parameter {name="layer.weight", shape=[6, 4, 3, 2], layout="out c w h"}
      %2: [b, h 3, w 3; 6] = conv %0, %1 {window=[w 3 stride 2 pad 1 1, h 2 dilation 2 pad 0 1], groups=2}
      %3: [6] = parameter {name="layer.bias", shape=[6], layout="c"}
      %4: [b, h 3, w 3; 6] = pointwise %2, %3 {body=$0 + $1}
      output "y" = %4 "b h w c"
      "
    `));
  test("pools", () => {
    const pools = (x: Image): Image =>
      meanPool({ size: { h: 2 }, countPadding: false })(
        maxPool({ size: { w: 3 }, stride: { w: 1 }, pad: { w: 1 } })(x),
      );
    expect(linesOf(pools)).toMatchInlineSnapshot(`
      "graph "test"
      %0: [b, h 4, w 5; 8] = input {name="x", layout="b c h w"}
      %1: [b, h 4, w 5; 8] = pool %0 {kind=max, window=[w 3 pad 1 1], countPadding=true}
      %2: [b, h 2, w 5; 8] = pool %1 {kind=mean, window=[h 2 stride 2], countPadding=false}
      output "y" = %2 "b h w c"
      "
    `);
  });
});

test("views are told apart by what they name", () => {
  const graph = traceImage((x) => {
    const [left, right] = x.heads(2).split(1, 3);
    const merged = x.merge({ w: 2, h: 2 }).unmerge({ w: 2, h: 2 }).crop(x);
    const heads = x.unpack({ head: 2 }).rename("head", "group").pack("group");
    const row = x.slice("h", 1, 4, 2).at("h", 1).expand({ h: 4 });
    return concat([left, right, merged, heads, x.add(row), x.resize({ h: 8 }).slice("h", 0, 4)]).softmax("h");
  });
  expect(textOf(graph)).toMatchInlineSnapshot(`
    "graph "test"
    %0: [b, h 4, w 5; 8] = input {name="x", layout="b c h w"}
    %1: [b, h 4, w 5; 2] = channels %0 {groups=2, start=0, width=1}
    %2: [b, h 4, w 5; 6] = channels %0 {groups=2, start=1, width=3}
    %3: [b, h 2, w 3; 32] = merge %0 {size=[w 2, h 2]}
    %4: [b, h 4, w 6; 8] = unmerge %3 {size=[w 2, h 2]}
    %5: [b, h 4, w 5; 8] = pad %4 {before=[], after=[w -1]}
    %6: [b, h 4, w 5, head 2; 4] = unpack %0 {sizes=[head 2]}
    %7: [b, h 4, w 5, group 2; 4] = rename %6 {axes=[head group]}
    %8: [b, h 4, w 5; 8] = pack %7 {axes=[group]}
    %9: [b, h 2, w 5; 8] = slice %0 {axis=h, start=1, step=2, size=2}
    %10: [b, h 1, w 5; 8] = slice %9 {axis=h, start=1, step=1, size=1}
    %11: [b, w 5; 8] = pack %10 {axes=[h]}
    %12: [b, h 4, w 5; 8] = expand %11 {sizes=[h 4]}
    %13: [b, h 4, w 5; 8] = pointwise %0, %12 {body=$0 + $1}
    %14: [b, h 8, w 5; 8] = resize %0 {to=[h 8], mode=nearest, alignCorners=false}
    %15: [b, h 4, w 5; 8] = slice %14 {axis=h, start=0, step=1, size=4}
    %16: [b, h 4, w 5; 40] = concat %1, %2, %5, %8, %13, %15 {over=channels}
    %17: [b, h 4, w 5; 40] = softmax %16 {over=[h]}
    output "y" = %17 "b h w c"
    "
  `);
});

test("elements are combined with their coordinates and with parameters", () => {
  class Root extends Module {
    slope = parameter(8);
    forward({ x }: { x: Image }) {
      const placed = pointwise(x, (value, at) => (at.h > 1 ? value : at.channel * 0.5));
      return { y: combine(placed, [x, this.slope.grid({})], (a, b, slope) => (a > 0 ? a : slope * b)) };
    }
  }
  expect(textOf(traceModule(new Root()))).toMatchInlineSnapshot(`
    "graph "test"
    %0: [b, h 4, w 5; 8] = input {name="x", layout="b c h w"}
    %1: [b, h 4, w 5; 8] = pointwise %0 {body=x.h > 1 ? $0 : channel * 0.5}
    %2: [8] = parameter {name="slope", shape=[8], layout="c"}
    %3: [b, h 4, w 5; 8] = pointwise %1, %0, %2 {body=$0 > 0 ? $0 : $2 * $1}
    output "y" = %3 "b h w c"
    "
  `);
});

test("a part of a vector is a run of channels", () => {
  class Root extends Module {
    bias = parameter(6);
    forward({ x }: { x: Image }) {
      const [, last] = this.bias.split(4, 2);
      return { y: x.split(2, 6)[0].add(last.grid({})) };
    }
  }
  expect(textOf(traceModule(new Root()))).toMatchInlineSnapshot(`
    "graph "test"
    %0: [b, h 4, w 5; 8] = input {name="x", layout="b c h w"}
    %1: [b, h 4, w 5; 2] = channels %0 {groups=1, start=0, width=2}
    %2: [6] = parameter {name="bias", shape=[6], layout="c"}
    %3: [2] = channels %2 {groups=1, start=4, width=2}
    %4: [b, h 4, w 5; 2] = pointwise %1, %3 {body=$0 + $1}
    output "y" = %4 "b h w c"
    "
  `);
});

test("zeros go around a grid on the axes named", () => {
  const [, padded] = traceImage((x) => x.pad({ w: 2 })).nodes;
  expect(padded).toMatchObject({ op: "pad", attrs: { before: { w: 2 }, after: { w: 2 } } });
  expect(padded === undefined ? "" : printType(padded.type)).toBe("[b, h 4, w 9; 8]");
  expect(refusalOf(() => traceImage((x) => x.pad({ h: 0 })))).toMatch(/pad: h/);
});

test("an embedding takes rows of its table", () => {
  class Root extends Module {
    places = new Embedding(5, 3);
    forward({ x }: { x: Image }) {
      const [, second] = this.places.weight.split(1, 2, 2);
      return { y: this.places(x), z: second.tokens() };
    }
  }
  const graph = traceModule(new Root(), grid({ h: 4, w: 5 }, 1, { layout: "b h w", element: "int" }));
  expect(textOf(graph)).toMatchInlineSnapshot(`
    "graph "test"
    %0: int[b, h 4, w 5; 1] = input {name="x", layout="b h w"}
    %1: [row 5; 3] = parameter {name="places.weight", shape=[5, 3], layout="row c"}
    %2: [b, h 4, w 5; 3] = take %1, %0 {axis=row}
    %3: [axis prefix 5; 3] = parameter {name="places.weight", shape=[5, 3], layout="prefix c"}
    %4: [axis prefix 2; 3] = slice %3 {axis=prefix, start=1, step=1, size=2}
    output "y" = %2 "b h w c"
    output "z" = %4 "prefix c"
    "
  `);
});

test("a score reads grids where a position is", () => {
  const graph = traceImage((x) => {
    const row = x.mean("h");
    return attend(x, x, x, { score: (s, q, k) => (row.of(k, 2) > 0 ? s + x.of(q) : -Infinity) });
  });
  expect(textOf(graph)).toMatchInlineSnapshot(`
    "graph "test"
    %0: [b, h 4, w 5; 8] = input {name="x", layout="b c h w"}
    %1: [b, w 5; 8] = reduce %0 {kind=mean, axes=[h]}
    %2: [b, h 4, w 5; 8] = attend %0, %0, %0, %1, %0 {heads=1, scale=0.35355339059327373, pattern=all, score=table0[k.w, 2] > 0 ? s + table1[q.h, q.w, 0] : -inf, normalize=softmax}
    output "y" = %2 "b h w c"
    "
  `);
});

test("softplus does not overflow", () => {
  const body = nodesOf(
    traceImage((x) => softplus(x)),
    "pointwise",
  )[0]?.attrs.body;
  for (const [x, y] of [
    [-800, 0],
    [-1, Math.log(1 + Math.exp(-1))],
    [0, Math.LN2],
    [3, Math.log(1 + Math.exp(3))],
    [800, 800],
  ] as const)
    expect(body && evaluateScalar(body, { arguments: [x] })).toBeCloseTo(y, 12);
});
