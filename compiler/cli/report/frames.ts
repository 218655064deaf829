import sharp from "sharp";
import type { NumberArrays } from "../arrays.ts";
import { clipLayout } from "../media/clips.ts";
import { type ArrayPort, shapeOfBatch } from "../ports.ts";
import type { Frames } from "./tokenData.ts";

/** The pictures of the first example of the first input that is made of pictures; null where none is. */
export async function framesOf(ports: readonly ArrayPort[], inputs: NumberArrays): Promise<Frames | null> {
  for (const port of ports) {
    const clip = clipLayout(port.layout, shapeOfBatch(port, 1));
    const values = inputs.get(port.name)?.values;
    if (clip === null || values === undefined) continue;
    const { frames, height, width, stride } = clip;
    const at = (t: number, y: number, x: number, channel: number): number =>
      values[t * stride.t + y * stride.h + x * stride.w + channel * stride.c] ?? 0;
    const bytes = Array.from({ length: frames }, (_, t) => {
      const picture = new Float32Array(height * width * 3);
      for (let i = 0; i < picture.length; i++)
        picture[i] = at(t, Math.floor(i / 3 / width), Math.floor(i / 3) % width, i % 3);
      return picture;
    });
    // What the network saw was normalised in a way that nobody told us: its darkest number is black, its brightest white.
    const [dark, bright] = extremes(bytes);
    const scale = bright > dark ? 255 / (bright - dark) : 0;
    const pictures = bytes.map(async (picture) => {
      const raw = Uint8Array.from(picture, (value) => Math.round((value - dark) * scale));
      const image = sharp(raw, { raw: { width, height, channels: 3 } });
      const small =
        Math.max(height, width) > mostPixels ? image.resize(mostPixels, mostPixels, { fit: "inside" }) : image;
      return `data:image/webp;base64,${(await small.webp({ quality: 70 }).toBuffer()).toString("base64")}`;
    });
    return {
      input: port.name,
      rows: "h",
      columns: "w",
      over: frames > 1 ? "t" : null,
      pictures: await Promise.all(pictures),
    };
  }
  return null;
}

/** Larger ones would say no more in a report. */
const mostPixels = 224;

function extremes(pictures: readonly Float32Array[]): readonly [number, number] {
  let [least, most] = [Infinity, -Infinity];
  for (const picture of pictures)
    for (const value of picture) {
      least = Math.min(least, value);
      most = Math.max(most, value);
    }
  return [least, most];
}
