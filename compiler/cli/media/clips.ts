import { statSync } from "node:fs";
import type { Layout } from "../../../ir/layout.ts";
import { CommandError } from "../failure.ts";
import { isPicture, openFolder, openPicture } from "./pictures.ts";
import type { FrameSource } from "./picture.ts";
import { preprocess, type Preprocessing, sampleFrames } from "./preprocess.ts";
import { openVideo } from "./video.ts";

/** An input that takes pictures or clips: one clip of `frames` pictures for each example. */
export type ClipLayout = {
  readonly frames: number;
  readonly height: number;
  readonly width: number;
  /** Elements from one position to the next along each of these in one example's array. */
  readonly stride: { readonly [axis in "b" | "c" | "t" | "h" | "w"]: number };
};

/**
 * How an array of this layout and shape (of one example) holds clips, or null where it holds something else: it needs
 * dimensions of their own for the batch, three channels, `h`, `w` and, for more than one frame, `t`.
 */
export function clipLayout(layout: Layout, shape: readonly number[]): ClipLayout | null {
  const sizes = new Map<string, number>();
  const strides = new Map<string, number>();
  let stride = 1;
  for (const [index, dimension] of layout.toReversed().entries()) {
    const [part, otherPart] = dimension;
    const size = shape.at(-1 - index);
    if (part === undefined || otherPart !== undefined || part.length > 1 || size === undefined) return null;
    const [axis] = part;
    if (axis !== undefined) {
      sizes.set(axis, size);
      strides.set(axis, stride);
    }
    stride *= size;
  }
  const [height, width] = [sizes.get("h"), sizes.get("w")];
  const known = [...sizes.keys()].every((axis) => ["b", "c", "t", "h", "w"].includes(axis));
  if (!known || height === undefined || width === undefined || sizes.get("c") !== 3 || !sizes.has("b")) return null;
  const strideOf = (axis: string): number => strides.get(axis) ?? 0;
  return {
    frames: sizes.get("t") ?? 1,
    height,
    width,
    stride: { b: strideOf("b"), c: strideOf("c"), t: strideOf("t"), h: strideOf("h"), w: strideOf("w") },
  };
}

/** Decodes each file (a video, a folder of pictures, a moving or a still picture) into one example of the batch. */
export async function readClips(
  files: readonly string[],
  target: ClipLayout,
  preprocessing: Preprocessing,
): Promise<Float32Array> {
  const { frames, height, width, stride } = target;
  const values = new Float32Array(files.length * frames * height * width * 3);
  const perExample = frames * height * width * 3;
  if (stride.b !== perExample && files.length > 1) {
    throw new CommandError("several clips need an input whose first dimension is the batch");
  }
  for (const [example, file] of files.entries()) {
    const source = await openSource(file);
    const pictures = await source.read(sampleFrames(source, frames, preprocessing.interval));
    for (const [t, picture] of pictures.entries()) {
      const pixels = preprocess(picture, height, width, preprocessing);
      let at = 0;
      for (let y = 0; y < height; y++) {
        for (let x = 0; x < width; x++) {
          const place = example * perExample + t * stride.t + y * stride.h + x * stride.w;
          for (let channel = 0; channel < 3; channel++) values[place + channel * stride.c] = pixels[at++] ?? 0;
        }
      }
    }
  }
  return values;
}

/** Opens a video, a folder of pictures, a moving or a still picture. */
export function openSource(file: string): Promise<FrameSource> {
  const stat = statSync(file, { throwIfNoEntry: false });
  if (stat === undefined) throw new CommandError(`there is no file or folder "${file}"`);
  if (stat.isDirectory()) return openFolder(file);
  return isPicture(file) ? openPicture(file) : openVideo(file);
}
