import { selectNode } from "./scalarBuild.ts";
import type { BinaryOp, Scalar, UnaryOp } from "./scalar.ts";
import { binaryFunctions, unaryFunctions } from "./scalarMeaning.ts";
import { printNumber, readAll, type TextReader } from "./textReader.ts";

/**
 * The text form: `(r + 3) * 4`, `floorDiv(r, 4)`, `q.t <= k.t && !q.isPrefix`, `c < 3 ? $0 : 0`, `table0[q.t - k.t, head]`.
 * `$0` is an argument. The inverse of `parseScalar`.
 */
export const printScalar = (expr: Scalar): string => print(expr, 0);

export const parseScalar = (text: string): Scalar => readAll(text, readScalar);

/** Operators by rising precedence; those of one level group to the left. */
const levels: readonly (readonly (readonly [symbol: string, op: BinaryOp])[])[] = [
  [["||", "or"]],
  [["&&", "and"]],
  [
    ["==", "eq"],
    ["!=", "ne"],
    ["<=", "le"],
    [">=", "ge"],
    ["<", "lt"],
    [">", "gt"],
  ],
  [
    ["+", "add"],
    ["-", "sub"],
  ],
  [
    ["*", "mul"],
    ["/", "div"],
  ],
];
const selectLevel = 0;
const prefixLevel = levels.length + 1;
const infix: ReadonlyMap<BinaryOp, { readonly symbol: string; readonly level: number }> = new Map(
  levels.flatMap((ops, level) => ops.map(([symbol, op]) => [op, { symbol, level: level + 1 }] as const)),
);

const print = (expr: Scalar, context: number): string => {
  const [text, level] = printed(expr);
  return level < context ? `(${text})` : text;
};

const atomLevel = prefixLevel + 1;
const printed = (expr: Scalar): readonly [text: string, level: number] => {
  switch (expr.kind) {
    case "number":
      return [printNumber(expr.value), expr.value < 0 || Object.is(expr.value, -0) ? prefixLevel : atomLevel];
    case "variable":
      return [expr.name, atomLevel];
    case "argument":
      return [`$${expr.index}`, atomLevel];
    case "load":
      return [`table${expr.table}[${expr.index.map((index) => print(index, 0)).join(", ")}]`, atomLevel];
    case "unary":
      // `- 1` would be read as a number: the operand of a negation that is a number is put in parentheses.
      if (expr.op === "neg")
        return [`-${print(expr.of, expr.of.kind === "number" ? Infinity : prefixLevel)}`, prefixLevel];
      if (expr.op === "not") return [`!${print(expr.of, prefixLevel)}`, prefixLevel];
      return [`${expr.op}(${print(expr.of, 0)})`, atomLevel];
    case "binary": {
      const operator = infix.get(expr.op);
      if (operator === undefined) return [`${expr.op}(${print(expr.left, 0)}, ${print(expr.right, 0)})`, atomLevel];
      const { symbol, level } = operator;
      return [`${print(expr.left, level)} ${symbol} ${print(expr.right, level + 1)}`, level];
    }
    case "select":
      return [
        `${print(expr.if, selectLevel + 1)} ? ${print(expr.then, 0)} : ${print(expr.else, selectLevel)}`,
        selectLevel,
      ];
  }
};

/** Reads an expression and stops where it ends: at a comma, a closing bracket, the end. */
export const readScalar = (reader: TextReader): Scalar => {
  const condition = readLevel(reader, 0);
  if (!reader.accept("?")) return condition;
  const then = readScalar(reader);
  reader.expect(":");
  return selectNode(condition, then, readScalar(reader));
};

const readLevel = (reader: TextReader, level: number): Scalar => {
  const operators = levels[level];
  if (operators === undefined) return readPrefix(reader);
  let left = readLevel(reader, level + 1);
  for (;;) {
    // A comment may follow on the line: its `//` is no division.
    const found = reader.peek("//") ? undefined : operators.find(([symbol]) => reader.accept(symbol));
    if (found === undefined) return left;
    left = { kind: "binary", op: found[1], left, right: readLevel(reader, level + 1) };
  }
};

const readPrefix = (reader: TextReader): Scalar => {
  const value = reader.acceptNumber();
  if (value !== undefined) return { kind: "number", value };
  if (reader.accept("-")) return { kind: "unary", op: "neg", of: readPrefix(reader) };
  if (reader.accept("!")) return { kind: "unary", op: "not", of: readPrefix(reader) };
  return readAtom(reader);
};

const isUnary = (name: string): name is UnaryOp => Object.hasOwn(unaryFunctions, name);
const isBinary = (name: string): name is BinaryOp => Object.hasOwn(binaryFunctions, name);

const readAtom = (reader: TextReader): Scalar => {
  if (reader.accept("(")) {
    const inner = readScalar(reader);
    reader.expect(")");
    return inner;
  }
  reader.skipSpaces();
  const start = reader.position;
  const index = reader.match(/\$\d+/y);
  if (index !== undefined) return { kind: "argument", index: Number(index.slice(1)) };
  const name = reader.acceptName();
  if (name === undefined) return reader.fail("expected an expression");
  const table = /^table(\d+)$/.exec(name)?.[1];
  if (table !== undefined && reader.peek("[")) {
    return { kind: "load", table: Number(table), index: reader.list("[", () => readScalar(reader), "]") };
  }
  if (!reader.peek("(")) return { kind: "variable", name };
  const operands = reader.list("(", () => readScalar(reader), ")");
  const [left, right] = operands;
  if (isUnary(name) && left !== undefined && operands.length === 1) return { kind: "unary", op: name, of: left };
  if (isBinary(name) && left !== undefined && right !== undefined && operands.length === 2) {
    return { kind: "binary", op: name, left, right };
  }
  reader.position = start;
  return reader.fail(`"${name}" of ${operands.length} operands is not an operation`);
};
