import type { Layout } from "./layout.ts";
import type { Resizing } from "./resizing.ts";
import type { Scalar } from "./scalar.ts";
import type { StorageType } from "./types.ts";

/**
 * A compiled network: plain data. An artefact holds one, or one for each combination of its symbolic axes' extents; these
 * have their kernels, parameters and weights in common (see programText.ts for how manifest.json has them). The only
 * file of ir/ that the runtime knows (and the types it names).
 */
export type Program = {
  readonly format: 3;
  readonly name: string;
  readonly precision: "f32" | "f16" | "bf16";
  /** One build serves this range; the batch is a launch parameter. */
  readonly batch: { readonly min: number; readonly max: number };
  /** The extents of the symbolic axes that this program is for; all programs of an artefact have the same axes. */
  readonly extents: Extents;
  readonly inputs: readonly Port[];
  readonly outputs: readonly Port[];
  readonly kept: readonly Port[];
  readonly parameters: readonly ParameterSlot[];
  /** Names that a checkpoint may hold and the program does not read. */
  readonly unused: readonly string[];
  readonly weights: readonly Weight[];
  readonly memory: Memory;
  readonly kernels: readonly Kernel[];
  readonly steps: readonly Step[];
  /** Which of them are launched again and again; null where each is launched once. */
  readonly loop: Loop | null;
  /** SHA-256, in hexadecimal, of every file of the artefact but the manifest: sources and images by their paths. */
  readonly checksums: { readonly [path: string]: string };
};

/** Extents of axes by name. */
export type Extents = { readonly [axis: string]: number };

/** An array that goes in or out, dense in `layout`; `shape` is one example's with the batch dimension as "batch". */
export type Port = {
  readonly name: string;
  readonly storage: StorageType;
  readonly layout: Layout;
  readonly shape: readonly PortSize[];
  /** Of an output whose length is a result too: what of it is there. Null: all. */
  readonly upTo: PortCount | null;
  readonly buffer: BufferRef;
  /** Whole numbers that its elements may be, where others mean nothing: lengths of padded sets. */
  readonly range?: { readonly min: number; readonly max: number } | undefined;
};
/**
 * Of a dimension of `times * extent` elements the first of each `extent`, as many as the output `count` says: whole
 * numbers, one of each example, of which the largest counts.
 */
export type PortCount = { readonly dimension: number; readonly extent: number; readonly count: string };
/** A number, or `times` times the batch. */
export type PortSize = number | { readonly batchTimes: number };

export type ParameterSlot = {
  readonly name: string;
  readonly shape: readonly number[];
  /** How it is made from one of another size; null where nobody says. */
  readonly resizing: Resizing | null;
};

/** Bytes of each part of device memory: a fixed part and one that grows with the batch. Every offset is a multiple of 256. */
export type Memory = {
  /** Activations: bytes per example; a buffer's address is base + offset * batch. */
  readonly activations: number;
  /** Values that are the same for every example. */
  readonly shared: number;
  /** Prepared weights. */
  readonly weights: number;
};
export type BufferRef =
  | { readonly space: "activations"; readonly offset: number; readonly bytesPerExample: number }
  | { readonly space: "shared"; readonly offset: number; readonly bytes: number }
  | { readonly space: "weights"; readonly offset: number; readonly bytes: number }
  /** A port of its own: number `index` of inputs, outputs or kept. */
  | { readonly space: "input" | "output" | "kept"; readonly index: number };

/** A device array made from the checkpoint when weights are loaded: computed in float64, rounded once. */
export type Weight = {
  readonly name: string;
  readonly storage: StorageType;
  readonly offset: number;
  readonly bytes: number;
  readonly value: WeightExpr;
};
/** How a prepared weight is computed. Shapes are row-major; elementwise operands broadcast as in NumPy. */
export type WeightExpr =
  | { readonly kind: "parameter"; readonly name: string; readonly shape: readonly number[] }
  | { readonly kind: "constant"; readonly shape: readonly number[]; readonly values: readonly number[] }
  | { readonly kind: "reshape"; readonly of: WeightExpr; readonly shape: readonly number[] }
  | { readonly kind: "permute"; readonly of: WeightExpr; readonly order: readonly number[] }
  | {
      readonly kind: "slice";
      readonly of: WeightExpr;
      readonly axis: number;
      readonly start: number;
      readonly step: number;
      readonly size: number;
    }
  | { readonly kind: "concat"; readonly of: readonly WeightExpr[]; readonly axis: number }
  /** Zeros (or `fill`) behind the elements, up to `shape`. */
  | { readonly kind: "pad"; readonly of: WeightExpr; readonly shape: readonly number[]; readonly fill: number }
  /** [m, k] x [k, n]. */
  | { readonly kind: "matmul"; readonly left: WeightExpr; readonly right: WeightExpr }
  | { readonly kind: "elementwise"; readonly of: readonly WeightExpr[]; readonly body: Scalar }
  /** Drops the axis. */
  | { readonly kind: "sum"; readonly of: WeightExpr; readonly axis: number }
  /** Rounded to a storage type and back: what a kernel will see. */
  | { readonly kind: "rounded"; readonly of: WeightExpr; readonly storage: StorageType }
  /** Along `axis`, element i of the result is element index[i]. */
  | { readonly kind: "take"; readonly of: WeightExpr; readonly axis: number; readonly index: readonly number[] }
  /** Linear interpolation along one axis: result i = sum over j of weights[i][j] * source[index[i][j]]. */
  | {
      readonly kind: "interpolate";
      readonly of: WeightExpr;
      readonly axis: number;
      readonly index: readonly (readonly number[])[];
      readonly weights: readonly (readonly number[])[];
    }
  /** [N, K] in the order in which a tensor-core kernel reads it; see templates/gemm. N and K are padded with zeros to the tile. */
  | { readonly kind: "pack"; readonly of: WeightExpr; readonly order: WeightOrder };
export type WeightOrder =
  /**
   * [N tile][K tile][k16][n16][lane] x 8 elements: the B fragments of two m16n8k16 side by side, one 16-byte load a lane.
   * Columns are permuted within groups of 32 (`group`: 16 for float32 results) so that a thread's results are adjacent.
   * Element e of lane l in block (N tile i, K tile j, k16 s, n16 b) is the weight at
   *   k = j * tileK + s * 16 + (e / 2 % 2) * 8 + (l % 4) * 2 + e % 2
   *   p = i * tileN + b * 16 + e / 4 * 8 + l / 4, the column as the tensor core sees it, and as the matrix has it:
   *   n = p - p % group + (p % 8 / 2) * (group / 4) + (p % group / 8) * 2 + p % 2        (all divisions rounded down)
   */
  | { readonly kind: "fragments"; readonly tileN: number; readonly tileK: number; readonly group: 16 | 32 }
  /**
   * [N tile][K tile][k16][n16][half][lane] x 4 elements: the B fragments of two m16n8k8 one after the other. Element e of
   * lane l in block (N tile i, K tile j, k16 s, n16 b, half h) is the weight at k = j * tileK + s * 16 + l % 4 * 4 + e,
   * n = i * tileN + b * 16 + l / 8 * 4 + h * 2 + l / 4 % 2        (all divisions rounded down)
   */
  | { readonly kind: "fragments32"; readonly tileN: number; readonly tileK: number }
  /** [N tile][K tile][k][n]: plain tiles for the float32 kernel. */
  | { readonly kind: "tiles"; readonly tileN: number; readonly tileK: number };

/** A distinct kernel; several steps may launch it. */
export type Kernel = {
  readonly name: string;
  /** "kernels/NAME.cu" within the artefact. */
  readonly source: string;
  readonly family: string;
  readonly threads: number;
  /** Dynamic shared memory. */
  readonly sharedBytes: number;
  /**
   * Files with its compiled images within the artefact, by target: "sm_80", "sm_90a", "compute_90", "emulated". Those for
   * GPUs are all in one fatbin.
   */
  readonly images: { readonly [target: string]: string };
  /** What ptxas said, by target. */
  readonly ptxas: { readonly [target: string]: PtxasReport };
  /** Tiles and the reasons for them, for people. */
  readonly notes: readonly string[];
};
export type PtxasReport = {
  readonly registers: number;
  readonly spillBytes: number;
  readonly staticSharedBytes: number;
  readonly stackBytes: number;
};

/** One launch. */
export type Step = {
  readonly kernel: string;
  readonly grid: readonly [BlockCount, BlockCount, BlockCount];
  readonly arguments: readonly Argument[];
  /** Where it came from: the author's line and module path, and the formula it computes. */
  readonly origin: Origin;
  /** Floating-point operations and bytes that the mathematics needs (each operand once). */
  readonly work: { readonly flops: Linear; readonly readBytes: Linear; readonly writeBytes: Linear };
};
/**
 * Steps `from` to before `to` are launched at least once and `atMost` so many times: again where a number of `flag`, an
 * i32 of each example, is 1. Where the last ones are not 0, some example was not done: at 2 a step changed nothing more.
 */
export type Loop = { readonly from: number; readonly to: number; readonly flag: BufferRef; readonly atMost: number };
/** How a loop ended. */
export type LoopEnd = {
  /** Steps that were taken. */
  readonly steps: number;
  /**
   * Every example was done; or those that were not stalled: a step changed nothing of theirs, and what there was then is
   * the result; or as many steps were taken as may be, and what there was then is the result.
   */
  readonly end: "done" | "stalled" | "limit";
};
/** What a loop's flag says of an example that is not done. */
const loopFlags = { another: 1, stalled: 2 } as const;
/** The end of a loop that has taken so many steps, by its flags; null where it goes on. */
export const loopEndOf = (flags: Iterable<number>, steps: number, atMost: number): LoopEnd | null => {
  const all = new Set(flags);
  if (all.has(loopFlags.another)) return steps < atMost ? null : { steps, end: "limit" };
  return { steps, end: all.has(loopFlags.stalled) ? "stalled" : "done" };
};
/** factor * ceil((fixed + perExample * batch) / divisor), and those of the launch's other parts. */
export type BlockCount = {
  readonly factor: number;
  readonly fixed: number;
  readonly perExample: number;
  readonly divisor: number;
  readonly plus?: BlockCount;
};
/** fixed + perExample * batch. */
export type Linear = { readonly fixed: number; readonly perExample: number };
export type Argument =
  | { readonly kind: "buffer"; readonly buffer: BufferRef; /** bytes into the buffer */ readonly offset: number }
  /** The batch, as a 32-bit integer. */
  | { readonly kind: "batch" };
export type Origin = {
  readonly file: string;
  readonly line: number;
  readonly column: number;
  readonly path: string;
  readonly formula: string;
};
