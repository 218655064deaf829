import { expect, test } from "vitest";
import { compileGraph } from "../../compiler/compile.ts";
import { along, attend, Module, parameter } from "../../compiler/dsl/index.ts";
import { parseGraph } from "../../ir/parse.ts";
import axialDeeplab from "../../models/axialDeeplab.ts";
import { type Image, refusalOf, traceModule } from "../support/trace.ts";

const attention = { in_planes: 16, out_planes: 16, groups: 4, kernel_size: 8, extent: { h: 8, w: 6 } };
const trace = (change: object) => () =>
  axialDeeplab.trace({ entry: "AxialAttention", config: { ...attention, ...change } });

test("an axis of another length than the kernel's is refused, with both", () => {
  expect(refusalOf(trace({ kernel_size: 10 }))).toContain(
    'config.kernel_size: it is 10, and the axis "h" that is attended along has 8: both must be the same',
  );
  expect(refusalOf(trace({ width: true }))).toContain('it is 8, and the axis "w" that is attended along has 6');
});

test("channels that do not fall into halves of heads are refused", () => {
  expect(refusalOf(trace({ out_planes: 20 }))).toContain(
    "config.out_planes: 20 makes 20 channels of values, and queries and keys of 4 heads have half of them each: a multiple of 8 does",
  );
  const block = (config: object) => () => axialDeeplab.trace({ entry: "AxialBlock", config });
  expect(refusalOf(block({ inplanes: 30, planes: 15, groups: 4 }))).toContain("config.planes: 15 makes 15 channels");
});

test("maps that a layer's lines or strides do not fit are refused", () => {
  const net = (config: object) => () => axialDeeplab.trace({ entry: "AxialAttentionNet", config });
  expect(refusalOf(net({ resolution: 200 }))).toContain(
    "config.resolution: 200 leaves layer3 maps of 25, where it takes every 2nd position: a multiple of 32 fits",
  );
  expect(refusalOf(net({ resolution: 225 }))).toContain("225 leaves layer1 maps of 57, where it attends along 56");
  expect(refusalOf(net({ s: 0.3 }))).toContain("config.s: in layer1, 0.3 makes 38 channels");
  const block = { inplanes: 32, planes: 16, groups: 2, kernel_size: 7, stride: 2 };
  expect(refusalOf(() => axialDeeplab.trace({ entry: "AxialBlock", config: block }))).toContain(
    "config.stride: 2 does not divide maps of 7: pooling would leave 3, the shortcut 4",
  );
});

test("terms of positions along an axis of another length are refused in a network of one's own too", () => {
  class Own extends Module {
    rows = parameter(19, 8);
    forward({ x }: { x: Image }) {
      const query = this.rows.grid({ row: 19 });
      return { y: attend(x, x, x, { heads: 1, keys: along("h"), positions: { axis: "h", query } }) };
    }
  }
  const refusal = refusalOf(() => traceModule(new Own()));
  expect(refusal).toContain("attend cannot combine [b, h 4, w 5; 8] with [row 19; 8]");
  expect(refusal).toContain('positions along "h", which has 4, lie up to 3 apart either way: 7 rows of 8 channels');
});

test.each([
  ["axial26s", 0.5, [1, 2, 4, 1]],
  ["axial50l", 1, [3, 4, 6, 3]],
] as const)("%s has the published parameters", (preset, s, layers) => {
  const { nodes, unused } = axialDeeplab.trace({ entry: "AxialAttentionNet", preset });
  const shapes = new Map(
    nodes.flatMap((node) => (node.op === "parameter" ? [[node.attrs.name, node.attrs.shape]] : [])),
  );
  const attentions = [...shapes.keys()].filter((name) => name.endsWith(".relative"));
  expect(attentions).toHaveLength(2 * layers.reduce((sum, blocks) => sum + blocks, 0));
  expect(shapes.get("conv1.weight")).toEqual([64 * s, 3, 7, 7]);
  expect(shapes.get("layer1.0.hight_block.relative")).toEqual([32 * s, 111]);
  expect(shapes.get("layer1.0.hight_block.bn_similarity.weight")).toEqual([24]);
  expect(shapes.get("layer1.0.hight_block.bn_output.running_var")).toEqual([256 * s]);
  expect(shapes.get("layer2.0.width_block.qkv_transform.weight")).toEqual([512 * s, 256 * s]);
  expect(shapes.get("layer3.0.downsample.0.weight")).toEqual([1024 * s, 512 * s, 1, 1]);
  expect(shapes.get(`layer4.${layers[3] - 1}.width_block.relative`)).toEqual([256 * s, layers[3] === 1 ? 27 : 13]);
  expect(shapes.get("fc.weight")).toEqual([1000, 2048 * s]);
  expect(unused).toContain("layer1.0.hight_block.flatten_index");
  expect(unused).toContain("layer1.0.hight_block.bn_output.num_batches_tracked");
});

test("positions between keys of several lines are refused, with what can be said instead", () => {
  const graph = parseGraph(`graph "plane"
%0: [b, h 3, w 4; 4] = input {name="x", layout="b h w c"}
%1: [row 5; 4] = parameter {name="rows", shape=[5, 4], layout="row c"}
%2 = attend %0, %0, %0, %1 {heads=1, scale=1, pattern=all, score=s, normalize=softmax, positions=h query 0}
output "y" = %2 "b h w c"
`);
  const refusal = refusalOf(() => compileGraph(graph, { precision: "bf16", batch: { min: 1, max: 1 }, keep: false }));
  expect(refusal).toContain('terms of relative positions along "h" want keys along it alone');
  expect(refusal).toContain('keys: along("h")');
});
