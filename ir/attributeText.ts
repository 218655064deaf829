import type { AxisSize, Op, Ops, WindowAxis } from "./graph.ts";
import { type Layout, parseLayout, printLayout } from "./layout.ts";
import type { Pattern } from "./patterns.ts";
import { printNumbers, printPattern, readNumbers, readPattern } from "./patternText.ts";
import { type Positions, positionTables } from "./positions.ts";
import { printScalar, readScalar } from "./scalarText.ts";
import type { Scalar } from "./scalar.ts";
import { printNumber, type TextReader } from "./textReader.ts";
import type { AxisNumbers } from "./patterns.ts";

/** How an attribute's value is written and read. */
export type Codec<T> = {
  readonly print: (value: T) => string;
  readonly read: (reader: TextReader) => T;
  /** What goes without saying, if anything does: of a last attribute. */
  readonly unsaid?: T;
};

const number: Codec<number> = { print: printNumber, read: (reader) => reader.number() };
const string: Codec<string> = { print: (value) => JSON.stringify(value), read: (reader) => reader.string() };
const axis: Codec<string> = { print: (value) => value, read: (reader) => reader.name() };
const layout: Codec<Layout> = {
  print: (value) => string.print(printLayout(value)),
  read: (reader) => parseLayout(reader.string()),
};
const scalar: Codec<Scalar> = { print: printScalar, read: readScalar };
const pattern: Codec<Pattern> = { print: printPattern, read: readPattern };

const list = <T>(item: Codec<T>): Codec<readonly T[]> => ({
  print: (values) => `[${values.map(item.print).join(", ")}]`,
  read: (reader) => reader.list("[", () => item.read(reader), "]"),
});

const word = <const W extends string>(...words: readonly W[]): Codec<W> => ({
  print: (value) => value,
  read: (reader) => words.find((each) => reader.acceptWord(each)) ?? reader.fail(`expected ${words.join(" or ")}`),
});

const boolean: Codec<boolean> = {
  print: String,
  read: (reader) => word("true", "false").read(reader) === "true",
};

const axisSize: Codec<AxisSize> = {
  print: ({ axis: name, size }) => `${name} ${printNumber(size)}`,
  read: (reader) => ({ axis: reader.name(), size: reader.number() }),
};

const axisNumbers: Codec<AxisNumbers> = {
  print: (numbers) => `[${printNumbers(numbers)}]`,
  read: (reader) => {
    reader.expect("[");
    const numbers = readNumbers(reader);
    reader.expect("]");
    return numbers;
  },
};

/** `h 3 stride 2 dilation 1 pad 1 0`; a step of one and no padding go without saying. */
const windowAxis: Codec<WindowAxis> = {
  print: ({ axis: name, size, stride, dilation, before, after }) =>
    [
      `${name} ${printNumber(size)}`,
      ...(stride === 1 ? [] : [`stride ${printNumber(stride)}`]),
      ...(dilation === 1 ? [] : [`dilation ${printNumber(dilation)}`]),
      ...(before === 0 && after === 0 ? [] : [`pad ${printNumber(before)} ${printNumber(after)}`]),
    ].join(" "),
  read: (reader) => {
    const { axis: name, size } = axisSize.read(reader);
    const stride = reader.acceptWord("stride") ? reader.number() : 1;
    const dilation = reader.acceptWord("dilation") ? reader.number() : 1;
    const padded = reader.acceptWord("pad");
    const before = padded ? reader.number() : 0;
    const after = padded ? reader.number() : 0;
    return { axis: name, size, stride, dilation, before, after };
  },
};

const overChannels: Codec<"channels" | readonly string[]> = {
  print: (value) => (value === "channels" ? value : list(axis).print(value)),
  read: (reader) => (reader.acceptWord("channels") ? "channels" : list(axis).read(reader)),
};

const alongAxis: Codec<"channels" | { readonly axis: string }> = {
  print: (value) => (value === "channels" ? value : `axis ${value.axis}`),
  read: (reader) => {
    if (reader.acceptWord("channels")) return "channels";
    word("axis").read(reader);
    return { axis: reader.name() };
  },
};

/** `h query 0 value 2`: the axis, and the tables of the terms that there are. */
const positions: Codec<Positions | null> = {
  unsaid: null,
  print: (value) =>
    value === null ? "" : [value.axis, ...positionTables(value).map(({ role, table }) => `${role} ${table}`)].join(" "),
  read: (reader) => {
    const name = reader.name();
    const term = (role: string): number | null => (reader.acceptWord(role) ? reader.number() : null);
    return { axis: name, query: term("query"), key: term("key"), value: term("value") };
  },
};

/** `[h y]`: from, to. */
const renames: Codec<{ readonly [from: string]: string }> = {
  print: (value) =>
    `[${Object.entries(value)
      .map(([from, to]) => `${from} ${to}`)
      .join(", ")}]`,
  read: (reader) => Object.fromEntries(reader.list("[", () => [reader.name(), reader.name()] as const, "]")),
};

const scoreScale: Codec<number | null> = {
  unsaid: null,
  print: (value) => (value === null ? "" : printNumber(value)),
  read: (reader) => reader.number(),
};

type WrittenAttrs<K extends Op> = Omit<Ops[K]["attrs"], "type">;
/** Every attribute of every op, in the order they are printed; the type of an op that reads nothing stands in front of it. */
export const attributeCodecs: {
  readonly [K in Op]: { readonly [A in keyof WrittenAttrs<K>]: Codec<WrittenAttrs<K>[A]> };
} = {
  input: { name: string, layout },
  parameter: { name: string, shape: list(number), layout },
  constant: { values: list(number) },
  linear: {},
  conv: { window: list(windowAxis), groups: number },
  pointwise: { body: scalar },
  round: {},
  normalize: { eps: number, groups: number, axes: list(axis) },
  softmax: { over: overChannels },
  reduce: { kind: word("mean", "sum", "max", "argmax"), axes: list(axis) },
  topK: { count: number, axes: list(axis) },
  histogram: { bins: number, axes: list(axis) },
  take: { axis },
  pool: { kind: word("mean", "max"), window: list(windowAxis), countPadding: boolean },
  attend: {
    heads: number,
    scale: number,
    pattern,
    score: scalar,
    normalize: word("softmax", "count", "none"),
    positions,
  },
  sample: {
    axes: list(axis),
    heads: list(axis),
    levels: list(axis),
    over: list(axis),
    coordinates: word("pixels", "edges", "centres"),
    padding: word("zeros", "border"),
    normalize: word("softmax", "none"),
    scale: scoreScale,
  },
  state: { name: string },
  loop: { states: list(string), atMost: number },
  after: {},
  grid: {},
  prefix: {},
  withPrefix: {},
  repeatPrefix: { over: list(axis) },
  meanPrefix: { over: list(axis) },
  channels: { groups: number, start: number, width: number },
  concat: { over: alongAxis },
  merge: { size: list(axisSize) },
  unmerge: { size: list(axisSize) },
  pad: { before: axisNumbers, after: axisNumbers },
  unpack: { sizes: list(axisSize) },
  pack: { axes: list(axis) },
  rename: { axes: renames },
  expand: { sizes: list(axisSize) },
  slice: { axis, start: number, step: number, size: number },
  resize: { to: list(axisSize), mode: word("nearest", "bilinear", "bicubic"), alignCorners: boolean },
};

/** Ops that are told their type. */
export const isLeaf = (op: Op): boolean => op === "input" || op === "parameter" || op === "constant";

/** How many values each op reads; from so many on where that is open. */
export const inputCounts: {
  readonly [K in Op]: number extends Ops[K]["inputs"]["length"]
    ? { readonly atLeast: number }
    : Ops[K]["inputs"]["length"];
} = {
  input: 0,
  parameter: 0,
  constant: 0,
  linear: 2,
  conv: 2,
  pointwise: { atLeast: 1 },
  round: 1,
  normalize: 1,
  softmax: 1,
  reduce: 1,
  topK: 1,
  histogram: 1,
  take: 2,
  pool: 1,
  attend: { atLeast: 3 },
  sample: { atLeast: 3 },
  state: 1,
  loop: { atLeast: 1 },
  after: 2,
  grid: 1,
  prefix: 1,
  withPrefix: 2,
  repeatPrefix: 1,
  meanPrefix: 1,
  channels: 1,
  concat: { atLeast: 1 },
  merge: 1,
  unmerge: 1,
  pad: 1,
  unpack: 1,
  pack: 1,
  rename: 1,
  expand: 1,
  slice: 1,
  resize: 1,
};
