import { GraphError } from "./errors.ts";
import type { Graph, Node, NodeOf, Output, UpTo } from "./graph.ts";
import { printLayout } from "./layout.ts";
import { countedDimension } from "./layoutOffset.ts";
import { loopStages } from "./loopStages.ts";
import { rowsOf } from "./types.ts";
import { printType } from "./typeText.ts";

/** One loop at most, which hands on every state, and whose values are read at their time. */
export const checkLoop = (graph: Graph): void => {
  const stages = loopStages(graph.nodes);
  const states = graph.nodes.flatMap((node) => (node.op === "state" ? [node] : []));
  const loops = graph.nodes.flatMap((node) => (node.op === "loop" ? [node] : []));
  const [loop, second] = loops;
  if (second !== undefined) throw new GraphError(`%${second.id} is a second one`);
  if (loop === undefined && states[0] !== undefined)
    throw new GraphError(`nothing hands the state "${states[0].attrs.name}" on`);
  if (loop !== undefined) checkStates(loop, states, graph);
  for (const node of graph.nodes) {
    const read = node.inputs.map((input) => stages.get(input));
    if (node.op === "state" && read.some((stage) => stage !== "before"))
      throw new GraphError(`the state "${node.attrs.name}" begins with what the loop computes`);
    if (
      node.op === "after" &&
      (graph.nodes[node.inputs[0]]?.op !== "loop" || graph.nodes[node.inputs[1]]?.op !== "state")
    )
      throw new GraphError(`%${node.id} (after) reads the loop and one of its states`);
    const mixes = read.includes("step") && (read.includes("after") || stages.get(node.id) === "after");
    if (mixes && node.op !== "after" && node.op !== "loop")
      throw new GraphError(`%${node.id} (${node.op}) reads a value of the steps, and one of when they have ended`);
  }
};

const checkStates = (loop: NodeOf<"loop">, states: readonly NodeOf<"state">[], graph: Graph): void => {
  const names = states.map(({ attrs }) => attrs.name);
  if (names.toSorted().join() !== loop.attrs.states.toSorted().join() || new Set(names).size < names.length)
    throw new GraphError(`it hands on ${loop.attrs.states.join(", ")}; the states are ${names.join(", ")}`);
  const [, ...next] = loop.inputs;
  for (const { attrs, type } of states) {
    const made = graph.nodes[next[loop.attrs.states.indexOf(attrs.name)] ?? -1];
    // A value that all examples share will do for each.
    const given = made === undefined ? "nothing" : printType({ ...made.type, batch: true });
    if (given !== printType(type))
      throw new GraphError(`the state "${attrs.name}" is ${printType(type)}, and becomes ${given}`);
  }
};

/** Outputs that a count cuts: the count is an output, one whole number of each example. */
export const checkUpTo = ({ name, layout }: Output, { axis, count }: UpTo, node: Node, graph: Graph): void => {
  const counted = graph.outputs.find((output) => output.name === count);
  const type = counted && graph.nodes[counted.value]?.type;
  if (type === undefined) throw new GraphError(`"${count}", which says how long it is, is no output`);
  if (type.element !== "int" || rowsOf(type) * type.channels !== 1)
    throw new GraphError(
      `"${count}", which says how long it is, is ${printType(type)}, not one whole number of each example`,
    );
  if (countedDimension(layout, node.type, axis) === null)
    throw new GraphError(
      `"${axis}" is not the fastest axis of a dimension in the layout "${printLayout(layout)}" of "${name}"`,
    );
};
