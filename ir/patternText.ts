import type { AxisNumbers, Pattern } from "./patterns.ts";
import { printScalar, readScalar } from "./scalarText.ts";
import { printNumber, readAll, type TextReader } from "./textReader.ts";

/**
 * `union(prefix, along(h, w))`, `window(h 7, w 7; shift h 3, w 3)`, `near(h 3; dilation 2; inwards)`, `every(t 2; phase query)`,
 * `where(q.t < k.t)`. The inverse of `parsePattern`.
 */
export const printPattern = (pattern: Pattern): string => {
  switch (pattern.kind) {
    case "all":
    case "prefix":
      return pattern.kind;
    case "along":
    case "same":
      return `${pattern.kind}(${pattern.axes.join(", ")})`;
    case "window":
      return `window(${printNumbers(pattern.size)}; shift ${printNumbers(pattern.shift)})`.replace("; shift )", ")");
    case "near": {
      const dilation = pattern.dilation === 1 ? "" : `; dilation ${printNumber(pattern.dilation)}`;
      return `near(${printNumbers(pattern.radius)}${dilation}; ${pattern.border})`;
    }
    case "every":
      return `every(${printNumbers(pattern.stride)}; phase ${pattern.phase === "query" ? "query" : printNumber(pattern.phase)})`;
    case "causal":
      return `causal(${pattern.axis})`;
    case "union":
    case "intersect":
      return `${pattern.kind}(${pattern.patterns.map(printPattern).join(", ")})`;
    case "where":
      return `where(${printScalar(pattern.predicate)})`;
  }
};

export const parsePattern = (text: string): Pattern => readAll(text, readPattern);

export const readPattern = (reader: TextReader): Pattern => {
  const start = reader.position;
  const kind = reader.name();
  switch (kind) {
    case "all":
    case "prefix":
      return { kind };
    case "along":
    case "same":
      return { kind, axes: reader.list("(", () => reader.name(), ")") };
    case "union":
    case "intersect":
      return { kind, patterns: reader.list("(", () => readPattern(reader), ")") };
    case "causal":
      return inParentheses(reader, () => ({ kind, axis: reader.name() }));
    case "where":
      return inParentheses(reader, () => ({ kind, predicate: readScalar(reader) }));
    case "window":
      return inParentheses(reader, () => {
        const size = readNumbers(reader);
        return { kind, size, shift: readOption(reader, "shift", () => readNumbers(reader)) ?? {} };
      });
    case "near":
      return inParentheses(reader, () => {
        const radius = readNumbers(reader);
        const dilation = readOption(reader, "dilation", () => reader.number()) ?? 1;
        reader.expect(";");
        if (reader.acceptWord("cut")) return { kind, radius, dilation, border: "cut" };
        if (reader.acceptWord("inwards")) return { kind, radius, dilation, border: "inwards" };
        return reader.fail('expected "cut" or "inwards"');
      });
    case "every":
      return inParentheses(reader, () => {
        const stride = readNumbers(reader);
        const phase = readOption(reader, "phase", () => (reader.acceptWord("query") ? "query" : reader.number()));
        return { kind, stride, phase: phase ?? "query" };
      });
    default:
      reader.position = start;
      return reader.fail(`"${kind}" is not a pattern`);
  }
};

const inParentheses = (reader: TextReader, read: () => Pattern): Pattern => {
  reader.expect("(");
  const pattern = read();
  reader.expect(")");
  return pattern;
};

/** `; word …`, if it is there. */
const readOption = <T>(reader: TextReader, word: string, read: () => T): T | undefined => {
  const start = reader.position;
  if (reader.accept(";") && reader.acceptWord(word)) return read();
  reader.position = start;
  return undefined;
};

/** `h 7, w 7`. */
export const printNumbers = (numbers: AxisNumbers): string =>
  Object.entries(numbers)
    .map(([axis, value]) => `${axis} ${printNumber(value)}`)
    .join(", ");

/** What `printNumbers` writes; nothing at all is no axes. */
export const readNumbers = (reader: TextReader): AxisNumbers => {
  const numbers: [string, number][] = [];
  for (let axis = reader.acceptName(); axis !== undefined; axis = reader.accept(",") ? reader.name() : undefined) {
    numbers.push([axis, reader.number()]);
  }
  return Object.fromEntries(numbers);
};
