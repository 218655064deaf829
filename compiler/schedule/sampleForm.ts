import { planDense, type DensePlan } from "./densePlan.ts";
import type { SampleKernel } from "./kernels.ts";
import { usualTarget, type Target } from "./target.ts";

/** How a sampling is computed: its corners gathered, or maps multiplied with what the points take of every pixel. */
export type SampleForm =
  | { readonly kind: "gather"; readonly reason: string | null }
  | { readonly kind: "dense"; readonly plan: DensePlan; readonly reason: string };

/**
 * The form that is estimated to take less time. Both are counted in clocks of a multiprocessor for a head of a row:
 * instructions of warps, of which four are issued a clock, and bytes, which pass while others are issued when gathered.
 */
export function chooseForm(kernel: SampleKernel, target: Target = usualTarget): SampleForm {
  const plan = planDense(kernel, target);
  if (plan === null) return { kind: "gather", reason: null };
  const [gather, dense] = [gatherClocks(kernel, plan), denseClocks(kernel, plan, target)];
  const figures = `${gather.toFixed(0)} clocks of a multiprocessor for a head of a row gathered, ${dense.toFixed(0)} multiplied`;
  return dense < gather
    ? { kind: "dense", plan, reason: `Estimated ${figures}.` }
    : { kind: "gather", reason: `Corners are gathered: an estimated ${figures}.` };
}

/** Instructions issued a clock. */
const issued = 4;
/** Bytes a clock: from L1, and from L2 to each multiprocessor where all read. */
const nearBytes = 128;
const farBytes = 40;
/** Maps that are no larger stay in L1. */
const nearMost = 128 * 1024;

/** Of a thread for a point: its weight, for a softmax twice, place and corners; and four corners of 8 channels, unpacked and added up. */
const placing = 60;
const adding = 73;

function gatherClocks(kernel: SampleKernel, plan: DensePlan): number {
  const { width, heads } = kernel;
  const points = kernel.points * kernel.levels.length;
  const instructions = (points * (placing + (width / plan.run) * adding)) / 32;
  const bytes = points * 4 * width * 2;
  // What the rows of a block read: the maps of all heads.
  const maps = plan.levels.reduce((sum, { pixels, count }) => sum + count * pixels * heads * width * 2, 0);
  return Math.max(instructions / issued, bytes / (maps <= nearMost ? nearBytes : farBytes));
}

/** Of a lane for a point of a row that has its pixel there. Four lanes share a point, and each has two rows. */
const spreading = 30;
/** Of a warp for 16 pixels, besides products and the map's fragments: shares of both halves, rounded, and addresses. */
const sharing = 12;
/** Clocks of 16 x 8 x 16 products on the tensor cores of sm_80; they follow the instructions before them. */
const productClocks = 2;
const copying = 6;

function denseClocks({ width }: SampleKernel, plan: DensePlan, target: Target): number {
  const chunks = width / 8;
  const ofRow = plan.levels.reduce((sum, { pixels, count, points }) => {
    const steps = Math.ceil(pixels / 16);
    const clearing = (steps * 16) / 8;
    const instructions =
      points * (2 * spreading + (2 * placing * 16) / 32) + clearing + steps * (1.5 * chunks + sharing);
    const warp = instructions / issued + steps * chunks * productClocks;
    const copied = (steps * 16 * chunks * copying) / 32 / issued + (steps * 16 * width * 2) / farBytes;
    return sum + count * (warp / 16 + copied / plan.tileRows);
  }, 0);
  const idleRows = (plan.tilesPerRun * plan.tileRows) / plan.runRows;
  const idleMultiprocessors = Math.max(1, target.multiprocessors / plan.blocksPerExample);
  return ofRow * idleRows * idleMultiprocessors;
}
