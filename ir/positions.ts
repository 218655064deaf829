/**
 * Terms of how far a query lies behind a key along one axis (arXiv 2003.07853, equation 4, head by head):
 *
 *   score(scale * q_i k_j) + q_i Q[i - j] + k_j K[j - i], and in place of v_j its sum with V[i - j].
 *
 * Q, K and V are tables with one axis, whose row n - 1 + d is for positions d apart, of 2 n - 1 where the axis has n
 * positions; their channels are those of q, k and v. Here are their numbers among the tables; null: no such term.
 */
export type Positions = {
  readonly axis: string;
  readonly query: number | null;
  readonly key: number | null;
  readonly value: number | null;
};
/** The tables of positions that there are, and whose channels they have. */
export const positionTables = (
  positions: Positions | null,
): readonly { readonly role: "query" | "key" | "value"; readonly table: number }[] =>
  (["query", "key", "value"] as const).flatMap((role) => {
    const table = positions?.[role] ?? null;
    return table === null ? [] : [{ role, table }];
  });

/** The row of a table for positions that lie `apart`, of an axis of `size` positions. */
export const positionRow = (size: number, apart: number): number => size - 1 + apart;
