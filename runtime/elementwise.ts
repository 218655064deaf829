import type { BinaryOp, Scalar, UnaryOp } from "../ir/scalar.ts";
import { binaryFunctions, unaryFunctions } from "../ir/scalarMeaning.ts";
import { RuntimeError } from "./errors.ts";
import { broadcast, broadcastShape, countOf, type Values } from "./values.ts";

/**
 * The body at every position, over operands that broadcast. Worked out a block of positions at a time, one operation of
 * the body after the other, so that each inner loop is a plain one over arrays.
 */
export const elementwise = (operands: readonly Values[], body: Scalar): Values => {
  const shape = broadcastShape(operands.map((operand) => operand.shape));
  const count = countOf(shape);
  const sources = operands.map((operand) => sourceOf(operand, shape));
  const result = new Float64Array(count);
  const program = compile(body, sources);
  for (let start = 0; start < count; start += blockSize) {
    const size = Math.min(blockSize, count - start);
    const block = program(start, size);
    result.set(size === blockSize ? block : block.subarray(0, size), start);
  }
  return { shape, data: result };
};

/** 32 KiB: a body's few blocks stay in the cache. */
const blockSize = 4096;

/** Fills or finds the block of positions from `start`; valid until its next call. */
type Block = (start: number, size: number) => Float64Array;

/** An operand that is not repeated is read where it lies; one that is, in runs: a row along columns, a column along rows. */
const sourceOf = (operand: Values, shape: readonly number[]): Block => {
  const count = countOf(shape);
  const { data } = operand;
  if (data.length === count) return (start, size) => data.subarray(start, start + size);
  if (data.length === 1) return constant(data[0] ?? 0);
  const inner = countOf(shape.slice(1));
  const scratch = new Float64Array(blockSize);
  // By its shape and not by its size: in a square, a row and a column have as many elements.
  const isColumn = operand.shape.length === 2 && operand.shape[1] === 1;
  if (shape.length === 2 && !isColumn && data.length === inner)
    return (start, size) => {
      for (let i = 0, at = start % inner; i < size;) {
        const run = Math.min(size - i, inner - at);
        scratch.set(data.subarray(at, at + run), i);
        i += run;
        at = 0;
      }
      return scratch;
    };
  if (shape.length === 2 && isColumn && data.length === shape[0])
    return (start, size) => {
      for (let i = 0; i < size;) {
        const row = Math.floor((start + i) / inner);
        const end = Math.min(size, (row + 1) * inner - start);
        scratch.fill(data[row] ?? 0, i, end);
        i = end;
      }
      return scratch;
    };
  const repeated = broadcast(operand, shape).data;
  return (start, size) => repeated.subarray(start, start + size);
};

const compile = (body: Scalar, sources: readonly Block[]): Block => {
  switch (body.kind) {
    case "number":
      return constant(body.value);
    case "argument": {
      const source = sources[body.index];
      if (source === undefined)
        throw new RuntimeError(`a weight's expression reads argument ${body.index} of ${sources.length}`);
      return source;
    }
    case "unary":
      return unary(body.op, compile(body.of, sources));
    case "binary":
      return binary(body.op, compile(body.left, sources), compile(body.right, sources));
    case "select":
      return select(compile(body.if, sources), compile(body.then, sources), compile(body.else, sources));
    case "variable":
    case "load":
      throw new RuntimeError(`a weight's expression may read its operands only, not a ${body.kind}`);
  }
};

const constant = (value: number): Block => {
  const block = new Float64Array(blockSize).fill(value);
  return () => block;
};

const unary = (op: UnaryOp, of: Block): Block => {
  const result = new Float64Array(blockSize);
  const apply = unaryFunctions[op];
  return (start, size) => {
    const x = of(start, size);
    for (let i = 0; i < size; i++) result[i] = apply(x[i] ?? 0);
    return result;
  };
};

type Loop = (result: Float64Array, left: Float64Array, right: Float64Array, size: number) => void;
const loops: { readonly [O in BinaryOp]?: Loop } = {
  add: (result, left, right, size) => {
    for (let i = 0; i < size; i++) result[i] = (left[i] ?? 0) + (right[i] ?? 0);
  },
  sub: (result, left, right, size) => {
    for (let i = 0; i < size; i++) result[i] = (left[i] ?? 0) - (right[i] ?? 0);
  },
  mul: (result, left, right, size) => {
    for (let i = 0; i < size; i++) result[i] = (left[i] ?? 0) * (right[i] ?? 0);
  },
  div: (result, left, right, size) => {
    for (let i = 0; i < size; i++) result[i] = (left[i] ?? 0) / (right[i] ?? 0);
  },
};

const binary = (op: BinaryOp, left: Block, right: Block): Block => {
  const result = new Float64Array(blockSize);
  const apply = binaryFunctions[op];
  const loop: Loop =
    loops[op] ??
    ((to, a, b, size) => {
      for (let i = 0; i < size; i++) to[i] = apply(a[i] ?? 0, b[i] ?? 0);
    });
  return (start, size) => {
    loop(result, left(start, size), right(start, size), size);
    return result;
  };
};

const select = (test: Block, then: Block, otherwise: Block): Block => {
  const result = new Float64Array(blockSize);
  return (start, size) => {
    const [chosen, a, b] = [test(start, size), then(start, size), otherwise(start, size)];
    for (let i = 0; i < size; i++) result[i] = (chosen[i] === 0 ? b[i] : a[i]) ?? 0;
    return result;
  };
};
