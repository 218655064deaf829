import { readFileSync } from "node:fs";
import sharp from "sharp";
import { describe, expect, it } from "vitest";
import {
  clipFrames,
  clipSize,
  drawClip,
  heldOutSeed,
  motions,
  renderClip,
} from "../../compiler/cli/demo/motionClip.ts";

const folder = new URL("../../models/timesformerMotion/clips/", import.meta.url);
type Sample = { file: string; seed: number; label: string };
const samples = JSON.parse(readFileSync(new URL("clips.json", folder), "utf8")) as Sample[];

describe("motion clips", () => {
  it.each(samples)("draws $file from its seed, pixel by pixel", async ({ file, seed, label }) => {
    const clip = drawClip(seed);
    expect(clip.motion).toBe(label);
    const picture = await sharp(readFileSync(new URL(file, folder)), { pages: -1 })
      .removeAlpha()
      .raw()
      .toBuffer({ resolveWithObject: true });
    expect(picture.info).toMatchObject({ width: clipSize, height: clipSize * clipFrames, channels: 3 });
    expect(Buffer.compare(picture.data, renderClip(clip))).toBe(0);
  });

  it("draws the frames that the dataset stores as pictures", async () => {
    const expected = renderClip(drawClip(samples[0]?.seed ?? 0));
    const frameBytes = clipSize * clipSize * 3;
    for (let t = 0; t < clipFrames; t++) {
      const file = new URL(`clips/01-moving-left-square/frame_0${t}.png`, import.meta.url);
      const pixels = await sharp(readFileSync(file)).removeAlpha().raw().toBuffer();
      expect(Buffer.compare(pixels, expected.subarray(t * frameBytes, (t + 1) * frameBytes))).toBe(0);
    }
  });

  it("is a pure function of the seed, and covers every motion", () => {
    const seeds = Array.from({ length: 200 }, (_, index) => heldOutSeed(index));
    expect(heldOutSeed(5)).toBe(0x80000005);
    expect(new Set(seeds.map((seed) => drawClip(seed).motion))).toEqual(new Set(motions));
    expect(drawClip(seeds[3] ?? 0)).toEqual(drawClip(seeds[3] ?? 0));
    expect(renderClip(drawClip(1))).not.toEqual(renderClip(drawClip(2)));
  });
});
