import type { AxisSize, Node, Op, Ops, WindowAxis } from "../../ir/graph.ts";
import { predicate } from "../../ir/predicate.ts";
import { evaluateScalar } from "../../ir/scalarEvaluate.ts";
import { sizeOf, type TensorType } from "../../ir/types.ts";

/**
 * What every op means, said again and slowly: an element as a function of its position. It shares nothing with the
 * evaluator but types, scalars and the predicate of patterns.
 */
export type At = { readonly [axis: string]: number };
/** The element of an example at a token and a channel. A prefix token has `prefix`, its index, and `isPrefix`. */
export type Field = {
  readonly type: TensorType;
  readonly of: (example: number, at: At, isPrefix: boolean, channel: number) => number;
};

const positionsOf = (axes: readonly AxisSize[]): readonly At[] =>
  axes.reduce<readonly At[]>(
    (all, { axis, size }) => all.flatMap((at) => Array.from({ length: size }, (_, i) => ({ ...at, [axis]: i }))),
    [{}],
  );

/** Every token of a type: prefix tokens, then the grid. */
export const tokensByPosition = (type: TensorType): readonly { readonly at: At; readonly isPrefix: boolean }[] => {
  const { count, over } = type.prefix;
  const front =
    count === 0
      ? []
      : positionsOf([
          ...over.map((axis) => ({ axis, size: sizeOf(type, axis) ?? 1 })),
          { axis: "prefix", size: count },
        ]);
  return [
    ...front.map((at) => ({ at, isPrefix: true })),
    ...positionsOf(type.axes).map((at) => ({ at, isPrefix: false })),
  ];
};

const sum = (values: readonly number[]): number => values.reduce((a, b) => a + b, 0);
const mean = (values: readonly number[]): number => sum(values) / values.length;
const range = (size: number): readonly number[] => Array.from({ length: size }, (_, i) => i);
const flat = (sizes: readonly AxisSize[], at: At): number =>
  sizes.reduce((all, { axis, size }) => all * size + (at[axis] ?? 0), 0);
const spread = (sizes: readonly AxisSize[], index: number): At => positionsOf(sizes)[index] ?? {};
const exists = (type: TensorType, at: At): boolean =>
  type.axes.every(({ axis, size }) => (at[axis] ?? 0) >= 0 && (at[axis] ?? 0) < size);

type Rule<K extends Op> = (attrs: Ops[K]["attrs"], inputs: readonly Field[], type: TensorType) => Field["of"];

const [none, nowhere] = [
  (): number => Number.NaN,
  { type: { element: "float", batch: false, prefix: { count: 0, over: [] }, axes: [], channels: 1 } } as const,
];
const first = (inputs: readonly Field[]): Field => inputs[0] ?? { ...nowhere, of: none };
const second = (inputs: readonly Field[]): Field => inputs[1] ?? { ...nowhere, of: none };
const third = (inputs: readonly Field[]): Field => inputs[2] ?? { ...nowhere, of: none };

/** What an input that lacks axes or prefix tokens has at a position. */
const repeated = ({ type, of }: Field, example: number, at: At, isPrefix: boolean, c: number): number =>
  of(type.batch ? example : 0, at, isPrefix && type.prefix.count > 0, type.channels === 1 ? 0 : c);

const windowReads = (
  x: Field,
  window: readonly WindowAxis[],
  at: At,
): readonly { readonly tap: At; readonly at: At }[] =>
  positionsOf(window)
    .map((tap) => ({
      tap,
      at: {
        ...at,
        ...Object.fromEntries(
          window.map(({ axis, stride, dilation, before }) => [
            axis,
            (at[axis] ?? 0) * stride - before + (tap[axis] ?? 0) * dilation,
          ]),
        ),
      },
    }))
    .filter((read) => exists(x.type, read.at));

const interpolate = (
  x: Field,
  { to, mode, alignCorners }: Ops["resize"]["attrs"],
  read: (at: At) => number,
  at: At,
  left: readonly AxisSize[] = to,
): number => {
  const [next, ...rest] = left;
  if (next === undefined) return read(at);
  const [before, i] = [sizeOf(x.type, next.axis) ?? 1, at[next.axis] ?? 0];
  const inner = (j: number): number =>
    interpolate(
      x,
      { to, mode, alignCorners },
      read,
      { ...at, [next.axis]: Math.min(before - 1, Math.max(0, j)) },
      rest,
    );
  if (mode === "nearest") return inner(Math.floor((i * before) / next.size));
  const p = alignCorners ? (i * (before - 1)) / (next.size - 1) : ((i + 0.5) * before) / next.size - 0.5;
  const [j, f] = [Math.floor(p), p - Math.floor(p)];
  if (mode === "bilinear") return inner(j) * (1 - f) + inner(j + 1) * f;
  // The four weights written out (a = -3/4), as a check on the kernel's two branches.
  const weights = [
    -0.75 * f * (1 - f) ** 2,
    1 - f ** 2 * (2.25 - 1.25 * f),
    f * (0.75 + f * (1.5 - 1.25 * f)),
    -0.75 * f ** 2 * (1 - f),
  ];
  return sum(weights.map((weight, step) => weight * inner(j - 1 + step)));
};

const byPosition: { readonly [K in Exclude<Op, "input" | "parameter">]: Rule<K> } = {
  constant:
    ({ values, type }) =>
    (_, at, isPrefix, c) =>
      values[
        tokensByPosition(type).findIndex(
          (token) =>
            token.isPrefix === isPrefix && type.axes.every(({ axis }) => (token.at[axis] ?? 0) === (at[axis] ?? 0)),
        ) *
          type.channels +
          c
      ] ?? Number.NaN,
  linear: (_, inputs) => (b, at, p, n) =>
    sum(
      range(first(inputs).type.channels).map(
        (c) => first(inputs).of(b, at, p, c) * second(inputs).of(0, { out: n }, false, c),
      ),
    ),
  conv:
    ({ window, groups }, inputs, type) =>
    (b, at, p, n) => {
      const width = second(inputs).type.channels;
      const group = Math.floor(n / (type.channels / groups));
      return sum(
        windowReads(first(inputs), window, at).flatMap((read) =>
          range(width).map(
            (c) =>
              first(inputs).of(b, read.at, p, group * width + c) *
              second(inputs).of(0, { ...read.tap, out: n }, false, c),
          ),
        ),
      );
    },
  pointwise:
    ({ body }, inputs, type) =>
    (b, at, p, c) => {
      const variables = Object.fromEntries(type.axes.map(({ axis }) => [`x.${axis}`, at[axis] ?? 0]));
      return evaluateScalar(body, {
        arguments: inputs.map((x) => repeated(x, b, at, p, c)),
        variables: { ...variables, "x.isPrefix": p ? 1 : 0, "x.prefix": p ? (at["prefix"] ?? 0) : 0, channel: c },
      });
    },
  round: (_, inputs) => (b, at, p, c) => Math.floor(first(inputs).of(b, at, p, c) + 0.5),
  // A state that its loop does not change.
  state: (_, inputs) => first(inputs).of,
  loop: (_, inputs) => first([...inputs]).of,
  after: (_, inputs) => second(inputs).of,
  normalize:
    ({ eps, groups, axes }, inputs) =>
    (b, at, p, c) => {
      const x = first(inputs);
      const width = x.type.channels / groups;
      const start = Math.floor(c / width) * width;
      const cell = positionsOf(x.type.axes.filter(({ axis }) => axes.includes(axis))).flatMap((other) =>
        range(width).map((i) => x.of(b, { ...at, ...other }, p, start + i)),
      );
      const middle = mean(cell);
      return (x.of(b, at, p, c) - middle) / Math.sqrt(mean(cell.map((value) => (value - middle) ** 2)) + eps);
    },
  softmax:
    ({ over }, inputs) =>
    (b, at, p, c) => {
      const x = first(inputs);
      const cell =
        over === "channels"
          ? range(x.type.channels).map((i) => x.of(b, at, p, i))
          : positionsOf(x.type.axes.filter(({ axis }) => over.includes(axis))).map((other) =>
              x.of(b, { ...at, ...other }, p, c),
            );
      return 1 / sum(cell.map((value) => Math.exp(value - x.of(b, at, p, c))));
    },
  reduce:
    ({ kind, axes }, inputs) =>
    (b, at, p, c) => {
      const x = first(inputs);
      const there = p ? axes.filter((axis) => x.type.prefix.over.includes(axis)) : axes;
      const cell = positionsOf(x.type.axes.filter(({ axis }) => there.includes(axis))).map((other) =>
        x.of(b, { ...at, ...other }, p, c),
      );
      return { mean: mean(cell), sum: sum(cell), max: Math.max(...cell), argmax: cell.indexOf(Math.max(...cell)) }[
        kind
      ];
    },
  topK:
    ({ axes }, inputs) =>
    (b, at, p, c) =>
      positionsOf(first(inputs).type.axes.filter(({ axis }) => axes.includes(axis)))
        .map((other) => first(inputs).of(b, { ...at, ...other }, p, c))
        .toSorted((one, other) => other - one)[at["rank"] ?? 0] ?? Number.NaN,
  histogram:
    ({ axes }, inputs) =>
    (b, at, p, c) =>
      positionsOf(first(inputs).type.axes.filter(({ axis }) => axes.includes(axis))).filter(
        (other) => first(inputs).of(b, { ...at, ...other }, p, c) === at["bin"],
      ).length,
  take:
    ({ axis }, [x, numbers]) =>
    (b, at, p, c) => {
      const position = numbers?.of(b, at, p, 0) ?? -1;
      const { size } = x?.type.axes.find((each) => each.axis === axis) ?? { size: 0 };
      return position >= 0 && position < size ? (x?.of(b, { ...at, [axis]: position }, p, c) ?? Number.NaN) : 0;
    },
  pool:
    ({ kind, window, countPadding }, inputs) =>
    (b, at, p, c) => {
      const cell = windowReads(first(inputs), window, at).map((read) => first(inputs).of(b, read.at, p, c));
      if (kind === "max") return Math.max(...cell);
      return sum(cell) / (countPadding ? positionsOf(window).length : cell.length);
    },
  attend:
    ({ heads, scale, pattern, score, normalize, positions }, inputs) =>
    (b, at, p, c) => {
      const [q, k, v] = [first(inputs), second(inputs), third(inputs)];
      const [headDim, valueDim] = [q.type.channels / heads, v.type.channels / heads];
      const head = Math.floor(c / valueDim);
      const sees = predicate(pattern, q.type, k.type);
      const position = (side: string, type: TensorType, token: At, isPrefix: boolean): At => ({
        ...Object.fromEntries(type.axes.map(({ axis }) => [`${side}.${axis}`, token[axis] ?? 0])),
        [`${side}.isPrefix`]: isPrefix ? 1 : 0,
        [`${side}.prefix`]: isPrefix ? (token["prefix"] ?? 0) : 0,
      });
      const own = position("q", q.type, at, p);
      const seen = tokensByPosition(k.type)
        .map((key) => ({ key, variables: { ...own, ...position("k", k.type, key.at, key.isPrefix) } }))
        .filter(({ variables }) => evaluateScalar(sees, { variables }) !== 0)
        .map(({ key, variables }) => {
          const product = sum(
            range(headDim).map(
              (d) =>
                q.of(q.type.batch ? b : 0, at, p, head * headDim + d) *
                repeated(k, b, key.at, key.isPrefix, head * headDim + d),
            ),
          );
          const load = (table: number, index: readonly number[]): number => {
            const field = inputs[3 + table] ?? first([]);
            return repeated(
              field,
              b,
              Object.fromEntries(field.type.axes.map(({ axis }, i) => [axis, index[i] ?? 0])),
              false,
              index.at(-1) ?? 0,
            );
          };
          const scored = evaluateScalar(score, { variables: { ...variables, head, s: product * scale }, load });
          const apart = (at[positions?.axis ?? ""] ?? 0) - (key.at[positions?.axis ?? ""] ?? 0);
          const ofTable = (number: number | null | undefined, distance: number, width: number, d: number): number => {
            const table = typeof number === "number" ? inputs[3 + number] : undefined;
            const [rows] = table?.type.axes ?? [];
            if (table === undefined || rows === undefined) return 0;
            const row = { [rows.axis]: (rows.size - 1) / 2 + distance };
            return table.of(0, row, false, head * width + d);
          };
          const ofPositions = sum(
            range(headDim).map(
              (d) =>
                q.of(q.type.batch ? b : 0, at, p, head * headDim + d) * ofTable(positions?.query, apart, headDim, d) +
                repeated(k, b, key.at, key.isPrefix, head * headDim + d) * ofTable(positions?.key, -apart, headDim, d),
            ),
          );
          const value = ofTable(positions?.value, apart, valueDim, c % valueDim);
          return { key, value, s: scored + ofPositions };
        })
        .filter(({ s }) => s !== -Infinity);
      const top = Math.max(...seen.map(({ s }) => s));
      const weight = (s: number): number =>
        normalize === "softmax"
          ? Math.exp(s - top) / sum(seen.map((each) => Math.exp(each.s - top)))
          : normalize === "count"
            ? s / seen.length
            : s;
      return sum(seen.map(({ key, s, value }) => weight(s) * (repeated(v, b, key.at, key.isPrefix, c) + value)));
    },
  grid: (_, inputs) => first(inputs).of,
  prefix: (_, inputs) => (b, at, __, c) => first(inputs).of(b, at, true, c),
  withPrefix: (_, inputs) => (b, at, p, c) =>
    p ? repeated(second(inputs), b, at, false, c) : repeated(first(inputs), b, at, false, c),
  repeatPrefix: (_, inputs) => first(inputs).of,
  meanPrefix:
    ({ over }, inputs) =>
    (b, at, p, c) => {
      const x = first(inputs);
      return p
        ? mean(
            positionsOf(x.type.axes.filter(({ axis }) => over.includes(axis))).map((copy) =>
              x.of(b, { ...at, ...copy }, p, c),
            ),
          )
        : x.of(b, at, p, c);
    },
  channels:
    ({ groups, start, width }, inputs) =>
    (b, at, p, c) =>
      first(inputs).of(b, at, p, Math.floor(c / width) * (first(inputs).type.channels / groups) + start + (c % width)),
  concat:
    ({ over }, inputs) =>
    (b, at, p, c) => {
      let start = 0;
      for (const x of inputs) {
        const size = over === "channels" ? x.type.channels : (sizeOf(x.type, over.axis) ?? 0);
        const place = (over === "channels" ? c : (at[over.axis] ?? 0)) - start;
        start += size;
        if (place < size)
          return x.of(
            x.type.batch ? b : 0,
            over === "channels" ? at : { ...at, [over.axis]: place },
            p,
            over === "channels" ? place : c,
          );
      }
      return Number.NaN;
    },
  merge:
    ({ size }, inputs) =>
    (b, at, p, c) => {
      const x = first(inputs);
      const inside = spread(size, Math.floor(c / x.type.channels));
      const source = {
        ...at,
        ...Object.fromEntries(
          size.map(({ axis, size: block }) => [axis, (at[axis] ?? 0) * block + (inside[axis] ?? 0)]),
        ),
      };
      return exists(x.type, source) ? x.of(b, source, p, c % x.type.channels) : 0;
    },
  unmerge:
    ({ size }, inputs, type) =>
    (b, at, p, c) => {
      const inside = Object.fromEntries(size.map(({ axis, size: block }) => [axis, (at[axis] ?? 0) % block]));
      const source = {
        ...at,
        ...Object.fromEntries(size.map(({ axis, size: block }) => [axis, Math.floor((at[axis] ?? 0) / block)])),
      };
      return first(inputs).of(b, source, p, flat(size, inside) * type.channels + c);
    },
  pad:
    ({ before }, inputs) =>
    (b, at, p, c) => {
      const x = first(inputs);
      if (p) return x.of(b, at, p, c);
      const source = Object.fromEntries(x.type.axes.map(({ axis }) => [axis, (at[axis] ?? 0) - (before[axis] ?? 0)]));
      return exists(x.type, source) ? x.of(b, source, p, c) : 0;
    },
  unpack:
    ({ sizes }, inputs, type) =>
    (b, at, p, c) =>
      first(inputs).of(b, at, p, flat(sizes, at) * type.channels + c),
  pack:
    ({ axes }, inputs) =>
    (b, at, p, c) => {
      const x = first(inputs);
      const sizes = axes.map((axis) => ({ axis, size: sizeOf(x.type, axis) ?? 1 }));
      return x.of(b, { ...at, ...spread(sizes, Math.floor(c / x.type.channels)) }, p, c % x.type.channels);
    },
  rename:
    ({ axes }, inputs) =>
    (b, at, p, c) => {
      const back = Object.fromEntries(Object.entries(axes).map(([from, to]) => [to, from]));
      return first(inputs).of(
        b,
        Object.fromEntries(Object.entries(at).map(([axis, i]) => [back[axis] ?? axis, i])),
        p,
        c,
      );
    },
  expand: (_, inputs) => first(inputs).of,
  sample:
    (attrs, [points = first([]), weights = first([]), ...rest], type) =>
    (b, at, p, c) => {
      const extents = (axes: readonly string[]) =>
        axes.map((axis) => ({ axis, size: sizeOf(points.type, axis) ?? Number.NaN }));
      const heads = extents(attrs.heads);
      const headCount = positionsOf(heads).length;
      const width = type.channels / headCount;
      const head = Math.floor(c / width);
      const own = { ...at, ...spread(heads, head) };
      const levels = positionsOf(extents(attrs.levels)).length;
      // A query, keys and values; or values alone.
      const [query] = attrs.scale === null ? [] : rest;
      const maps = rest.slice(-levels);
      const all = positionsOf(extents([...attrs.levels, ...attrs.over])).map((other) => ({ ...own, ...other }));
      // Every pixel of a map, by how near it is to the point.
      const sampledAt = (of: readonly Field[], where: (typeof all)[number], channel: number): number => {
        const map = of[flat(extents(attrs.levels), where)] ?? first([]);
        const hats = attrs.axes.map((axis, i) => {
          const size = sizeOf(map.type, axis) ?? Number.NaN;
          const given = points.of(b, where, p, i);
          const free = { pixels: given, edges: given * size - 0.5, centres: given * (size - 1) }[attrs.coordinates];
          const position = attrs.padding === "border" ? Math.max(0, Math.min(free, size - 1)) : free;
          return range(size).map((pixel) => ({ axis, pixel, near: Math.max(0, 1 - Math.abs(position - pixel)) }));
        });
        const [rows = [], columns = []] = hats;
        return sum(
          rows.flatMap((y) =>
            columns.map((x) => {
              const near = y.near * x.near;
              return near > 0 ? near * map.of(b, { ...where, [y.axis]: y.pixel, [x.axis]: x.pixel }, p, channel) : 0;
            }),
          ),
        );
      };
      const scoreOf = (where: (typeof all)[number]): number => {
        if (query === undefined) return 0;
        const each = query.type.channels / headCount;
        const channels = range(each).map((i) => head * each + i);
        const keys = rest.slice(1, 1 + levels);
        return (attrs.scale ?? 0) * sum(channels.map((i) => repeated(query, b, at, p, i) * sampledAt(keys, where, i)));
      };
      const weight = all.map((where) => repeated(weights, b, where, p, 0) + scoreOf(where));
      const most = Math.max(...weight);
      const total = sum(weight.map((score) => Math.exp(score - most)));
      return sum(
        all.map((where, i) => {
          const score = weight[i] ?? Number.NaN;
          return sampledAt(maps, where, c) * (attrs.normalize === "softmax" ? Math.exp(score - most) / total : score);
        }),
      );
    },
  slice:
    ({ axis, start, step }, inputs) =>
    (b, at, p, c) =>
      first(inputs).of(b, p ? at : { ...at, [axis]: start + (at[axis] ?? 0) * step }, p, c),
  resize: (attrs, inputs) => (b, at, p, c) =>
    p
      ? first(inputs).of(b, at, p, c)
      : interpolate(first(inputs), attrs, (source) => first(inputs).of(b, source, p, c), at),
};

export const fieldOf = (
  node: Exclude<Node, { readonly op: "input" | "parameter" }>,
  inputs: readonly Field[],
): Field => ({
  type: node.type,
  of: (byPosition[node.op] as Rule<Op>)(node.attrs as never, inputs, node.type),
});
