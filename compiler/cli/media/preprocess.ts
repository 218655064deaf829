import type { FrameSource, Picture } from "./picture.ts";

/**
 * How a clip becomes numbers, as published for TimeSformer (Bertasius et al., arXiv 2102.05095, section 4, and its
 * code): frames at equal intervals, the short side resized to the network's, the centre cropped, and
 * (pixel / 255 - mean) / deviation for each of the channels R, G, B.
 */
export type Preprocessing = {
  readonly mean: readonly number[];
  readonly deviation: readonly number[];
  /** Frames of a video at 30 frames a second from one sampled frame to the next; null: as published for so many frames. */
  readonly interval: number | null;
};
export const published: Preprocessing = { mean: [0.45, 0.45, 0.45], deviation: [0.225, 0.225, 0.225], interval: null };

/** Frames x interval of the published models: 8 x 32, 16 x 16 (HR), 96 x 4 (L). Others see the same 256 frames. */
const publishedIntervals: ReadonlyMap<number, number> = new Map([
  [8, 32],
  [16, 16],
  [96, 4],
]);

/**
 * Which frames of a source are seen: the published rule where the source is long enough for it, otherwise, and for
 * pictures without a clock, equal intervals from the first frame to the last.
 */
export function sampleFrames(
  source: Pick<FrameSource, "frames" | "rate">,
  count: number,
  interval: number | null,
): number[] {
  const step = interval ?? publishedIntervals.get(count) ?? 256 / count;
  const span = source.rate === null ? source.frames : Math.min(source.frames, (step * count * source.rate) / 30);
  return Array.from({ length: count }, (_, index) =>
    Math.min(source.frames - 1, Math.floor(count === 1 ? 0 : (index * (span - 1)) / (count - 1))),
  );
}

/** Where a network's picture lies in one that was resized. */
export type Placement = {
  /** Extents of the whole picture, resized. */
  readonly full: { readonly width: number; readonly height: number };
  readonly top: number;
  readonly left: number;
};

/** The short side has the network's length, the centre is cut out. */
export function placementIn(
  picture: { readonly width: number; readonly height: number },
  height: number,
  width: number,
): Placement {
  const tall = picture.width * height < picture.height * width;
  const full = tall
    ? { width, height: Math.max(height, Math.floor((picture.height / picture.width) * width)) }
    : { width: Math.max(width, Math.floor((picture.width / picture.height) * height)), height };
  return { full, top: Math.ceil((full.height - height) / 2), left: Math.ceil((full.width - width) / 2) };
}

/** [height, width, 3], resized, cropped at the centre and normalised. */
export function preprocess(
  picture: Picture,
  height: number,
  width: number,
  { mean, deviation }: Preprocessing,
): Float32Array {
  const { full, top, left } = placementIn(picture, height, width);

  const rows = Array.from({ length: height }, (_, y) => taps(y + top, picture.height, full.height));
  const columns = Array.from({ length: width }, (_, x) => taps(x + left, picture.width, full.width));
  const result = new Float32Array(height * width * 3);
  let at = 0;
  for (const row of rows) {
    for (const column of columns) {
      for (let channel = 0; channel < 3; channel++) {
        const read = (y: number, x: number): number => picture.pixels[(y * picture.width + x) * 3 + channel] ?? 0;
        const above = mix(read(row.first, column.first), read(row.first, column.second), column.share);
        const below = mix(read(row.second, column.first), read(row.second, column.second), column.share);
        const value = mix(above, below, row.share) / 255;
        result[at++] = (value - (mean[channel] ?? 0)) / (deviation[channel] ?? 1);
      }
    }
  }
  return result;
}

/** Bilinear interpolation between pixel centres, without smoothing: the two source pixels and the second one's share. */
function taps(
  index: number,
  from: number,
  to: number,
): { readonly first: number; readonly second: number; readonly share: number } {
  const position = Math.max(0, ((index + 0.5) * from) / to - 0.5);
  const first = Math.min(Math.floor(position), from - 1);
  return { first, second: Math.min(first + 1, from - 1), share: position - first };
}

const mix = (a: number, b: number, share: number): number => a + (b - a) * share;
