import { attributeCodecs, type Codec } from "./attributeText.ts";
import type { Graph, Node, Op, Output, Span } from "./graph.ts";
import { printLayout } from "./layout.ts";
import { printType } from "./typeText.ts";

/**
 * The text form of a graph, one value a line: id, type, op, what it reads, attributes, and where it was made:
 *   %3: [b, prefix 1, t 4; 64] = linear %1, %2 // models/x.ts:14:18 model.blocks.0.attn
 * The inverse of `parseGraph`.
 */
export const printGraph = (graph: Graph): string =>
  [
    `graph ${JSON.stringify(graph.name)}`,
    ...graph.nodes.map(printNode),
    ...graph.outputs.map((output) => printOutput("output", output)),
    ...graph.kept.map((output) => printOutput("keep", output)),
    ...graph.unused.map((name) => `unused ${JSON.stringify(name)}`),
    ...Object.entries(graph.resizing).map(
      ([name, { mode, grid, leading }]) =>
        `resizing ${JSON.stringify(name)} ${mode} [${grid.join(", ")}] after ${leading}`,
    ),
    "",
  ].join("\n");

const printNode = (node: Node): string => {
  const inputs = node.inputs.map((input) => ` %${input}`).join(",");
  const codecs = Object.entries(attributeCodecs[node.op] as { readonly [name: string]: Codec<unknown> });
  const values = node.attrs as { readonly [name: string]: unknown };
  const attributes = codecs
    .filter(([name, codec]) => codec.unsaid === undefined || values[name] !== codec.unsaid)
    .map(([name, codec]) => `${name}=${codec.print(values[name])}`);
  const braces = attributes.length > 0 ? ` {${attributes.join(", ")}}` : "";
  return `%${node.id}: ${printType(node.type)} = ${node.op satisfies Op}${inputs}${braces}${printPlace(node.span, node.path)}`;
};

const printOutput = (kind: string, { name, value, layout, upTo }: Output): string =>
  `${kind} ${JSON.stringify(name)} = %${value} ${JSON.stringify(printLayout(layout))}${upTo === null ? "" : ` upTo ${upTo.axis} ${JSON.stringify(upTo.count)}`}`;

/** Where nothing is known, there is nothing to say. */
const printPlace = ({ file, line, column }: Span, path: string): string =>
  file === "" && path === "" ? "" : ` // ${file}:${line}:${column}${path === "" ? "" : ` ${path}`}`;
