import { eliminateDeadNodes } from "./deadNodes.ts";
import { GraphError } from "./errors.ts";
import type { Graph, Node, Op, Ops, Output, Span, UpTo, ValueId } from "./graph.ts";
import { type Each, inferType } from "./infer.ts";
import type { Layout } from "./layout.ts";
import { layoutShape } from "./layoutOffset.ts";
import type { Resizing } from "./resizing.ts";
import type { TensorType } from "./types.ts";

/** Makes a graph value by value. The only maker of ids: they count from 0 in order of definition. */
export type GraphBuilder = {
  /** Appends an op; throws a GraphError where its inputs don't go together. */
  readonly add: <K extends Op>(
    op: K,
    inputs: Ops[K]["inputs"],
    attrs: Ops[K]["attrs"],
    span: Span,
    path: string,
  ) => ValueId;
  readonly type: (value: ValueId) => TensorType;
  readonly node: (value: ValueId) => Node;
  readonly output: (name: string, value: ValueId, layout: Layout, upTo?: UpTo | null) => void;
  /** Makes a value readable by name as it stands. */
  readonly keep: (name: string, value: ValueId, layout: Layout) => void;
  /** A name of the checkpoint that the model knows and does not read. */
  readonly unused: (name: string) => void;
  /** How a parameter is made from one of another size. */
  readonly resizing: (name: string, how: Resizing) => void;
  /** The graph of what outputs and kept values need; values that none of them needs are left out, which gives others new ids. */
  readonly build: (deadNodes?: "keepsDeadNodes") => Graph;
};

export const createBuilder = (name: string): GraphBuilder => {
  const nodes: Node[] = [];
  const outputs: Output[] = [];
  const kept: Output[] = [];
  const unused: string[] = [];
  const resizing: { [name: string]: Resizing } = {};

  const node = (value: ValueId): Node => {
    const found = nodes[value];
    if (found === undefined) throw new GraphError(`%${value} is not a value of "${name}", which has ${nodes.length}`);
    return found;
  };
  const type = (value: ValueId): TensorType => node(value).type;
  const typesOf = <Inputs extends readonly ValueId[]>(inputs: Inputs): Each<Inputs, TensorType> =>
    inputs.map(type) as unknown as Each<Inputs, TensorType>;
  const publish =
    (list: Output[], kind: string) =>
    (as: string, value: ValueId, layout: Layout, upTo: UpTo | null = null) => {
      if (list.some((output) => output.name === as)) throw new GraphError(`there are two ${kind} called "${as}"`);
      layoutShape(layout, type(value));
      list.push({ name: as, value, layout, upTo });
    };

  return {
    add: (op, inputs, attrs, span, path) => {
      const id = nodes.length as ValueId;
      // The compiler does not see that the fields, each typed by the same op, are those of one node.
      nodes.push({ id, op, inputs, attrs, type: inferType(op, attrs, typesOf(inputs)), span, path } as unknown as Node);
      return id;
    },
    type,
    node,
    output: publish(outputs, "outputs"),
    keep: publish(kept, "kept values"),
    unused: (parameter) => {
      if (!unused.includes(parameter)) unused.push(parameter);
    },
    resizing: (parameter, how) => {
      resizing[parameter] = how;
    },
    build: (deadNodes) => {
      const graph = {
        name,
        nodes: [...nodes],
        outputs: [...outputs],
        kept: [...kept],
        unused: [...unused],
        resizing: { ...resizing },
      };
      return deadNodes === "keepsDeadNodes" ? graph : eliminateDeadNodes(graph);
    },
  };
};
