import type { BlockVector, CompressedFrame } from "./motionVectors.ts";
import { placementIn } from "./preprocess.ts";

/** Codecs predict blocks of four pixels and more. */
const cell = 4;

/** Motion at the place of each cell, (x, y), added up over frames: pixels that what is seen has moved by. */
type Field = { readonly width: number; readonly height: number; readonly columns: number; readonly sums: Float32Array };

/**
 * How far everything has moved between the frames numbered `indices`, in the pixels of a network's picture: an array
 * [frames, 2, height, width], (x, y), zero for the first. Each frame between adds what it has moved since the one before it, where
 * it lies itself. A vector tells of the nearest frame that may be predicted from, on its side: codecs do not say of
 * which one it is. Blocks without a vector have not moved. Null where the frames have no vectors at all.
 */
export async function motionBetween(
  frames: AsyncIterable<CompressedFrame>,
  indices: readonly number[],
  { height, width }: { readonly height: number; readonly width: number },
): Promise<Float32Array | null> {
  const fields: (Field | undefined)[] = [];
  let found = false;
  const add = (number: number, frame: CompressedFrame, past: number, future: number): void => {
    const interval = indices.findIndex((index) => number <= index);
    if (interval < 1 || frame.vectors.length === 0) return;
    found = true;
    const field = (fields[interval] ??= emptyField(frame));
    addVelocities(field, frame.vectors, { past, future });
  };
  let reference = 0;
  let waiting: { readonly number: number; readonly frame: CompressedFrame }[] = [];
  let number = 0;
  const last = indices.at(-1) ?? 0;
  for await (const frame of frames) {
    if (frame.isReference) {
      for (const each of waiting) add(each.number, each.frame, each.number - reference, number - each.number);
      waiting = [];
      add(number, frame, number - reference, 1);
      reference = number;
    } else waiting.push({ number, frame });
    // Frames that are predicted from later ones wait for these.
    if (number >= last && waiting.length === 0) break;
    number++;
  }
  for (const each of waiting) add(each.number, each.frame, each.number - reference, 1);
  if (!found) return null;
  const motion = new Float32Array(indices.length * 2 * height * width);
  for (const [t, field] of fields.entries()) if (field !== undefined) place(field, motion, t, height, width);
  return motion;
}

function emptyField({ width, height }: CompressedFrame): Field {
  const columns = Math.ceil(width / cell);
  return { width, height, columns, sums: new Float32Array(2 * columns * Math.ceil(height / cell)) };
}

/** Where a cell has several vectors, their mean counts. */
function addVelocities(
  { columns, sums }: Field,
  vectors: readonly BlockVector[],
  distance: { readonly past: number; readonly future: number },
): void {
  const own = new Float32Array(sums.length);
  const counts = new Float32Array(sums.length / 2);
  const rows = counts.length / columns;
  for (const { left, top, width, height, from, x, y } of vectors) {
    // What was found behind us in the past has moved towards us since.
    const share = from === "past" ? -1 / Math.max(1, distance.past) : 1 / Math.max(1, distance.future);
    for (let row = Math.max(0, Math.floor(top / cell)); row < Math.min(rows, (top + height) / cell); row++)
      for (
        let column = Math.max(0, Math.floor(left / cell));
        column < Math.min(columns, (left + width) / cell);
        column++
      ) {
        const at = row * columns + column;
        own[2 * at] = (own[2 * at] ?? 0) + share * x;
        own[2 * at + 1] = (own[2 * at + 1] ?? 0) + share * y;
        counts[at] = (counts[at] ?? 0) + 1;
      }
  }
  for (let i = 0; i < sums.length; i++) {
    const count = counts[i >> 1] ?? 0;
    if (count > 0) sums[i] = (sums[i] ?? 0) + (own[i] ?? 0) / count;
  }
}

/** The field as the network's picture lies in the video's. */
function place(field: Field, motion: Float32Array, t: number, height: number, width: number): void {
  const { full, top, left } = placementIn(field, height, width);
  const scale = { x: full.width / field.width, y: full.height / field.height };
  const cellAt = (at: number, by: number, extent: number): number =>
    Math.floor(Math.min(extent - 1, (at + 0.5) / by) / cell);
  for (let y = 0; y < height; y++) {
    const row = cellAt(y + top, scale.y, field.height);
    for (let x = 0; x < width; x++) {
      const from = 2 * (row * field.columns + cellAt(x + left, scale.x, field.width));
      const to = (2 * t * height + y) * width + x;
      motion[to] = (field.sums[from] ?? 0) * scale.x;
      motion[to + height * width] = (field.sums[from + 1] ?? 0) * scale.y;
    }
  }
}
