import { GraphError } from "./errors.ts";
import { dot, positionRows } from "./evaluatePositions.ts";
import type { AttendAttrs } from "./graph.ts";
import { multiplyRows } from "./matmul.ts";
import { type CompiledScalar, compileScalar } from "./scalarEvaluate.ts";
import { printScalar } from "./scalarText.ts";
import { variablesOf } from "./scalarWalk.ts";
import { tokensOf } from "./tokens.ts";
import type { TensorType } from "./types.ts";
import { exampleOf, mapExamples, type Value } from "./value.ts";
import { tokenVariable, visibleKeys } from "./visibleKeys.ts";

/** Queries whose scores are held at once. */
const queriesAtOnce = 128;

/** Weights of some queries over the keys that they see together, for one head of one example: `rows` has one row a query. */
type AttentionWeights = {
  readonly example: number;
  readonly head: number;
  readonly queries: Int32Array;
  readonly keys: Int32Array;
  readonly rows: Float64Array;
};

/** What attention means: the values of the keys that a query sees, weighted and summed. */
export const evaluateAttend = (
  [q, k, v, ...tables]: readonly [q: Value, k: Value, v: Value, ...tables: readonly Value[]],
  attrs: AttendAttrs,
  type: TensorType,
  batch: number,
): Value => {
  const valueDim = v.type.channels / attrs.heads;
  const { value: positions } = positionRows(attrs, q.type, k.type, tables);
  return mapExamples(type, batch, (result, example) => {
    const values = exampleOf(v, example);
    for (const { head, queries, keys, rows } of attentionWeights([q, k, ...tables], attrs, example)) {
      const valueColumns = gatherColumns(values, keys, v.type.channels, head * valueDim, valueDim);
      const weighted = new Float64Array(queries.length * valueDim);
      multiplyRows(
        { data: rows, start: 0, stride: keys.length, count: queries.length },
        { data: valueColumns, start: 0, stride: keys.length, count: valueDim },
        keys.length,
        { data: weighted, start: 0, stride: valueDim },
      );
      for (const [index, query] of queries.entries()) {
        const own = weighted.subarray(index * valueDim, (index + 1) * valueDim);
        if (positions !== null) {
          for (const [at, key] of keys.entries()) {
            const weight = rows[index * keys.length + at] ?? 0;
            for (const [c, value] of positions(query, key, head).entries()) own[c] = (own[c] ?? 0) + weight * value;
          }
        }
        result.set(own, query * type.channels + head * valueDim);
      }
    }
  });
};

/** Every weight of one example, some queries at a time. Queries that see no key are left out. */
export function* attentionWeights(
  [q, k, ...tables]: readonly [q: Value, k: Value, ...tables: readonly Value[]],
  attrs: AttendAttrs,
  example: number,
): Generator<AttentionWeights> {
  const { heads, scale, normalize } = attrs;
  const headDim = q.type.channels / heads;
  const [queries, keys] = [exampleOf(q, example), exampleOf(k, example)];
  const score = scoreFunction(attrs, q.type, k.type, tables, example);
  const positions = positionRows(attrs, q.type, k.type, tables);
  for (const group of visibleKeys(attrs.pattern, q.type, k.type)) {
    const count = group.keys.length;
    if (count === 0) continue;
    for (let head = 0; head < heads; head++) {
      const keyRows = gather(keys, group.keys, k.type.channels, head * headDim, headDim);
      for (let start = 0; start < group.queries.length; start += queriesAtOnce) {
        const own = group.queries.subarray(start, start + queriesAtOnce);
        const queryRows = gather(queries, own, q.type.channels, head * headDim, headDim);
        const rows = new Float64Array(own.length * count);
        multiplyRows(
          { data: queryRows, start: 0, stride: headDim, count: own.length },
          { data: keyRows, start: 0, stride: headDim, count },
          headDim,
          { data: rows, start: 0, stride: count },
        );
        for (const [index, query] of own.entries()) {
          const row = rows.subarray(index * count, (index + 1) * count);
          for (const [at, key] of group.keys.entries()) {
            let sum = score((row[at] ?? 0) * scale, query, key, head);
            if (positions.query !== null)
              sum += dot(queryRows.subarray(index * headDim, (index + 1) * headDim), positions.query(query, key, head));
            if (positions.key !== null)
              sum += dot(keyRows.subarray(at * headDim, (at + 1) * headDim), positions.key(query, key, head));
            row[at] = sum;
          }
          weigh[normalize](row);
        }
        yield { example, head, queries: own, keys: group.keys, rows };
      }
    }
  }
}

const gather = (data: Float64Array, rows: Int32Array, channels: number, first: number, width: number): Float64Array => {
  const gathered = new Float64Array(rows.length * width);
  for (const [index, row] of rows.entries()) {
    gathered.set(data.subarray(row * channels + first, row * channels + first + width), index * width);
  }
  return gathered;
};

const gatherColumns = (
  data: Float64Array,
  rows: Int32Array,
  channels: number,
  first: number,
  width: number,
): Float64Array => {
  const gathered = new Float64Array(rows.length * width);
  for (const [index, row] of rows.entries()) {
    for (let c = 0; c < width; c++) gathered[c * rows.length + index] = data[row * channels + first + c] ?? 0;
  }
  return gathered;
};

/** Turns scores into weights, in place. A key whose score is -Infinity is not seen. */
const weigh: { readonly [N in AttendAttrs["normalize"]]: (scores: Float64Array) => void } = {
  softmax: (scores) => {
    const top = scores.reduce((most, score) => Math.max(most, score), -Infinity);
    let sum = 0;
    for (const [key, score] of scores.entries()) {
      const weight = score === -Infinity ? 0 : Math.exp(score - top);
      scores[key] = weight;
      sum += weight;
    }
    if (sum !== 0) for (const [key, weight] of scores.entries()) scores[key] = weight / sum;
  },
  count: (scores) => {
    const seen = scores.reduce((count, score) => (score === -Infinity ? count : count + 1), 0);
    for (const [key, score] of scores.entries()) scores[key] = score === -Infinity ? 0 : score / seen;
  },
  none: (scores) => {
    for (const [key, score] of scores.entries()) if (score === -Infinity) scores[key] = 0;
  },
};

type Score = (product: number, query: number, key: number, head: number) => number;

const scoreFunction = (
  { score }: AttendAttrs,
  query: TensorType,
  key: TensorType,
  tables: readonly Value[],
  example: number,
): Score => {
  if (score.kind === "variable" && score.name === "s") return (product) => product;
  const names = [...variablesOf(score)];
  const compiled: CompiledScalar = compileScalar(score, {
    variable: (name) => names.indexOf(name),
    load: (table, index) => {
      const value = tables[table];
      if (value === undefined) throw new GraphError(`there is no table ${table} in ${printScalar(score)}`);
      return tableElement(value, example, index);
    },
  });
  const [queryTokens, keyTokens] = [tokensOf(query), tokensOf(key)];
  const fields = names.map((name, slot) => {
    const isQuery = name.startsWith("q.");
    const isToken = isQuery || name.startsWith("k.");
    return isToken
      ? { slot, isQuery, values: tokenVariable(isQuery ? queryTokens : keyTokens, name.slice(2)) }
      : undefined;
  });
  const ofTokens = fields.filter((field) => field !== undefined);
  const [productSlot, headSlot] = [names.indexOf("s"), names.indexOf("head")];
  const slots = new Float64Array(names.length);
  return (product, queryRow, keyRow, head) => {
    if (productSlot >= 0) slots[productSlot] = product;
    if (headSlot >= 0) slots[headSlot] = head;
    for (const { slot, isQuery, values } of ofTokens) slots[slot] = values[isQuery ? queryRow : keyRow] ?? 0;
    return compiled(slots);
  };
};

const tableElement = (table: Value, example: number, index: readonly number[]): number => {
  const sizes = [...table.type.axes.map(({ size }) => size), table.type.channels];
  let flat = 0;
  for (const [axis, size] of sizes.entries()) {
    const at = index[axis] ?? -1;
    if (!(Number.isInteger(at) && at >= 0 && at < size)) {
      throw new GraphError(`a table of ${sizes.join(" x ")} is read at [${index.join(", ")}]`);
    }
    flat = flat * size + at;
  }
  return exampleOf(table, example)[flat] ?? Number.NaN;
};
