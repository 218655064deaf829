import { execFileSync } from "node:child_process";
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import sharp from "sharp";
import { afterAll, describe, expect, it } from "vitest";
import { drawClip, renderClip } from "../../compiler/cli/demo/motionClip.ts";
import { clipLayout, readClips } from "../../compiler/cli/media/clips.ts";
import { preprocess, published, sampleFrames } from "../../compiler/cli/media/preprocess.ts";
import { openVideo } from "../../compiler/cli/media/video.ts";

const here = (path: string): string => fileURLToPath(new URL(path, import.meta.url));
const gif = here("../../models/timesformerMotion/clips/01-moving-left-square.gif");
const folder = here("clips/01-moving-left-square");
const folderSeed = 0x800003f5;
const scratch = mkdtempSync(join(tmpdir(), "fovea-media-"));
afterAll(() => rmSync(scratch, { recursive: true }));

const bcthw = [[["b"]], [["c"]], [["t"]], [["h"]], [["w"]]];
const motionInput = { frames: 8, height: 64, width: 64, stride: { b: 98304, c: 32768, t: 4096, h: 64, w: 1 } };

/** The network's input for a clip: [c, t, h, w], (pixel / 255 - 0.45) / 0.225. */
function expectedInput(seed: number): Float32Array {
  const pixels = renderClip(drawClip(seed));
  return Float32Array.from({ length: pixels.length }, (_, at) => {
    const [channel, position] = [Math.floor(at / 32768), at % 32768];
    return ((pixels[position * 3 + channel] ?? NaN) / 255 - 0.45) / 0.225;
  });
}

const hasFfmpeg = ((): boolean => {
  try {
    execFileSync("ffmpeg", ["-version"], { stdio: "ignore" });
    return true;
  } catch {
    return false;
  }
})();

/** A lossless video of a clip's frames, each shown `repeat` times. */
function makeVideo(name: string, repeat: number): string {
  const file = join(scratch, name);
  const pixels = renderClip(drawClip(folderSeed));
  const frame = 64 * 64 * 3;
  const frames = Array.from({ length: 8 * repeat }, (_, t) =>
    pixels.subarray(Math.floor(t / repeat) * frame, (Math.floor(t / repeat) + 1) * frame),
  );
  execFileSync(
    "ffmpeg",
    [
      "-v",
      "error",
      "-y",
      "-f",
      "rawvideo",
      "-pix_fmt",
      "rgb24",
      "-s",
      "64x64",
      "-r",
      "30",
      "-i",
      "-",
      "-c:v",
      "png",
      file,
    ],
    { input: Buffer.concat(frames) },
  );
  return file;
}

describe("clips", () => {
  it("knows inputs that hold clips from those that do not", () => {
    expect(clipLayout(bcthw, [1, 3, 8, 64, 64])).toEqual(motionInput);
    expect(clipLayout([[["b"]], [["h"]], [["w"]], [["c"]]], [1, 5, 7, 3])).toMatchObject({
      frames: 1,
      height: 5,
      width: 7,
      stride: { h: 21, w: 3, c: 1 },
    });
    expect(clipLayout(bcthw, [1, 4, 8, 64, 64])).toBeNull();
    expect(clipLayout([[["b"]], [["n"]], [["c"]]], [1, 100, 3])).toBeNull();
    expect(clipLayout([[["b", "t"]], [["c"]], [["h"]], [["w"]]], [8, 3, 64, 64])).toBeNull();
  });

  it("reads a moving GIF frame by frame", async () => {
    expect(await readClips([gif], motionInput, published)).toEqual(expectedInput(folderSeed));
  });

  it("reads a folder of pictures in the order of their numbers, several clips one after another", async () => {
    const unpadded = join(scratch, "unpadded");
    mkdirSync(unpadded);
    // frame_10 after frame_9, although not in the order of characters.
    for (let t = 0; t < 8; t++)
      writeFileSync(join(unpadded, `frame_${t + 4}.png`), readFileSync(join(folder, `frame_0${t}.png`)));
    writeFileSync(join(unpadded, "notes.txt"), "not a picture");
    const values = await readClips([unpadded, gif], motionInput, published);
    expect(values.subarray(0, 98304)).toEqual(expectedInput(folderSeed));
    expect(values.subarray(98304)).toEqual(expectedInput(folderSeed));
  });

  it("refuses folders without pictures, pictures of several sizes, and files that are neither", async () => {
    const empty = join(scratch, "empty");
    mkdirSync(empty);
    await expect(readClips([empty], motionInput, published)).rejects.toThrow("holds no pictures");
    const mixed = join(scratch, "mixed");
    mkdirSync(mixed);
    for (const [name, size] of [
      ["a.png", 8],
      ["b.png", 9],
    ] as const) {
      await sharp({ create: { width: size, height: 8, channels: 3, background: "red" } })
        .png()
        .toFile(join(mixed, name));
    }
    await expect(readClips([mixed], motionInput, published)).rejects.toThrow("a.png is 8x8, b.png is 9x8");
    const broken = join(scratch, "broken.png");
    writeFileSync(broken, readFileSync(join(folder, "frame_00.png")).subarray(0, 200));
    await expect(readClips([broken], motionInput, published)).rejects.toThrow("cannot be decoded as a picture");
    await expect(readClips([join(scratch, "none.gif")], motionInput, published)).rejects.toThrow(
      "there is no file or folder",
    );
  });

  it("sees a still picture as a clip that stands still", async () => {
    const values = await readClips([join(folder, "frame_03.png")], motionInput, published);
    expect(values.subarray(0, 4096)).toEqual(values.subarray(4096 * 7, 4096 * 8));
    expect(values.subarray(0, 4096)).toEqual(expectedInput(folderSeed).subarray(4096 * 3, 4096 * 4));
  });
});

describe("preprocessing", () => {
  it("samples as published where the video is long enough, else from the first frame to the last", () => {
    // 8 x 32 at 30 frames a second: linspace(0, 255, 8), rounded down.
    expect(sampleFrames({ frames: 300, rate: 30 }, 8, null)).toEqual([0, 36, 72, 109, 145, 182, 218, 255]);
    // At 15 frames a second the same span of time holds half of the frames.
    expect(sampleFrames({ frames: 300, rate: 15 }, 8, null)).toEqual([0, 18, 36, 54, 72, 90, 108, 127]);
    expect(sampleFrames({ frames: 300, rate: 30 }, 8, 1)).toEqual([0, 1, 2, 3, 4, 5, 6, 7]);
    expect(sampleFrames({ frames: 15, rate: 30 }, 8, null)).toEqual([0, 2, 4, 6, 8, 10, 12, 14]);
    expect(sampleFrames({ frames: 8, rate: null }, 8, null)).toEqual([0, 1, 2, 3, 4, 5, 6, 7]);
    expect(sampleFrames({ frames: 1, rate: null }, 4, null)).toEqual([0, 0, 0, 0]);
    expect(sampleFrames({ frames: 9, rate: null }, 1, null)).toEqual([0]);
  });

  it("resizes the short side between pixel centres and crops the middle", () => {
    // A ramp along x, 8 wide and 4 high, to 2 x 2: full size 4 x 2, columns 1 and 2 of 4, each between two pixels.
    const ramp = Uint8Array.from({ length: 8 * 4 * 3 }, (_, at) => Math.floor(at / 3) % 8);
    const raw = { mean: [0, 0, 0], deviation: [1, 1, 1], interval: null };
    const values = preprocess({ width: 8, height: 4, pixels: ramp }, 2, 2, raw);
    expect([...values].map((value) => Math.round(value * 255 * 1000) / 1000)).toEqual([
      2.5, 2.5, 2.5, 4.5, 4.5, 4.5, 2.5, 2.5, 2.5, 4.5, 4.5, 4.5,
    ]);
    // Tall: rows are cropped instead, and enlarging clamps at the border.
    const tall = preprocess(
      { width: 1, height: 3, pixels: Uint8Array.of(0, 0, 0, 90, 90, 90, 255, 255, 255) },
      2,
      2,
      raw,
    );
    expect([...tall].map((value) => Math.round(value * 255 * 1000) / 1000)).toEqual([
      67.5, 67.5, 67.5, 67.5, 67.5, 67.5, 131.25, 131.25, 131.25, 131.25, 131.25, 131.25,
    ]);
  });

  it("gives a picture of the network's size as it is", () => {
    const pixels = Uint8Array.from({ length: 12 }, (_, at) => at * 20);
    const values = preprocess({ width: 2, height: 2, pixels }, 2, 2, published);
    expect(values).toEqual(Float32Array.from(pixels, (pixel) => (pixel / 255 - 0.45) / 0.225));
  });
});

describe.skipIf(!hasFfmpeg)("videos (with ffmpeg)", () => {
  it("decodes the frames that were put in", async () => {
    expect(await readClips([makeVideo("clip.mkv", 1)], motionInput, published)).toEqual(expectedInput(folderSeed));
    const source = await openVideo(makeVideo("slow.mkv", 5));
    expect(source).toMatchObject({ frames: 40, rate: 30 });
    const pictures = await source.read([39, 0, 39, 7]);
    const pixels = renderClip(drawClip(folderSeed));
    const frame = (t: number): Uint8Array => pixels.subarray(t * 12288, (t + 1) * 12288);
    for (const [index, t] of [7, 0, 7, 1].entries())
      expect(Buffer.compare(pictures[index]?.pixels ?? Buffer.of(), frame(t))).toBe(0);
  });

  it("says what is wrong with a damaged file and with one that is no video", async () => {
    const whole = readFileSync(makeVideo("whole.mkv", 5));
    const damaged = join(scratch, "damaged.mkv");
    const bytes = Buffer.from(whole);
    for (let at = 20_000; at < bytes.length - 20_000; at += 50) bytes[at] = 0xff;
    writeFileSync(damaged, bytes);
    await expect(readClips([damaged], motionInput, published)).rejects.toThrow(`"${damaged}"`);
    const text = join(scratch, "text.mp4");
    writeFileSync(text, "this is not a video");
    await expect(readClips([text], motionInput, published)).rejects.toThrow("cannot be decoded");
  });
});

it("says what to install where there is no ffmpeg", async () => {
  const file = join(scratch, "any.mp4");
  writeFileSync(file, "");
  const path = process.env["PATH"];
  process.env["PATH"] = scratch;
  try {
    await expect(readClips([file], motionInput, published)).rejects.toMatchObject({
      message: expect.stringContaining('there is no "ffprobe"'),
      hint: expect.stringContaining("install ffmpeg"),
    });
  } finally {
    process.env["PATH"] = path;
  }
});
