import { type AttentionTokens, noKey, type PackedWeights, type TileData } from "../tokenData.ts";

export type AttendedKey = { readonly key: number; readonly weight: number };
export type Attended = {
  readonly heaviest: number;
  /** The heaviest first. */
  readonly keys: readonly AttendedKey[];
  /** Sum of the weights of all others. */
  readonly rest: number;
};

/** What is kept of one query's weights. */
export function attended({ weights, heads }: AttentionTokens, query: number, head: number): Attended {
  const { keys, values, heaviest, rest } = unpacked(weights);
  const row = query * heads + head;
  const top = heaviest[row] ?? 0;
  const list = Array.from({ length: weights.count }, (_, place) => {
    const at = row * weights.count + place;
    return { key: keys[at] ?? noKey, weight: ((values[at] ?? 0) * top) / 127 };
  });
  return { heaviest: top, keys: list.filter(({ key }) => key !== noKey), rest: rest[row] ?? 0 };
}

type Unpacked = {
  readonly keys: Uint32Array;
  readonly values: Int8Array;
  readonly heaviest: Float32Array;
  readonly rest: Float32Array;
};
const known = new WeakMap<PackedWeights, Unpacked>();

function unpacked(packed: PackedWeights): Unpacked {
  const found = known.get(packed) ?? {
    keys: new Uint32Array(bytesOf(packed.keys)),
    values: new Int8Array(bytesOf(packed.values)),
    heaviest: new Float32Array(bytesOf(packed.heaviest)),
    rest: new Float32Array(bytesOf(packed.rest)),
  };
  known.set(packed, found);
  return found;
}

const bytesOf = (base64: string): ArrayBuffer => Uint8Array.from(atob(base64), (each) => each.charCodeAt(0)).buffer;

export type TileClass = "full" | "partial" | "skipped";

/** The class of the tile that a query shares with each key it meets at all; null where that is not known. */
export function tileClasses({ tiles }: AttentionTokens, query: number): ReadonlyMap<number, TileClass> | null {
  if (tiles.length === 0) return null;
  const classes = new Map<number, TileClass>();
  for (const job of tiles) addClasses(job, query, classes);
  return classes;
}

function addClasses(job: TileData, query: number, classes: Map<number, TileClass>): void {
  const place = job.queries[query] ?? -1;
  if (place < 0) return;
  const block = Math.floor(place / job.met.length);
  const met = job.met[place % job.met.length] ?? [];
  const irregular = job.irregular[block] === true;
  for (const [slot, key] of (job.keys[block] ?? []).entries()) {
    const meeting = met[Math.floor(slot / job.blockSlots)] ?? "skipped";
    if (key >= 0) classes.set(key, meeting === "full" && irregular ? "partial" : meeting);
  }
}
