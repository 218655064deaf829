import { attributeCodecs, type Codec, inputCounts, isLeaf } from "./attributeText.ts";
import { createBuilder, type GraphBuilder } from "./builder.ts";
import { GraphError } from "./errors.ts";
import type { Graph, Op, Span, ValueId } from "./graph.ts";
import { parseLayout } from "./layout.ts";
import { TextReader } from "./textReader.ts";
import { printType, readType } from "./typeText.ts";

/**
 * The graph that `printGraph` writes as this text. The types of values that read others may be left out, and places too.
 * Throws a GraphError with line and column.
 */
export const parseGraph = (text: string): Graph => {
  const reader = new TextReader(text);
  skipLines(reader);
  if (!reader.acceptWord("graph")) reader.fail('expected "graph"');
  const builder = createBuilder(reader.string());
  endLine(reader);
  let values = 0;
  for (skipLines(reader); !reader.atEnd; skipLines(reader)) {
    if (reader.accept("%")) readNode(reader, builder, values++);
    else if (reader.acceptWord("output")) readOutput(reader, builder.output);
    else if (reader.acceptWord("keep")) readOutput(reader, builder.keep);
    else if (reader.acceptWord("unused")) builder.unused(reader.string());
    else if (reader.acceptWord("resizing")) readResizing(reader, builder);
    else reader.fail("expected a value, an output, keep, unused or resizing");
    endLine(reader);
  }
  return builder.build("keepsDeadNodes");
};

const readResizing = (reader: TextReader, builder: GraphBuilder): void => {
  const name = reader.string();
  const mode = reader.acceptWord("bicubic") ? "bicubic" : "nearest";
  if (mode === "nearest" && !reader.acceptWord("nearest")) reader.fail("expected bicubic or nearest");
  const grid = reader.list("[", () => reader.number(), "]");
  if (!reader.acceptWord("after")) reader.fail('expected "after"');
  builder.resizing(name, { mode, grid, leading: reader.number() });
};

const skipLines = (reader: TextReader): void => {
  reader.match(/\s*/y);
};

const endLine = (reader: TextReader): void => {
  reader.skipSpaces();
  if (reader.match(/\r?\n|$/y) === undefined) reader.fail("expected the end of the line");
};

const isOp = (name: string): name is Op => Object.hasOwn(attributeCodecs, name);

const readNode = (reader: TextReader, builder: GraphBuilder, next: number): void => {
  const start = reader.position;
  if (reader.number() !== next) {
    reader.position = start;
    reader.fail(`expected ${next}: values are numbered in order`);
  }
  const type = reader.accept(":") ? readType(reader) : undefined;
  reader.expect("=");
  reader.skipSpaces();
  const place = reader.position;
  const op = reader.name();
  const refuse = (problem: string): never => {
    reader.position = place;
    return reader.fail(problem);
  };
  if (!isOp(op)) return refuse(`"${op}" is not an op`);
  const inputs: ValueId[] = [];
  if (reader.peek("%"))
    do inputs.push(readValue(reader, next));
    while (reader.accept(","));
  const count = inputCounts[op];
  if (typeof count === "number" ? inputs.length !== count : inputs.length < count.atLeast) {
    const wanted = typeof count === "number" ? count : `${count.atLeast} or more`;
    refuse(`${op} reads ${wanted} values, not ${inputs.length}`);
  }
  const attributes = readAttributes(reader, op);
  if (isLeaf(op)) attributes["type"] = type ?? refuse(`the type of ${op} must be written`);
  const { span, path } = readPlace(reader);
  try {
    const id = builder.add(op, inputs as never, attributes as never, span, path);
    if (type !== undefined && printType(type) !== printType(builder.type(id))) {
      refuse(`the type is written ${printType(type)}, but the inputs make it ${printType(builder.type(id))}`);
    }
  } catch (error) {
    if (error instanceof GraphError && !error.message.includes("\n")) refuse(error.message);
    throw error;
  }
};

const readValue = (reader: TextReader, next: number): ValueId => {
  reader.expect("%");
  const start = reader.position;
  const id = reader.number();
  if (Number.isInteger(id) && id >= 0 && id < next) return id as ValueId;
  reader.position = start;
  return reader.fail(`%${id} is not made before this`);
};

const readAttributes = (reader: TextReader, op: Op): { [name: string]: unknown } => {
  const codecs = Object.entries(attributeCodecs[op] as { readonly [name: string]: Codec<unknown> });
  const attributes: { [name: string]: unknown } = {};
  if (codecs.length === 0) return attributes;
  reader.expect("{");
  for (const [index, [name, codec]] of codecs.entries()) {
    if (codec.unsaid !== undefined && reader.peek("}")) {
      attributes[name] = codec.unsaid;
      continue;
    }
    if (index > 0) reader.expect(",");
    if (!reader.acceptWord(name)) reader.fail(`expected the attribute "${name}" of ${op}`);
    reader.expect("=");
    attributes[name] = codec.read(reader);
  }
  reader.expect("}");
  return attributes;
};

const readOutput = (reader: TextReader, publish: GraphBuilder["output"]): void => {
  const name = reader.string();
  reader.expect("=");
  const value = readValue(reader, Infinity);
  const layout = parseLayout(reader.string());
  const upTo = reader.acceptWord("upTo") ? { axis: reader.name(), count: reader.string() } : null;
  publish(name, value, layout, upTo);
};

const nowhere: Span = { file: "", line: 1, column: 1 };

const readPlace = (reader: TextReader): { readonly span: Span; readonly path: string } => {
  if (!reader.accept("//")) return { span: nowhere, path: "" };
  const found = /^ ?(.*):(\d+):(\d+)(?: (.*))?$/.exec(reader.match(/[^\r\n]*/y) ?? "");
  if (found === null) return reader.fail('expected a place: "file:line:column path"');
  const [, file = "", line, column, path = ""] = found;
  return { span: { file, line: Number(line), column: Number(column) }, path };
};
