/** How a product is cut up: blocks of rows x columns over steps of K, each made by warps side by side. */
export type GemmTiles = {
  readonly tileM: number;
  readonly tileN: number;
  readonly tileK: number;
  readonly stages: number;
  readonly warpsM: number;
  readonly warpsN: number;
  readonly threads: number;
  /** Blocks that registers must leave room for on a multiprocessor. */
  readonly minBlocks: number;
  readonly sharedBytes: number;
  readonly notes: readonly string[];
};

/** What the choice of tiles looks at. */
export type GemmProblem = {
  /** Rows of an example, or of all where there is no batch. */
  readonly rows: number;
  readonly batched: boolean;
  readonly columns: number;
  /** Runs of columns that no tile may straddle. */
  readonly groups: number;
  readonly k: number;
  /** Results of a thread that lie next to each other: 8 where they are stored in 16 bits. */
  readonly group: 16 | 32;
  readonly elementBytes: 2 | 4;
  readonly tensorCores: boolean;
  /** A is loaded through registers, or its rows are measured: both take registers from the products. */
  readonly needsRegisters: boolean;
  readonly norm: boolean;
  /** Of a block, where other products of the launch want as many; null leaves it open. */
  readonly threads: number | null;
};

type Candidate = Pick<GemmTiles, "tileM" | "tileN" | "warpsM" | "warpsN"> & {
  /** Part of the multiplication rate that the main loop reaches; what small tiles lose is traffic of shared memory. */
  readonly efficiency: number;
  /** Its warps' sums leave few registers: not where A or statistics need some. */
  readonly full?: true;
};

/** Columns of the narrowest tile. */
export const narrowestTile = 32;

const tensorCandidates: readonly Candidate[] = [
  { tileM: 128, tileN: 128, warpsM: 2, warpsN: 4, efficiency: 0.85 },
  { tileM: 128, tileN: 96, warpsM: 4, warpsN: 1, efficiency: 0.78, full: true },
  { tileM: 128, tileN: 64, warpsM: 4, warpsN: 2, efficiency: 0.75 },
  { tileM: 64, tileN: 128, warpsM: 2, warpsN: 4, efficiency: 0.75 },
  { tileM: 64, tileN: 96, warpsM: 2, warpsN: 1, efficiency: 0.65 },
  { tileM: 64, tileN: 64, warpsM: 2, warpsN: 2, efficiency: 0.65 },
  { tileM: 128, tileN: 32, warpsM: 4, warpsN: 1, efficiency: 0.5 },
  { tileM: 64, tileN: 32, warpsM: 2, warpsN: 1, efficiency: 0.45 },
  { tileM: 32, tileN: 128, warpsM: 1, warpsN: 4, efficiency: 0.5 },
  { tileM: 32, tileN: 64, warpsM: 1, warpsN: 2, efficiency: 0.45 },
  { tileM: 16, tileN: 128, warpsM: 1, warpsN: 4, efficiency: 0.3 },
  { tileM: 16, tileN: 64, warpsM: 1, warpsN: 2, efficiency: 0.28 },
];

const exactCandidates: readonly Candidate[] = [
  { tileM: 128, tileN: 64, warpsM: 2, warpsN: 2, efficiency: 0.8 },
  { tileM: 64, tileN: 64, warpsM: 2, warpsN: 2, efficiency: 0.7 },
  { tileM: 64, tileN: 32, warpsM: 2, warpsN: 1, efficiency: 0.6 },
  { tileM: 32, tileN: 64, warpsM: 1, warpsN: 2, efficiency: 0.6 },
  { tileM: 16, tileN: 64, warpsM: 1, warpsN: 2, efficiency: 0.4 },
];

// The estimate is for ranking alone. A multiprocessor of an A100, which a kernel for sm_80 must suit and whose
// proportions those of later ones resemble: multiplications a clock, resident threads, shared memory, registers.
const device = { multiprocessors: 108, sharedBytes: 163 * 1024, registers: 65536, threads: 2048 };
const multiplyRate = ({ elementBytes, tensorCores }: GemmProblem): number =>
  elementBytes === 2 ? 1024 : tensorCores ? 512 : 64;
/** From the second-level cache, bytes a clock of a multiprocessor. */
const loadRate = 40;
/** With the rows' statistics these fit the 99 KiB that a block may have on sm_86 and sm_89. */
const mostStageBytes = 98304;
const fillClocks = 1500;
/** Clocks of a multiprocessor that storing one result takes. */
const epilogueClocks = 6 / 128;

/** The tiles that lose least, over one example and over eight at a time, against the best tiles for either. */
export const chooseGemmTiles = (problem: GemmProblem): GemmTiles => {
  const candidates = problem.elementBytes === 2 ? tensorCandidates : exactCandidates;
  const shapes = candidates
    .filter((candidate) => !(candidate.full && problem.needsRegisters))
    .filter(({ tileN }) => problem.groups === 1 || (problem.columns / problem.groups) % tileN === 0)
    .filter(({ warpsM, warpsN }) => problem.threads === null || warpsM * warpsN * 32 === problem.threads)
    .map((candidate) => shapeOf(candidate, problem));
  const batches = problem.batched ? [1, 8] : [1];
  const clocks = shapes.map((shape) => batches.map((batch) => estimate(shape, problem, problem.rows * batch)));
  const best = batches.map((_, at) => Math.min(...clocks.map((each) => each[at] ?? Infinity)));
  const losses = clocks.map((each) => each.reduce((loss, clock, at) => loss * (clock / (best[at] ?? clock)), 1));
  const at = losses.indexOf(Math.min(...losses));
  const shape = shapes[at];
  if (shape === undefined) throw new Error("internal: no tiles to choose from");
  return { ...shape.tiles, notes: notesOf(shape.tiles, problem) };
};

type Shape = { readonly tiles: Omit<GemmTiles, "notes">; readonly efficiency: number; readonly resident: number };

const shapeOf = (candidate: Candidate, problem: GemmProblem): Shape => {
  const { tileM, tileN, warpsM, warpsN, efficiency } = candidate;
  const threads = warpsM * warpsN * 32;
  const tileK = tileKOf(candidate, problem);
  const tilesK = Math.ceil(problem.k / tileK);
  const stageBytes = (tileM + tileN) * tileK * problem.elementBytes;
  const stages = Math.max(2, Math.min(4, Math.floor(mostStageBytes / stageBytes), tilesK));
  const sharedBytes = stages * stageBytes + (problem.norm && problem.elementBytes === 2 ? tileM * 8 : 0);
  const minBlocks =
    threads === 256 ? (problem.needsRegisters ? 1 : 2) : problem.needsRegisters ? 2 : threads === 128 ? 2 : 4;
  const resident = Math.max(
    1,
    Math.min(Math.floor(device.sharedBytes / (sharedBytes + 1024)), threads === 256 ? 2 : 512 / threads),
  );
  return {
    tiles: { tileM, tileN, tileK, stages, warpsM, warpsN, threads, minBlocks, sharedBytes },
    efficiency,
    resident,
  };
};

/** Long steps amortise their barrier; but a step that K ends within multiplies zeros. */
const tileKOf = ({ tileM, warpsM, warpsN }: Candidate, problem: GemmProblem): number => {
  if (problem.elementBytes === 4) return 16;
  const threads = warpsM * warpsN * 32;
  // A thread copies rows that lie threads / (chunks of a row) apart: no further than the tile has rows.
  // What passes through registers, or is measured, keeps some for each chunk: four of them at most.
  const chunks = problem.needsRegisters ? 4 : 8;
  const allowed = [64, 32, 16].filter(
    (tileK) => threads / (tileK / 8) <= tileM && (tileM * (tileK / 8)) / threads <= chunks,
  );
  const padded = (tileK: number): number => Math.ceil(problem.k / tileK) * tileK;
  const least = Math.min(...allowed.map(padded));
  return allowed.find((tileK) => padded(tileK) <= 1.1 * least) ?? 64;
};

const estimate = ({ tiles, efficiency, resident }: Shape, problem: GemmProblem, rows: number): number => {
  const { tileM, tileN, tileK } = tiles;
  const k = Math.ceil(problem.k / tileK) * tileK;
  const blocks = Math.ceil(rows / tileM) * Math.ceil(problem.columns / tileN);
  const load = ((tileM + tileN) * k * problem.elementBytes) / loadRate;
  const multiply = Math.max(load, (tileM * tileN * k) / (multiplyRate(problem) * efficiency));
  // Of tiles that take as long, those that waste least.
  const unused = Math.ceil(problem.columns / tileN) * tileN - problem.columns;
  const store = tileM * (tileN * epilogueClocks + unused * 0.1);
  const waves = Math.ceil(blocks / (device.multiprocessors * resident));
  const sharing = Math.min(resident, Math.ceil(blocks / device.multiprocessors));
  return waves * Math.max((multiply + store) * sharing, multiply + store + fillClocks);
};

const notesOf = (tiles: Omit<GemmTiles, "notes">, problem: GemmProblem): readonly string[] => {
  const { tileM, tileN, tileK, stages, warpsM, warpsN, sharedBytes } = tiles;
  const unused = Math.ceil(problem.columns / tileN) * tileN - problem.columns;
  const tilesK = Math.ceil(problem.k / tileK);
  const paddedK = tilesK * tileK - problem.k;
  const unit = problem.tensorCores ? "tensor cores" : "float32 units";
  return [
    `Tiles of ${tileM} rows x ${tileN} columns, K in ${tilesK === 1 ? "one step" : `${tilesK} steps`} of ${tileK}: ` +
      `${unused === 0 ? "no column of a tile is unused" : `${unused} columns of the last tile are unused`}` +
      `${paddedK === 0 ? "" : `, ${paddedK} elements of the last step are zeros`}. ` +
      `Of the candidates for ${problem.rows} rows${problem.batched ? " an example" : ""} these keep the ${unit} busiest by estimate.`,
    `${warpsM} x ${warpsN} warps of ${tileM / warpsM} x ${tileN / warpsN}; ${stages} stages in flight, ${sharedBytes} bytes of shared memory.`,
  ];
};
