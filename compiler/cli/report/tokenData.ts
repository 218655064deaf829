/** What tokens of one attention see in one example, for the page. Rows are numbered as a tensor's: prefix tokens first. */
export type AttentionTokens = {
  /** Number of the launch; null where no single launch attends for it. */
  readonly launch: number | null;
  readonly path: string;
  readonly formula: string;
  readonly heads: number;
  readonly queries: TokenGrid;
  readonly keys: TokenGrid;
  /** The largest weights of each query and head; others are left out. */
  readonly weights: PackedWeights;
  /** By job of the kernel; empty where the kernel is another one. */
  readonly tiles: readonly TileData[];
};

export type TokenGrid = {
  readonly axes: readonly { readonly axis: string; readonly size: number }[];
  readonly prefix: { readonly count: number; readonly over: readonly string[] };
};

/** Row by row (query times heads plus head), `count` entries each, the heaviest first. All are little-endian, in base64. */
export type PackedWeights = {
  readonly count: number;
  /** Rows of keys: unsigned integers of 32 bits; the largest one where a row has fewer entries. */
  readonly keys: string;
  /** Signed integers of 8 bits, as so many 127th parts of the row's heaviest weight. */
  readonly values: string;
  /** By row: the heaviest weight, float32. */
  readonly heaviest: string;
  /** By row: the sum of the weights that are left out, float32. */
  readonly rest: string;
};
export const noKey = 0xffff_ffff;

/** As `TokenTiles` of the schedule. */
export type TileData = {
  readonly met: readonly (readonly ("skipped" | "partial" | "full")[])[];
  readonly blockSlots: number;
  readonly queries: readonly number[];
  readonly keys: readonly (readonly number[])[];
  readonly irregular: readonly boolean[];
};

/** Pictures of the input, one for each position of the axes that are neither rows nor columns of a picture. */
export type Frames = {
  readonly input: string;
  /** Axes of the pictures' rows and columns. */
  readonly rows: string;
  readonly columns: string;
  /** The axis along which pictures follow each other; null for one picture. */
  readonly over: string | null;
  /** `data:` addresses. */
  readonly pictures: readonly string[];
};
