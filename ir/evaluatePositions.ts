import { GraphError } from "./errors.ts";
import type { AttendAttrs } from "./graph.ts";
import { positionRow } from "./positions.ts";
import { tokensOf } from "./tokens.ts";
import { sizeOf, type TensorType } from "./types.ts";
import { exampleOf, type Value } from "./value.ts";
import { tokenVariable } from "./visibleKeys.ts";

/** The row of a table of positions, of one head, for a query and a key by their rows. */
type PositionRow = (query: number, key: number, head: number) => Float64Array;

/** The tables of positions that there are, as functions of a query and a key. */
export const positionRows = (
  { positions, heads }: AttendAttrs,
  query: TensorType,
  key: TensorType,
  tables: readonly Value[],
): { readonly [R in "query" | "key" | "value"]: PositionRow | null } => {
  if (positions === null) return { query: null, key: null, value: null };
  const { axis } = positions;
  const size = sizeOf(query, axis) ?? 0;
  const [ofQuery, ofKey] = [tokenVariable(tokensOf(query), axis), tokenVariable(tokensOf(key), axis)];
  const rows = (number: number | null, direction: 1 | -1): PositionRow | null => {
    if (number === null) return null;
    const table = tables[number];
    if (table === undefined) throw new GraphError(`there is no table ${number} of positions`);
    const { channels } = table.type;
    const width = channels / heads;
    const data = exampleOf(table, 0);
    return (queryRow, keyRow, head) => {
      const row = positionRow(size, direction * ((ofQuery[queryRow] ?? 0) - (ofKey[keyRow] ?? 0)));
      return data.subarray(row * channels + head * width, row * channels + (head + 1) * width);
    };
  };
  return { query: rows(positions.query, 1), key: rows(positions.key, -1), value: rows(positions.value, 1) };
};

export const dot = (a: Float64Array, b: Float64Array): number => a.reduce((sum, x, c) => sum + x * (b[c] ?? 0), 0);
