import type { WeightOrder } from "../ir/program.ts";
import { RuntimeError } from "./errors.ts";
import { formatShape } from "./text.ts";
import type { Values } from "./values.ts";

/** A weight [N, K] in the order in which a kernel's tiles read it, as one row; see WeightOrder. */
export const pack = ({ shape, data }: Values, order: WeightOrder): Values => {
  const [columns = 0, depth = 0] = shape;
  if (shape.length !== 2) throw new RuntimeError(`only matrices are packed, not ${formatShape(shape)}`);
  const { tileN, tileK } = order;
  const { n: tileColumn, k: tileDepth } = tileOf(order);
  const tileSize = tileN * tileK;
  const tilesN = Math.ceil(columns / tileN);
  const tilesK = Math.ceil(depth / tileK);
  const result = new Float64Array(tilesN * tilesK * tileSize);
  const offsets = tileColumn.map((n, at) => n * depth + (tileDepth[at] ?? 0));
  for (let i = 0, to = 0; i < tilesN; i++)
    for (let j = 0; j < tilesK; j++, to += tileSize) {
      const base = i * tileN * depth + j * tileK;
      if ((i + 1) * tileN <= columns && (j + 1) * tileK <= depth)
        for (let at = 0; at < tileSize; at++) result[to + at] = data[base + (offsets[at] ?? 0)] ?? 0;
      else
        for (let at = 0; at < tileSize; at++)
          if (i * tileN + (tileColumn[at] ?? 0) < columns && j * tileK + (tileDepth[at] ?? 0) < depth)
            result[to + at] = data[base + (offsets[at] ?? 0)] ?? 0;
    }
  return { shape: [result.length], data: result };
};

/** Which column and which k of its tile each packed element is. */
type Tile = { readonly n: Int32Array; readonly k: Int32Array };

const tileOf = (order: WeightOrder): Tile => {
  switch (order.kind) {
    case "fragments":
      return fragmentTile(order);
    case "fragments32":
      return fragment32Tile(order);
    case "tiles":
      return plainTile(order.tileN, order.tileK);
  }
};

const plainTile = (tileN: number, tileK: number): Tile => ({
  n: Int32Array.from({ length: tileN * tileK }, (_, at) => at % tileN),
  k: Int32Array.from({ length: tileN * tileK }, (_, at) => Math.floor(at / tileN)),
});

/** The order that WeightOrder's "fragments" spells out, for one tile. */
const fragmentTile = ({ tileN, tileK, group }: WeightOrder & { readonly kind: "fragments" }): Tile => {
  if (tileN % group !== 0 || tileN % 16 !== 0 || tileK % 16 !== 0)
    throw new RuntimeError(`fragments of groups of ${group} do not fill tiles of ${tileN} x ${tileK}`);
  const tile = { n: new Int32Array(tileN * tileK), k: new Int32Array(tileN * tileK) };
  let at = 0;
  for (let s = 0; s < tileK / 16; s++)
    for (let b = 0; b < tileN / 16; b++)
      for (let lane = 0; lane < 32; lane++)
        for (let e = 0; e < 8; e++, at++) {
          const p = b * 16 + Math.floor(e / 4) * 8 + Math.floor(lane / 4);
          const inGroup = p % group;
          tile.n[at] = p - inGroup + Math.floor((p % 8) / 2) * (group / 4) + Math.floor(inGroup / 8) * 2 + (p % 2);
          tile.k[at] = s * 16 + (Math.floor(e / 2) % 2) * 8 + (lane % 4) * 2 + (e % 2);
        }
  return tile;
};

/** The order that WeightOrder's "fragments32" spells out, for one tile. */
const fragment32Tile = ({ tileN, tileK }: WeightOrder & { readonly kind: "fragments32" }): Tile => {
  if (tileN % 16 !== 0 || tileK % 16 !== 0)
    throw new RuntimeError(`fragments of 16 x 16 do not fill tiles of ${tileN} x ${tileK}`);
  const elements = Array.from({ length: tileN * tileK }, (_, at) => {
    const [e, lane, half, block] = [at % 4, Math.floor(at / 4) % 32, Math.floor(at / 128) % 2, Math.floor(at / 256)];
    const n = (block % (tileN / 16)) * 16 + Math.floor(lane / 8) * 4 + half * 2 + (Math.floor(lane / 4) % 2);
    return { n, k: Math.floor(block / (tileN / 16)) * 16 + (lane % 4) * 4 + e };
  });
  return { n: Int32Array.from(elements, ({ n }) => n), k: Int32Array.from(elements, ({ k }) => k) };
};
