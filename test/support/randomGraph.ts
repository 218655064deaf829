import { createBuilder } from "../../ir/builder.ts";
import type { Graph, Op, Ops, ValueId } from "../../ir/graph.ts";
import { parseLayout, type Layout } from "../../ir/layout.ts";
import type { Pattern } from "../../ir/patterns.ts";
import { add, argument, mul, unary } from "../../ir/scalarBuild.ts";
import { noPrefix, prefixRows, type TensorType } from "../../ir/types.ts";

/** A stream of choices: each asks for a number below `count`. Runs out into zeros, so that shorter lists are simpler graphs. */
type Choose = (count: number) => number;

const span = { file: "random.ts", line: 1, column: 1 };

/** A small graph of everything that lowering knows, drawn by a list of numbers. */
export const randomGraph = (choices: readonly number[]): Graph => {
  let next = 0;
  const choose: Choose = (count) => (choices[next++] ?? 0) % count;
  const builder = createBuilder("random");
  let parameters = 0;
  const put = <K extends Op>(op: K, inputs: Ops[K]["inputs"], attrs: Ops[K]["attrs"]): ValueId =>
    builder.add(op, inputs, attrs, span, "random");
  const type = (id: ValueId): TensorType => builder.type(id);
  const parameter = (shape: readonly number[], layout: string, of: TensorType): ValueId =>
    put("parameter", [], { name: `p${parameters++}`, shape, layout: parseLayout(layout), type: of });
  const plain = (axes: TensorType["axes"], channels: number): TensorType => ({
    element: "float",
    batch: false,
    prefix: noPrefix,
    axes,
    channels,
  });
  const vector = (channels: number): ValueId => parameter([channels], "c", plain([], channels));
  const weight = (out: number, channels: number): ValueId =>
    parameter([out, channels], "out c", plain([{ axis: "out", size: out }], channels));

  const inputType: TensorType = {
    element: "float",
    batch: true,
    prefix: { count: choose(3), over: [] },
    axes: [
      { axis: "t", size: 2 },
      { axis: "h", size: 3 },
    ],
    channels: 4,
  };
  const values: ValueId[] = [put("input", [], { name: "x", layout: layoutOf(inputType), type: inputType })];
  const pick = (): ValueId => values[Math.max(0, values.length - 1 - choose(3))] ?? (0 as ValueId);

  const steps = 2 + choose(9);
  for (let step = 0; step < steps; step++) {
    const x = pick();
    const made = applyOp(choose(20), x);
    if (made !== null) values.push(made);
  }
  const outputs = new Set([values.at(-1) ?? (0 as ValueId), ...(choose(3) === 0 ? [pick()] : [])]);
  for (const [i, output] of [...outputs].entries()) builder.output(`y${i}`, output, layoutOf(type(output)));
  return builder.build();

  /** What a product of something else is added to: its memory is what results take over. */
  function residual(x: ValueId): ValueId {
    const { channels } = type(x);
    const hidden = put("pointwise", [put("linear", [x, weight(5, channels)], {})], {
      body: unary("tanh", argument(0)),
    });
    return put("pointwise", [x, put("linear", [hidden, weight(channels, 5)], {})], {
      body: add(argument(0), argument(1)),
    });
  }

  function applyOp(kind: number, x: ValueId): ValueId | null {
    const of = type(x);
    const hasPrefix = prefixRows(of) > 0;
    const axes = of.axes.map(({ axis }) => axis);
    switch (kind) {
      case 0:
        return put("linear", [x, weight([3, 4, 6][choose(3)] ?? 4, of.channels)], {});
      case 1:
        return put("pointwise", [x, vector(of.channels)], { body: add(argument(0), argument(1)) });
      case 2:
        return put("pointwise", [x], { body: unary("tanh", argument(0)) });
      case 3: {
        const normal = put("normalize", [x], { eps: 1e-5, groups: 1, axes: [] });
        return put("pointwise", [normal, vector(of.channels), vector(of.channels)], {
          body: add(mul(argument(0), argument(1)), argument(2)),
        });
      }
      case 4: {
        const other = values.find((id) => id !== x && JSON.stringify(type(id)) === JSON.stringify(of));
        return other === undefined ? null : put("pointwise", [x, other], { body: add(argument(0), argument(1)) });
      }
      case 5:
        return hasPrefix ? put("grid", [x], {}) : null;
      case 6:
        return hasPrefix && of.prefix.over.length === 0 ? put("prefix", [x], {}) : null;
      case 7: {
        if (hasPrefix || axes.includes("prefix") || axes.length === 0) return null;
        const tokens = values.find(
          (id) =>
            type(id).axes.length === 1 && type(id).axes[0]?.axis === "prefix" && type(id).channels === of.channels,
        );
        return put(
          "withPrefix",
          [
            x,
            choose(2) === 0 && tokens !== undefined
              ? tokens
              : parameter([2, of.channels], "prefix c", plain([{ axis: "prefix", size: 2 }], of.channels)),
          ],
          {},
        );
      }
      case 8:
        return hasPrefix && of.prefix.over.length === 0 && axes.includes("t")
          ? put("repeatPrefix", [x], { over: ["t"] })
          : null;
      case 9:
        return hasPrefix && of.prefix.over.includes("t") ? put("meanPrefix", [x], { over: ["t"] }) : null;
      case 10: {
        const width = of.channels - choose(of.channels);
        return width === of.channels
          ? null
          : put("channels", [x], { groups: 1, start: choose(of.channels - width + 1), width });
      }
      case 11: {
        if (axes.length === 0) return null;
        const [q, k, v] = [0, 1, 2].map((part) =>
          put("channels", [put("linear", [x, weight(12, of.channels)], {})], { groups: 1, start: 4 * part, width: 4 }),
        );
        if (q === undefined || k === undefined || v === undefined) return null;
        const patterns: readonly Pattern[] = [
          { kind: "all" },
          ...(axes.includes("t")
            ? [
                { kind: "along", axes: ["t"] } as const,
                {
                  kind: "union",
                  patterns: [{ kind: "prefix" }, { kind: "along", axes: axes.filter((axis) => axis !== "t") }],
                } as const,
              ]
            : []),
        ];
        const pattern = patterns[choose(patterns.length)] ?? { kind: "all" };
        return put("attend", [q, k, v], {
          heads: 2,
          scale: 0.7,
          pattern,
          score: { kind: "variable", name: "s" },
          normalize: "softmax",
          positions: null,
        });
      }
      case 12:
        return axes.length > 0 && !hasPrefix
          ? put("reduce", [x], { kind: choose(2) === 0 ? "mean" : "max", axes: [axes[choose(axes.length)] ?? "t"] })
          : null;
      case 13: {
        if (hasPrefix || !axes.includes("h")) return null;
        const after = choose(2) + 1;
        return put("pad", [x], { before: { h: choose(2) }, after: { h: after } });
      }
      case 14: {
        const other = values.find(
          (id) => id !== x && JSON.stringify({ ...type(id), channels: 0 }) === JSON.stringify({ ...of, channels: 0 }),
        );
        return other === undefined ? null : put("concat", [x, other], { over: "channels" });
      }
      case 15:
      case 16:
        return residual(x);
      case 17:
        return hasPrefix && of.prefix.over.length === 0
          ? put("withPrefix", [residual(put("grid", [x], {})), put("prefix", [x], {})], {})
          : null;
      case 18: {
        if (hasPrefix || !axes.includes("h")) return null;
        const window = [{ axis: "h", size: 3, stride: 1 + choose(2), dilation: 1, before: 1, after: 1 }];
        return put("pool", [x], { kind: choose(2) === 0 ? "mean" : "max", window, countPadding: choose(2) === 0 });
      }
      default:
        return !hasPrefix && axes.includes("h") ? put("merge", [x], { size: [{ axis: "h", size: 2 }] }) : null;
    }
  }
};

/** Rows in order: prefix tokens, then the grid's. */
const layoutOf = ({ batch, prefix, axes }: TensorType): Layout => {
  const grid = axes.map(({ axis }) => axis).join(" ");
  const tokens = prefix.count > 0 ? `(${[...prefix.over, "prefix"].join(" ")} | ${grid})` : grid;
  return parseLayout(`${batch ? "b " : ""}${tokens} c`);
};
