import { broadcastTypes } from "./broadcast.ts";
import { GraphError } from "./errors.ts";
import type { Op, Ops, ValueId } from "./graph.ts";
import {
  inferAttend,
  inferConv,
  inferLinear,
  inferNormalize,
  inferPool,
  inferReduce,
  inferSoftmax,
} from "./inferCompute.ts";
import { inferLoop } from "./inferLoop.ts";
import { inferHistogram, inferTake, inferTopK } from "./inferSelect.ts";
import { inferSample } from "./inferSample.ts";
import {
  inferChannels,
  inferConcat,
  inferExpand,
  inferGrid,
  inferMeanPrefix,
  inferMerge,
  inferPack,
  inferPad,
  inferPrefix,
  inferRename,
  inferRepeatPrefix,
  inferResize,
  inferSlice,
  inferUnmerge,
  inferUnpack,
  inferWithPrefix,
} from "./inferViews.ts";
import { type Layout, printLayout, reservedNames } from "./layout.ts";
import { layoutShape } from "./layoutOffset.ts";
import { rowsOf, type TensorType } from "./types.ts";
import { printType } from "./typeText.ts";

/** One type for each value of a tuple. */
export type Each<Inputs extends readonly ValueId[], T> = { readonly [I in keyof Inputs]: T };
type InferRule<K extends Op> = (attrs: Ops[K]["attrs"], inputs: Each<Ops[K]["inputs"], TensorType>) => TensorType;

/** The type of each op's result. A rule throws a GraphError where its inputs don't go together. */
const inferRules: { readonly [K in Op]: InferRule<K> } = {
  input: ({ layout, type }) => laidOut(layout, type),
  parameter: ({ shape, layout, type }) => {
    const wanted = layoutShape(layout, type);
    if (type.batch) throw new GraphError(`a parameter has no batch: ${printType(type)}`);
    if (wanted.join() !== shape.join()) {
      throw new GraphError(
        `[${shape.join(", ")}] is not ${printType(type)} laid out as "${printLayout(layout)}": that is [${wanted.join(", ")}]`,
      );
    }
    return laidOut(layout, type);
  },
  constant: ({ values, type }) => {
    const wanted = rowsOf(type) * type.channels;
    if (type.batch) throw new GraphError(`a constant has no batch: ${printType(type)}`);
    if (values.length !== wanted)
      throw new GraphError(`the constant ${printType(type)} has ${values.length} values, not ${wanted}`);
    return checkAxes(type);
  },
  linear: (_, [x, weight]) => inferLinear(x, weight),
  conv: (attrs, [x, weight]) => inferConv(x, weight, attrs),
  pointwise: (_, inputs) => broadcastTypes(inputs),
  round: (_, [x]) => ({ ...x, element: "int" }),
  normalize: (attrs, [x]) => inferNormalize(x, attrs),
  softmax: (attrs, [x]) => inferSoftmax(x, attrs),
  reduce: (attrs, [x]) => inferReduce(x, attrs),
  topK: ({ count, axes }, [x]) => inferTopK(x, count, axes),
  histogram: ({ bins, axes }, [x]) => inferHistogram(x, bins, axes),
  take: ({ axis }, [x, numbers]) => inferTake(x, numbers, axis),
  pool: (attrs, [x]) => inferPool(x, attrs),
  attend: (attrs, inputs) => inferAttend(inputs, attrs),
  sample: (attrs, inputs) => inferSample(inputs, attrs),
  state: (_, [first]) => ({ ...first, batch: true }),
  loop: (attrs, inputs) => inferLoop(inputs, attrs),
  after: (_, [, state]) => state,
  grid: (_, [x]) => inferGrid(x),
  prefix: (_, [x]) => inferPrefix(x),
  withPrefix: (_, [x, prefix]) => inferWithPrefix(x, prefix),
  repeatPrefix: (attrs, [x]) => inferRepeatPrefix(x, attrs),
  meanPrefix: (attrs, [x]) => inferMeanPrefix(x, attrs),
  channels: (attrs, [x]) => inferChannels(x, attrs),
  concat: (attrs, inputs) => inferConcat(inputs, attrs),
  merge: (attrs, [x]) => inferMerge(x, attrs),
  unmerge: (attrs, [x]) => inferUnmerge(x, attrs),
  pad: (attrs, [x]) => inferPad(x, attrs),
  unpack: (attrs, [x]) => inferUnpack(x, attrs),
  pack: (attrs, [x]) => inferPack(x, attrs),
  rename: (attrs, [x]) => inferRename(x, attrs),
  expand: (attrs, [x]) => inferExpand(x, attrs),
  slice: (attrs, [x]) => inferSlice(x, attrs),
  resize: (attrs, [x]) => inferResize(x, attrs),
};

export const inferType = <K extends Op>(
  op: K,
  attrs: Ops[K]["attrs"],
  inputs: Each<Ops[K]["inputs"], TensorType>,
): TensorType => inferRules[op](attrs, inputs);

const laidOut = (layout: Layout, type: TensorType): TensorType => {
  layoutShape(layout, type);
  return checkAxes(type);
};

const checkAxes = (type: TensorType): TensorType => {
  const names = type.axes.map(({ axis }) => axis);
  const bad = names.find((name) => reservedNames.has(name) || !/^[A-Za-z_]\w*$/.test(name));
  if (bad !== undefined) throw new GraphError(`no axis can be called "${bad}": ${printType(type)}`);
  if (new Set(names).size < names.length) throw new GraphError(`${printType(type)} has an axis twice`);
  const sizes = [...type.axes.map(({ size }) => size), type.channels];
  if (sizes.some((size) => !Number.isInteger(size) || size < 1))
    throw new GraphError(`${printType(type)} has an extent that is no positive whole number`);
  const order = names.filter((name) => type.prefix.over.includes(name));
  if (order.join() !== type.prefix.over.join()) {
    throw new GraphError(`the prefix of ${printType(type)} is not repeated over axes of the grid in their order`);
  }
  return type;
};
