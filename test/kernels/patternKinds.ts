import * as fc from "fast-check";
import type { AxisNumbers, Pattern } from "../../ir/patterns.ts";
import {
  add,
  and,
  eq,
  floorDiv,
  ge,
  le,
  lt,
  max,
  min,
  mod,
  mul,
  not,
  or,
  sub,
  unary,
  variable,
  literal,
} from "../../ir/scalarBuild.ts";
import type { Scalar } from "../../ir/scalar.ts";
import { noPrefix, sizeOf, type Precision, type Prefix, type TensorType } from "../../ir/types.ts";
import { attentionKernel, grid } from "./attentionCase.ts";
import { all, along, causal, every, intersect, near, prefix, same, union, window } from "./attentionPatterns.ts";
import type { AttentionKernel, Operand, TokenAccess } from "../../compiler/schedule/kernels.ts";

/** An attention of any shape, drawn. */
export type PatternDraw = {
  readonly pattern: Pattern;
  readonly query: TensorType;
  /** The same as `query` for tokens that attend to each other. */
  readonly key: TensorType;
  readonly headDim: number;
  readonly heads: number;
  readonly batch: number;
  readonly precision: Precision;
  /** Prefix tokens have projections of their own: q, k, v and the result of theirs lie in other buffers. */
  readonly ownProjections: boolean;
};

type Grids = Pick<PatternDraw, "query" | "key">;
const axisNames = ["t", "h", "w"] as const;

/** Tens of tokens, but for a line now and then whose keys do not fit into shared memory at once. */
const sizes = (dimensions: number): fc.Arbitrary<readonly number[]> => {
  const size = fc.integer({ min: 1, max: [0, 40, 9, 5][dimensions] ?? 1 });
  const some = fc.array(size, { minLength: dimensions, maxLength: dimensions });
  return dimensions === 1
    ? fc.oneof(
        { weight: 12, arbitrary: some },
        { weight: 1, arbitrary: fc.integer({ min: 41, max: 240 }).map((n) => [n]) },
      )
    : some;
};

const typeOf = (extents: readonly number[], front: Prefix): TensorType =>
  grid(Object.fromEntries(extents.map((size, i) => [axisNames[i + 3 - extents.length] ?? "t", size])), front);

const prefixOver = (axes: readonly string[], least: number): fc.Arbitrary<Prefix> =>
  fc
    .tuple(fc.integer({ min: least, max: 3 }), fc.oneof(fc.constant([]), fc.subarray([...axes])))
    .map(([count, over]) => (count === 0 ? noPrefix : { count, over }));

const dimensions = fc.integer({ min: 1, max: 3 });
const axesOf = (type: TensorType): readonly string[] => type.axes.map(({ axis }) => axis);

/** Tokens that attend to each other, with prefix tokens or without. */
const selfGrids = (options: { readonly dimensions?: number; readonly prefixes?: number } = {}): fc.Arbitrary<Grids> =>
  (options.dimensions === undefined ? dimensions : fc.constant(options.dimensions)).chain((count) =>
    sizes(count).chain((extents) =>
      prefixOver(axesOf(typeOf(extents, noPrefix)), options.prefixes ?? 0).map((front) => {
        const type = typeOf(extents, front);
        return { query: type, key: type };
      }),
    ),
  );

/** Queries on another grid than the keys: the axes that both have are as long, as windows ask for. */
const crossGrids = (prefixes = 0): fc.Arbitrary<Grids> =>
  fc.tuple(selfGrids({ prefixes }), selfGrids({ prefixes })).map(([{ query }, { key }]) => ({
    query,
    key: {
      ...key,
      axes: key.axes.map(({ axis, size }) => ({ axis, size: sizeOf(query, axis) ?? Math.min(size, 40) })),
    },
  }));
const anyGrids = (prefixes = 0): fc.Arbitrary<Grids> =>
  fc.oneof({ weight: 3, arbitrary: selfGrids({ prefixes }) }, { weight: 1, arbitrary: crossGrids(prefixes) });

const shared = ({ query, key }: Grids): readonly string[] =>
  axesOf(query).filter((axis) => sizeOf(key, axis) !== undefined);
const some = (axes: readonly string[]): fc.Arbitrary<readonly string[]> => fc.subarray([...axes], { minLength: 1 });
const numbers = (axes: readonly string[], least: number, most: number): fc.Arbitrary<AxisNumbers> =>
  fc
    .tuple(...axes.map(() => fc.integer({ min: least, max: most })))
    .map((values) => Object.fromEntries(axes.map((axis, i) => [axis, values[i] ?? least])));

type Draw<P extends Pattern = Pattern> = (grids: Grids) => fc.Arbitrary<P>;

const drawWindow: Draw = (grids) =>
  some(shared(grids)).chain((axes) =>
    fc.tuple(numbers(axes, 1, 9), numbers(axes, -4, 12)).map(([size, shift]) => window(size, shift)),
  );
/** A window over every axis of the grid. */
const drawWholeWindow: Draw = (grids) =>
  fc.tuple(numbers(shared(grids), 1, 9), numbers(shared(grids), 0, 8)).map(([size, shift]) => window(size, shift));
const drawNear =
  (border: "cut" | "inwards"): Draw =>
  (grids) =>
    some(shared(grids)).chain((axes) =>
      fc
        .tuple(numbers(axes, 0, 5), fc.integer({ min: 1, max: 3 }))
        .map(([radius, dilation]) => near(radius, dilation, border)),
    );
/** Grids on which boxes of queries have fewer keys around them than lines of them. */
const wideGrids: fc.Arbitrary<Grids> = fc
  .constantFrom([2, 6, 12] as const, [3, 3, 6] as const)
  .chain(([count, least, most]) =>
    fc.tuple(
      fc.array(fc.integer({ min: least, max: most }), { minLength: count, maxLength: count }),
      fc.integer({ min: 0, max: 2 }),
    ),
  )
  .map(([extents, count]) => {
    const type = typeOf(extents, count === 0 ? noPrefix : { count, over: [] });
    return { query: type, key: type };
  });
/** Neighbours on some axes, of which keys may be left out or others join them. */
const drawBox: Draw = (grids) =>
  some(shared(grids)).chain((axes) =>
    fc
      .record({
        radius: numbers(axes, 0, 2),
        dilation: fc.constantFrom(1, 1, 1, 2),
        border: fc.constantFrom("cut" as const, "inwards" as const),
        more: fc.constantFrom("nothing", "prefix", "causal", "others", "where"),
      })
      .map(({ radius, dilation, border, more }): Pattern => {
        const own = near(radius, dilation, border);
        const [first = "w"] = axes;
        const apart = sub(variable(`q.${first}`), variable(`k.${first}`));
        switch (more) {
          case "prefix":
            return union(prefix, own);
          case "causal":
            return intersect(own, causal(first));
          case "others":
            return union(own, intersect(near({ [first]: 3 }), same(...shared(grids).filter((axis) => axis !== first))));
          case "where":
            return intersect(own, { kind: "where", predicate: le(mul(apart, apart), 1) });
          default:
            return own;
        }
      }),
  );
const drawEvery =
  (phase: "query" | "fixed"): Draw =>
  (grids) =>
    some(shared(grids)).chain((axes) =>
      fc
        .tuple(numbers(axes, 1, 5), fc.integer({ min: -2, max: 6 }))
        .map(([stride, fixed]) => every(stride, phase === "query" ? "query" : fixed)),
    );
const drawLine: Draw = (grids) =>
  fc.oneof(
    some(shared(grids)).map((axes) => along(...axes)),
    some(shared(grids)).map((axes) => same(...axes)),
  );
const drawCausal: Draw = (grids) =>
  fc
    .tuple(fc.constantFrom(...shared(grids)), drawLine(grids), fc.boolean())
    .map(([axis, line, alone]) => (alone ? causal(axis) : intersect(line, causal(axis))));

/** Any predicate of sums, products, quotients, remainders and comparisons of coordinates, and of which tokens are prefixes. */
const drawWhere: Draw = ({ query, key }) => {
  const coordinates = [
    ...axesOf(query).map((axis) => variable(`q.${axis}`)),
    ...axesOf(key).map((axis) => variable(`k.${axis}`)),
  ];
  const flags = [
    ...(query.prefix.count > 0 ? [variable("q.isPrefix")] : []),
    ...(key.prefix.count > 0 ? [variable("k.isPrefix")] : []),
  ];
  const { test } = fc.letrec<{ term: Scalar; test: Scalar }>((tie) => {
    const term = tie("term");
    const both = fc.tuple(term, term);
    return {
      term: fc.oneof(
        { maxDepth: 3 },
        fc.constantFrom(...coordinates),
        fc.integer({ min: -4, max: 9 }).map(literal),
        fc.tuple(fc.constantFrom(add, sub, mul, min, max), term, term).map(([op, a, b]) => op(a, b)),
        fc.tuple(fc.constantFrom(floorDiv, mod), term, fc.integer({ min: 1, max: 5 })).map(([op, a, n]) => op(a, n)),
        term.map((of) => unary("abs", of)),
      ),
      test: fc.oneof(
        { maxDepth: 2 },
        fc.tuple(fc.constantFrom(eq, lt, le, ge), both).map(([op, [a, b]]) => op(a, b)),
        ...(flags.length > 0 ? [fc.constantFrom(...flags)] : []),
        fc.tuple(fc.constantFrom(and, or), tie("test"), tie("test")).map(([op, a, b]) => op(a, b)),
        tie("test").map(not),
      ),
    };
  });
  return test.map((predicate): Pattern => ({ kind: "where", predicate }));
};

const leaf: Draw = (grids) =>
  fc.oneof(
    fc.constant(all),
    fc.constant(prefix),
    drawLine(grids),
    drawWindow(grids),
    drawNear("cut")(grids),
    drawNear("inwards")(grids),
    drawEvery("query")(grids),
    drawEvery("fixed")(grids),
    fc.constantFrom(...shared(grids)).map(causal),
    drawWhere(grids),
  );
const nested =
  (outer: typeof union, inner: typeof intersect): Draw =>
  (grids) => {
    const part = fc.oneof(
      { weight: 3, arbitrary: leaf(grids) },
      { weight: 1, arbitrary: fc.tuple(leaf(grids), leaf(grids)).map((parts) => inner(...parts)) },
    );
    return fc.array(part, { minLength: 1, maxLength: 3 }).map((parts) => outer(...parts));
  };

const draw = (grids: fc.Arbitrary<Grids>, pattern: Draw): fc.Arbitrary<PatternDraw> =>
  grids
    .filter((each) => shared(each).length > 0)
    .chain((each) =>
      fc.record({
        query: fc.constant(each.query),
        key: fc.constant(each.key),
        pattern: pattern(each),
        headDim: fc.constantFrom(8, 16, 24, 32, 40, 64, 80, 96, 128),
        heads: fc.integer({ min: 1, max: 3 }),
        batch: fc.integer({ min: 1, max: 2 }),
        precision: fc.constantFrom<Precision>("bf16", "f16", "f32"),
        ownProjections: fc.constant(false),
      }),
    );

/** Every kind of pattern, by the name under which it is tested. */
export const patternKinds: { readonly [kind: string]: fc.Arbitrary<PatternDraw> } = {
  "windows on a line": draw(selfGrids({ dimensions: 1 }), drawWholeWindow),
  "windows on two axes": draw(selfGrids({ dimensions: 2 }), drawWholeWindow),
  "windows on three axes": draw(selfGrids({ dimensions: 3 }), drawWholeWindow),
  "windows on some axes, shifted either way": draw(anyGrids(), drawWindow),
  "neighbours, cut": draw(anyGrids(), drawNear("cut")),
  "neighbours, moved inwards": draw(anyGrids(), drawNear("inwards")),
  "neighbours in boxes": draw(wideGrids, drawBox),
  "every n-th from the query": draw(anyGrids(), drawEvery("query")),
  "every n-th from a place": draw(anyGrids(), drawEvery("fixed")),
  "along and same": draw(anyGrids(), drawLine),
  causal: draw(anyGrids(), drawCausal),
  "prefix tokens": draw(anyGrids(1), (grids) =>
    fc.oneof(
      fc.constant(prefix),
      leaf(grids).map((other) => union(prefix, other)),
    ),
  ),
  "global tokens with their own projections": draw(selfGrids({ prefixes: 1 }), (grids) =>
    fc.oneof(
      fc.constant(all),
      fc
        .oneof(drawNear("cut")(grids), drawWindow(grids), drawEvery("fixed")(grids))
        .map((local) => union(prefix, local)),
    ),
  ).map((each) => ({ ...each, ownProjections: true })),
  union: draw(anyGrids(), nested(union, intersect)),
  intersect: draw(anyGrids(), nested(intersect, union)),
  where: draw(anyGrids(), drawWhere),
};

export const drawnKernel = (drawn: PatternDraw): AttentionKernel => {
  const { query, key, ownProjections, ...rest } = drawn;
  const kernel = attentionKernel({ ...rest, query, ...(key === query ? {} : { key }) });
  return ownProjections ? withOwnProjections(kernel) : kernel;
};

/** Prefix rows in buffers of their own, so that nothing of theirs can come from where the grid's are. */
const withOwnProjections = (kernel: AttentionKernel): AttentionKernel => {
  const added: Operand[] = [];
  const moved = (access: TokenAccess): TokenAccess => {
    const { prefix: front } = access;
    const from = front === null ? undefined : kernel.operands[front.operand];
    if (front === null || from === undefined) return access;
    added.push(from);
    return { ...access, prefix: { ...front, operand: kernel.operands.length + added.length - 1 } };
  };
  const [q, k, v, out] = [moved(kernel.q), moved(kernel.k), moved(kernel.v), moved(kernel.out)];
  return { ...kernel, q, k, v, out, operands: [...kernel.operands, ...added] };
};
