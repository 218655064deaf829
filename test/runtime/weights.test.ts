import * as fc from "fast-check";
import { describe, expect, test } from "vitest";
import type { WeightExpr, WeightOrder } from "../../ir/program.ts";
import type { Scalar } from "../../ir/scalar.ts";
import { evaluateScalar } from "../../ir/scalarEvaluate.ts";
import type { Checkpoint } from "../../runtime/checkpoint.ts";
import { fromStorage } from "../../runtime/storage.ts";
import { evaluateWeight, prepareWeights } from "../../runtime/weights.ts";
import { checkpointWith, noWeights } from "./programs.ts";

/** An array as a function of its position: the plainest statement of what each expression means. */
type Plain = { readonly shape: readonly number[]; readonly at: (position: readonly number[]) => number };

const plain = (expr: WeightExpr, checkpoint: Checkpoint): Plain => {
  const of = (part: WeightExpr): Plain => plain(part, checkpoint);
  switch (expr.kind) {
    case "parameter": {
      const values = checkpoint.tensors.get(expr.name)?.values() ?? [];
      return { shape: expr.shape, at: (position) => values[flat(expr.shape, position)] ?? Number.NaN };
    }
    case "constant":
      return { shape: expr.shape, at: (position) => expr.values[flat(expr.shape, position)] ?? Number.NaN };
    case "reshape": {
      const source = of(expr.of);
      return { shape: expr.shape, at: (position) => source.at(unflat(source.shape, flat(expr.shape, position))) };
    }
    case "permute": {
      const source = of(expr.of);
      return {
        shape: expr.order.map((axis) => source.shape[axis] ?? 0),
        at: (position) => source.at(source.shape.map((_, axis) => position[expr.order.indexOf(axis)] ?? 0)),
      };
    }
    case "slice": {
      const source = of(expr.of);
      return {
        shape: source.shape.with(expr.axis, expr.size),
        at: (position) => source.at(position.with(expr.axis, expr.start + expr.step * (position[expr.axis] ?? 0))),
      };
    }
    case "take": {
      const source = of(expr.of);
      return {
        shape: source.shape.with(expr.axis, expr.index.length),
        at: (position) => source.at(position.with(expr.axis, expr.index[position[expr.axis] ?? 0] ?? -1)),
      };
    }
    case "concat": {
      const parts = expr.of.map(of);
      const sizes = parts.map((part) => part.shape[expr.axis] ?? 0);
      return {
        shape: (parts[0]?.shape ?? []).with(
          expr.axis,
          sizes.reduce((a, b) => a + b, 0),
        ),
        at: (position) => {
          let index = position[expr.axis] ?? 0;
          let part = 0;
          while (index >= (sizes[part] ?? Infinity)) index -= sizes[part++] ?? 0;
          return parts[part]?.at(position.with(expr.axis, index)) ?? Number.NaN;
        },
      };
    }
    case "pad": {
      const source = of(expr.of);
      return {
        shape: expr.shape,
        at: (position) =>
          position.every((index, axis) => index < (source.shape[axis] ?? 0)) ? source.at(position) : expr.fill,
      };
    }
    case "matmul": {
      const [left, right] = [of(expr.left), of(expr.right)];
      const inner = left.shape[1] ?? 0;
      return {
        shape: [left.shape[0] ?? 0, right.shape[1] ?? 0],
        at: ([row = 0, column = 0]) => sumOver(inner, (k) => left.at([row, k]) * right.at([k, column])),
      };
    }
    case "elementwise": {
      const parts = expr.of.map(of);
      const rank = Math.max(0, ...parts.map((part) => part.shape.length));
      const shape = Array.from({ length: rank }, (_, axis) =>
        parts.map((part) => part.shape[axis - rank + part.shape.length] ?? 1).reduce((a, b) => (a === 1 ? b : a)),
      );
      return {
        shape,
        at: (position) =>
          evaluateScalar(expr.body, {
            arguments: parts.map((part) =>
              part.at(
                part.shape.map((size, axis) => (size === 1 ? 0 : (position[axis + rank - part.shape.length] ?? 0))),
              ),
            ),
          }),
      };
    }
    case "sum": {
      const source = of(expr.of);
      return {
        shape: source.shape.toSpliced(expr.axis, 1),
        at: (position) => sumOver(source.shape[expr.axis] ?? 0, (i) => source.at(position.toSpliced(expr.axis, 0, i))),
      };
    }
    case "rounded": {
      const source = of(expr.of);
      return { shape: source.shape, at: (position) => Math.fround(source.at(position)) };
    }
    case "interpolate": {
      const source = of(expr.of);
      return {
        shape: source.shape.with(expr.axis, expr.index.length),
        at: (position) => {
          const i = position[expr.axis] ?? 0;
          const index = expr.index[i] ?? [];
          return sumOver(
            index.length,
            (j) => (expr.weights[i]?.[j] ?? 0) * source.at(position.with(expr.axis, index[j] ?? -1)),
          );
        },
      };
    }
    case "pack":
      throw new Error("packs are compared with the orders' own words below");
  }
};
const sumOver = (count: number, term: (i: number) => number): number => {
  let sum = 0;
  for (let i = 0; i < count; i++) sum += term(i);
  return sum;
};
const flat = (shape: readonly number[], position: readonly number[]): number =>
  shape.reduce((at, size, axis) => at * size + (position[axis] ?? 0), 0);
const unflat = (shape: readonly number[], index: number): readonly number[] => {
  let rest = index;
  return shape.map((_, axis) => {
    const inner = shape.slice(axis + 1).reduce((a, b) => a * b, 1);
    const at = Math.floor(rest / inner);
    rest -= at * inner;
    return at;
  });
};
const positions = (shape: readonly number[]): readonly (readonly number[])[] =>
  Array.from({ length: shape.reduce((a, b) => a * b, 1) }, (_, i) => unflat(shape, i));

const expectMeaning = (expr: WeightExpr, checkpoint: Checkpoint): void => {
  const expected = plain(expr, checkpoint);
  const actual = evaluateWeight(expr, checkpoint);
  expect(actual.shape).toEqual(expected.shape);
  const wanted = positions(expected.shape).map(expected.at);
  expect(actual.data).toHaveLength(wanted.length);
  for (const [i, value] of wanted.entries()) {
    const near = actual.data[i] ?? Number.NaN;
    if (near !== value) expect(near).toBeCloseTo(value, 9);
  }
};

const argument = (index: number): Scalar => ({ kind: "argument", index });
const binary = (op: "add" | "mul" | "div" | "max" | "lt", left: Scalar, right: Scalar): Scalar => ({
  kind: "binary",
  op,
  left,
  right,
});
const bodies: readonly Scalar[] = [
  argument(0),
  binary("mul", argument(0), argument(1)),
  binary("add", binary("div", argument(1), { kind: "number", value: 3 }), {
    kind: "unary",
    op: "tanh",
    of: argument(0),
  }),
  {
    kind: "select",
    if: binary("lt", argument(0), argument(1)),
    then: argument(1),
    else: { kind: "unary", op: "neg", of: argument(0) },
  },
  binary("max", argument(0), { kind: "number", value: 0.25 }),
];

const size = fc.integer({ min: 1, max: 4 });
const number = fc.double({ min: -4, max: 4, noNaN: true });
const leaf = (shape: readonly number[]): fc.Arbitrary<WeightExpr> => {
  const count = shape.reduce((a, b) => a * b, 1);
  return fc
    .array(number, { minLength: count, maxLength: count })
    .map((values) => ({ kind: "constant", shape, values }));
};
/** Any expression of a shape, a few operations deep. */
const expression = (shape: readonly number[], depth: number): fc.Arbitrary<WeightExpr> => {
  if (depth === 0) return leaf(shape);
  const next = (of: readonly number[]): fc.Arbitrary<WeightExpr> => expression(of, depth - 1);
  const axisOf = fc.nat({ max: Math.max(0, shape.length - 1) });
  const ways: fc.Arbitrary<WeightExpr>[] = [
    leaf(shape),
    next(shape).map((of) => ({ kind: "rounded", of, storage: "f32" })),
    next([shape.reduce((a, b) => a * b, 1)]).map((of) => ({ kind: "reshape", of, shape })),
    fc
      .tuple(fc.nat({ max: shape.length }), size)
      .chain(([axis, extent]) =>
        next(shape.toSpliced(axis, 0, extent)).map((of): WeightExpr => ({ kind: "sum", of, axis })),
      ),
    fc
      .tuple(
        fc.constantFrom(...bodies),
        fc.array(fc.boolean(), { minLength: shape.length, maxLength: shape.length }),
        fc.nat({ max: shape.length }),
      )
      .chain(([body, repeated, dropped]) =>
        fc
          .tuple(next(shape), next(shape.map((extent, axis) => (repeated[axis] === true ? 1 : extent)).slice(dropped)))
          .map((of): WeightExpr => ({ kind: "elementwise", of, body })),
      ),
  ];
  if (shape.length > 0) {
    ways.push(
      fc.shuffledSubarray([...shape.keys()], { minLength: shape.length, maxLength: shape.length }).chain((order) =>
        next(shape.map((_, axis) => shape[order.indexOf(axis)] ?? 1)).map((of): WeightExpr => ({
          kind: "permute",
          of,
          order,
        })),
      ),
      fc.tuple(axisOf, fc.nat({ max: 2 }), fc.integer({ min: 1, max: 3 })).chain(([axis, start, step]) => {
        const extent = shape[axis] ?? 1;
        return next(shape.with(axis, start + step * extent)).map((of): WeightExpr => ({
          kind: "slice",
          of,
          axis,
          start,
          step,
          size: extent,
        }));
      }),
      fc
        .tuple(axisOf, size)
        .chain(([axis, extent]) =>
          fc
            .tuple(
              next(shape.with(axis, extent)),
              fc.array(fc.nat({ max: extent - 1 }), { minLength: shape[axis] ?? 1, maxLength: shape[axis] ?? 1 }),
            )
            .map(([of, index]): WeightExpr => ({ kind: "take", of, axis, index })),
        ),
      fc.tuple(axisOf, size).chain(([axis, extent]) => {
        const many = { minLength: shape[axis] ?? 1, maxLength: shape[axis] ?? 1 };
        const pair = <T>(each: fc.Arbitrary<T>): fc.Arbitrary<T[]> => fc.array(each, { minLength: 2, maxLength: 2 });
        return fc
          .tuple(
            next(shape.with(axis, extent)),
            fc.array(pair(fc.nat({ max: extent - 1 })), many),
            fc.array(pair(number), many),
          )
          .map(([of, index, weights]): WeightExpr => ({ kind: "interpolate", of, axis, index, weights }));
      }),
      axisOf.chain((axis) =>
        fc
          .nat({ max: shape[axis] ?? 1 })
          .chain((first) =>
            fc
              .tuple(next(shape.with(axis, first)), next(shape.with(axis, (shape[axis] ?? 1) - first)))
              .map((of): WeightExpr => ({ kind: "concat", of, axis })),
          ),
      ),
      fc
        .tuple(fc.array(fc.nat({ max: 2 }), { minLength: shape.length, maxLength: shape.length }), number)
        .chain(([cut, fill]) =>
          next(shape.map((extent, axis) => Math.max(0, extent - (cut[axis] ?? 0)))).map((of): WeightExpr => ({
            kind: "pad",
            of,
            shape,
            fill,
          })),
        ),
    );
  }
  const [rows = 1, columns = 1] = shape;
  if (shape.length === 2)
    ways.push(
      size.chain((inner) =>
        fc
          .tuple(next([rows, inner]), next([inner, columns]))
          .map(([left, right]): WeightExpr => ({ kind: "matmul", left, right })),
      ),
    );
  return fc.oneof(...ways);
};

const counting = (count: number, from = 0): number[] =>
  Array.from({ length: count }, (_, i) => ((i + from) * 7919) % 1013);

describe("a weight's expression", () => {
  test("means what each of its operations says", () => {
    fc.assert(
      fc.property(
        fc.array(size, { maxLength: 3 }).chain((shape) => expression(shape, 3)),
        (expr) => expectMeaning(expr, noWeights),
      ),
      { numRuns: 600 },
    );
  });

  test("is right beyond one block of positions and one band of a product", () => {
    const matrix = (rows: number, columns: number): WeightExpr => ({
      kind: "constant",
      shape: [rows, columns],
      values: counting(rows * columns).map((each) => each / 512 - 1),
    });
    const body = binary("mul", argument(0), argument(1));
    const operands: readonly (readonly [rows: number, columns: number, other: readonly number[]])[] = [
      [97, 131, [97, 1]],
      [97, 131, [1, 131]],
      [97, 131, [131]],
      [97, 131, [97, 131]],
      [97, 131, [1, 1]],
      [89, 89, [89, 1]],
      [89, 89, [89]],
    ];
    for (const [rows, columns, shape] of operands) {
      const other: WeightExpr = {
        kind: "constant",
        shape,
        values: counting(
          shape.reduce((a, b) => a * b, 1),
          5,
        ),
      };
      expectMeaning({ kind: "elementwise", of: [matrix(rows, columns), other], body }, noWeights);
    }
    expectMeaning({ kind: "matmul", left: matrix(5, 201), right: matrix(201, 7) }, noWeights);
    expectMeaning({ kind: "matmul", left: matrix(9, 131), right: matrix(131, 1) }, noWeights);
  });

  test.each<WeightOrder>([
    { kind: "fragments", tileN: 64, tileK: 32, group: 32 },
    { kind: "fragments", tileN: 32, tileK: 64, group: 16 },
    { kind: "fragments", tileN: 48, tileK: 16, group: 16 },
    { kind: "fragments32", tileN: 48, tileK: 32 },
    { kind: "tiles", tileN: 24, tileK: 10 },
  ])("in the order %o lies where the order says, with zeros behind", (order) => {
    const [columns, depth] = [70, 50];
    const values = counting(columns * depth).map((each) => each + 1);
    const packed = evaluateWeight(
      { kind: "pack", of: { kind: "constant", shape: [columns, depth], values }, order },
      noWeights,
    ).data;
    const { tileN, tileK } = order;
    const floor = Math.floor;
    const [tilesN, tilesK] = [Math.ceil(columns / tileN), Math.ceil(depth / tileK)];
    expect(packed).toHaveLength(tilesN * tilesK * tileN * tileK);
    const seen = new Set<string>();
    let at = 0;
    const expectNext = (n: number, k: number): void => {
      expect(packed[at++]).toBe(n < columns && k < depth ? values[n * depth + k] : 0);
      seen.add(`${n},${k}`);
    };
    for (let i = 0; i < tilesN; i++)
      for (let j = 0; j < tilesK; j++) {
        if (order.kind === "tiles") {
          for (let k = 0; k < tileK; k++) for (let n = 0; n < tileN; n++) expectNext(i * tileN + n, j * tileK + k);
          continue;
        }
        if (order.kind === "fragments32") {
          for (let s = 0; s < tileK / 16; s++)
            for (let b = 0; b < tileN / 16; b++)
              for (let h = 0; h < 2; h++)
                for (let l = 0; l < 32; l++)
                  for (let e = 0; e < 4; e++)
                    expectNext(
                      i * tileN + b * 16 + floor(l / 8) * 4 + h * 2 + (floor(l / 4) % 2),
                      j * tileK + s * 16 + (l % 4) * 4 + e,
                    );
          continue;
        }
        const { group } = order;
        for (let s = 0; s < tileK / 16; s++)
          for (let b = 0; b < tileN / 16; b++)
            for (let l = 0; l < 32; l++)
              for (let e = 0; e < 8; e++) {
                const k = j * tileK + s * 16 + (floor(e / 2) % 2) * 8 + (l % 4) * 2 + (e % 2);
                const p = i * tileN + b * 16 + floor(e / 4) * 8 + floor(l / 4);
                const n = p - (p % group) + floor((p % 8) / 2) * (group / 4) + floor((p % group) / 8) * 2 + (p % 2);
                expectNext(n, k);
              }
      }
    // Every element of the padded matrix is there once.
    expect(seen.size).toBe(packed.length);
  });

  test("that cannot be is refused with the shapes", () => {
    const of: WeightExpr = { kind: "constant", shape: [2, 3], values: [1, 2, 3, 4, 5, 6] };
    const refused = (expr: WeightExpr): string => {
      try {
        evaluateWeight(expr, noWeights);
        return "no error";
      } catch (error) {
        return error instanceof Error ? error.message : String(error);
      }
    };
    expect(refused({ kind: "reshape", of, shape: [4] })).toBe("cannot reshape [2, 3] to [4]");
    expect(refused({ kind: "permute", of, order: [0, 0] })).toMatch(/not an order of the axes of \[2, 3\]/);
    expect(refused({ kind: "take", of, axis: 1, index: [3] })).toMatch(/index 3 is outside of axis 1 of \[2, 3\]/);
    expect(refused({ kind: "slice", of, axis: 0, start: 1, step: 1, size: 2 })).toMatch(/index 2 is outside/);
    expect(refused({ kind: "matmul", left: of, right: of })).toBe("cannot multiply [2, 3] by [2, 3]");
    expect(refused({ kind: "pad", of, shape: [2, 2], fill: 0 })).toBe("cannot pad [2, 3] to [2, 2]");
    expect(refused({ kind: "sum", of, axis: 2 })).toBe("[2, 3] has no axis 2");
    expect(refused({ kind: "concat", of: [of, { kind: "constant", shape: [1, 2], values: [0, 0] }], axis: 0 })).toMatch(
      /cannot concatenate \[1, 2\]/,
    );
    expect(
      refused({ kind: "elementwise", of: [of, { kind: "constant", shape: [2], values: [0, 0] }], body: argument(0) }),
    ).toMatch(/do not broadcast/);
    expect(refused({ kind: "elementwise", of: [of], body: argument(1) })).toMatch(/reads argument 1 of 1/);
    expect(refused({ kind: "parameter", name: "w", shape: [1] })).toBe('"test.safetensors" has no parameter "w"');
  });
});

describe("prepared weights", () => {
  const w: WeightExpr = { kind: "parameter", name: "w", shape: [2, 2] };
  const doubled = (): WeightExpr => ({
    kind: "elementwise",
    of: [{ ...w }],
    body: binary("add", argument(0), argument(0)),
  });

  test("evaluate equal expressions once, wherever they stand, and mistake none for equal", () => {
    let reads = 0;
    const checkpoint: Checkpoint = {
      source: "test",
      tensors: new Map([["w", { shape: [2, 2], values: () => (reads++, Float32Array.of(1, 2, 3, 4)) }]]),
    };
    const filled = (fill: number): WeightExpr => ({ kind: "pad", of: doubled(), shape: [2, 3], fill });
    const expressions: WeightExpr[] = [
      doubled(),
      { kind: "sum", of: doubled(), axis: 1 },
      { kind: "matmul", left: doubled(), right: w },
      filled(Infinity),
      filled(-Infinity),
      filled(0),
      doubled(),
    ];
    const weights = expressions.map((value, i) => ({
      name: `w${i}`,
      storage: "f32" as const,
      offset: 0,
      bytes: [16, 8, 16, 24, 24, 24, 16][i] ?? 0,
      value,
    }));
    const prepared = [...prepareWeights(weights, checkpoint)].map(({ bytes }) => [...fromStorage(bytes, "f32")]);
    expect(reads).toBe(1);
    expect(prepared).toEqual([
      [2, 4, 6, 8],
      [6, 14],
      [14, 20, 30, 44],
      [2, 4, Infinity, 6, 8, Infinity],
      [2, 4, -Infinity, 6, 8, -Infinity],
      [2, 4, 0, 6, 8, 0],
      [2, 4, 6, 8],
    ]);
  });

  test("are refused when they do not fill their place", () => {
    const weight = { name: "w", storage: "f16" as const, offset: 0, bytes: 16, value: w };
    const checkpoint = checkpointWith({ w: { shape: [4, 1], values: [1, 2, 3, 4] } });
    expect(() => [...prepareWeights([weight], checkpoint)]).toThrow(
      /weight "w" came out as 8 bytes, the program has room for 16/,
    );
  });
});
