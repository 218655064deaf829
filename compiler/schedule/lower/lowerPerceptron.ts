import type { Node, NodeOf, ValueId } from "../../../ir/graph.ts";
import { argument, literal, mul, variable } from "../../../ir/scalarBuild.ts";
import type { Scalar } from "../../../ir/scalar.ts";
import { simplify } from "../../../ir/scalarSimplify.ts";
import { substitute, substituteArguments } from "../../../ir/scalarWalk.ts";
import { rowsOf } from "../../../ir/types.ts";
import type { Access, PerceptronKernel } from "../kernels.ts";
import type { Context, Launch } from "./context.ts";
import { groupedTerms } from "./lowerMap.ts";
import { epilogueOf } from "./lowerProduct.ts";
import { broadcastElement, buffersOf, createOperands, rowRanges, storesOf, type Operands } from "./operands.ts";
import { describe, launchWork, perceptronOrigin } from "./origin.ts";
import type { Perceptron } from "./perceptrons.ts";

const [r, n, i, o] = ["r", "n", "i", "o"].map(variable) as [Scalar, Scalar, Scalar, Scalar];

/** A product of few results, and all that its rows are made of. */
export const lowerPerceptron = (context: Context, perceptron: Perceptron, result: ValueId): Launch => {
  const { head, bias, norm, activation, tail } = perceptron;
  const into = createOperands(context);
  const { type } = tail;
  const columns = type.channels;
  const hidden = rowRanges(head.type);
  const { over, term } = termsOf(context, perceptron, into);
  const weight = context.view(tail.inputs[1]);
  // Elsewhere results count channels as `n`, which counts hidden elements here.
  const atResult = (access: Access): Access => ({
    ...access,
    offset: substitute(access.offset, { n: o }),
    valid: substitute(access.valid, { n: o }),
  });
  const epilogue = epilogueOf(context, head.id, into, tail.id);
  const kernel: PerceptronKernel = {
    kind: "perceptron",
    precision: context.precision,
    operands: into.operands,
    space: { rows: rowsOf(type), batched: type.batch },
    hidden: head.type.channels,
    over,
    term,
    start:
      bias === null
        ? { body: literal(0), elements: [] }
        : {
            body: argument(0),
            elements: [into.access(broadcastElement(context.view(bias.value), head.type, r, n), hidden)],
          },
    norm: norm === null ? null : { eps: norm.attrs.eps },
    activation: functionOf(context, activation, (norm ?? bias?.node ?? head).id, into),
    weight: into.access(weight.grid({ out: o }, n), { ...hidden, o: { min: 0, max: columns - 1 } }),
    columns,
    epilogue: { body: epilogue.body, elements: epilogue.elements.map(atResult) },
    stores: storesOf(context, result, into).map(atResult),
  };
  const isWritten = new Set(kernel.stores.map(({ operand }) => operand));
  return {
    kernel,
    sources: into.sources,
    weights: [],
    reads: buffersOf(into.sources),
    writes: buffersOf(into.sources.filter((_, operand) => isWritten.has(operand))),
    inPlace: [],
    stage: context.stageOf(result),
    origin: perceptronOrigin(context, perceptron, result),
    shapes: describe(context, head, result),
    work: launchWork(context, head, result, 2 * rowsOf(type) * head.type.channels * (over + columns)),
  };
};

/** What hidden elements are sums of. */
const termsOf = (
  context: Context,
  { head, terms }: Perceptron,
  into: Operands,
): Pick<PerceptronKernel, "over" | "term"> => {
  if (head.op === "conv") {
    const { over, elements } = groupedTerms(context, head, into);
    return { over, term: { body: mul(argument(0), argument(1)), elements } };
  }
  const x = context.roles.node(head.inputs[0]);
  const over = x.type.channels;
  const ranges = { ...rowRanges(head.type), i: { min: 0, max: over - 1 } };
  const inputs = terms?.inputs ?? [x.id];
  const elements = inputs.map((id) => into.access(broadcastElement(context.view(id), x.type, r, i), ranges));
  const factor = into.access(context.view(head.inputs[1]).grid({ out: n }, i), ranges);
  const body = terms?.attrs.body ?? argument(0);
  return { over, term: { body: mul(body, argument(inputs.length)), elements: [...elements, factor] } };
};

/** A pointwise op, the value `of` being argument 0. */
const functionOf = (
  context: Context,
  node: NodeOf<"pointwise"> | null,
  of: Node["id"],
  into: Operands,
): PerceptronKernel["activation"] => {
  if (node === null) return { body: argument(0), elements: [] };
  const own = node.inputs.indexOf(of);
  const ranges = rowRanges(node.type);
  return {
    body: simplify(
      substituteArguments(node.attrs.body, (index) => argument(index === own ? 0 : index < own ? index + 1 : index)),
      ranges,
    ),
    elements: node.inputs
      .filter((_, index) => index !== own)
      .map((id) => into.access(broadcastElement(context.view(id), node.type, r, n), ranges)),
  };
};
