import { execFileSync } from "node:child_process";
import { mkdirSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import sharp from "sharp";
import { afterAll, describe, expect, it } from "vitest";
import { motionBetween } from "../../compiler/cli/media/motionField.ts";
import {
  type BlockVector,
  canReadMotionVectors,
  type CompressedFrame,
} from "../../compiler/cli/media/motionVectors.ts";
import { published } from "../../compiler/cli/media/preprocess.ts";
import { readWithMotion } from "../../compiler/cli/motion.ts";
import type { MotionSource } from "../../compiler/cli/options.ts";
import { graphInputs } from "../../compiler/cli/ports.ts";
import { openTerminal } from "../../compiler/cli/terminal.ts";
import video from "../../models/deformableVideoTransformer.ts";
import { normal } from "../kernels/testData.ts";

const scratch = mkdtempSync(join(tmpdir(), "fovea-motion-"));
afterAll(() => rmSync(scratch, { recursive: true }));

const [frames, size] = [4, 64] as const;
const config = { image: [size, size], frames, patch: 16, dim: 12, heads: 2, depth: 1 };
const ports = graphInputs(video.trace({ entry: "DVT", config }));

/** Smooth enough for a codec to follow, and different everywhere. */
const texture = ((): Uint8Array => {
  const waves = normal(5, 60);
  return Uint8Array.from({ length: 192 * 192 * 3 }, (_, i) => {
    const [x, y, colour] = [Math.floor(i / 3) % 192, Math.floor(i / 3 / 192), i % 3];
    let sum = 0;
    for (let k = colour; k < 60; k += 3)
      sum += Math.sin(x * (waves[k] ?? 0) * 0.4 + y * (waves[59 - k] ?? 0) * 0.4 + k);
    return 128 + 12 * sum;
  });
})();
/** Pictures of a texture that moves by (x, y) pixels from each to the next. */
async function movingPictures(name: string, x: number, y: number): Promise<string> {
  const folder = join(scratch, name);
  mkdirSync(folder);
  for (let t = 0; t < frames; t++)
    await sharp(texture, { raw: { width: 192, height: 192, channels: 3 } })
      .extract({ left: 60 - t * x, top: 60 - t * y, width: size, height: size })
      .png()
      .toFile(join(folder, `${t}.png`));
  return folder;
}
function videoOf(folder: string, name: string, ...encoder: readonly string[]): string {
  const file = join(scratch, name);
  const input = ["-v", "error", "-y", "-framerate", "30", "-i", join(folder, "%d.png")];
  execFileSync("ffmpeg", [...input, ...encoder, file]);
  return file;
}

const read = (clip: string, motion: MotionSource = "auto") =>
  readWithMotion(
    ports,
    {
      inputs: new Map([["clip", [clip]]]),
      preprocessing: { ...published, interval: 1 },
      motion,
      device: "emulated",
    },
    openTerminal({ json: true }),
  );
/** Motion on an axis in the middle of a frame. */
const at = (values: ArrayLike<number>, t: number, axis: 0 | 1): number =>
  values[((t * 2 + axis) * size + size / 2) * size + size / 2] ?? Number.NaN;

describe("motion of pictures", () => {
  it("is found by matching blocks, and the tool says so", { timeout: 120_000 }, async () => {
    const folder = await movingPictures("moving", 3, -2);
    const { inputs, said } = await read(folder);
    expect(said).toMatch(/matching blocks of 16 x 16 pixels between the frames: ".*moving" is not a compressed video/);
    const { shape, values } = inputs.get("motion_vectors") ?? { shape: [], values: [] };
    expect(shape).toEqual([1, frames, 2, size, size]);
    for (let t = 0; t < frames; t++) expect([at(values, t, 0), at(values, t, 1)]).toEqual(t === 0 ? [0, 0] : [3, -2]);
    const residuals = inputs.get("residuals")?.values ?? [];
    expect(residuals[(5 * size + 32) * size + 32]).toBe(0);
    expect(inputs.get("clip")?.shape).toEqual([1, frames, 3, size, size]);
  });

  it("is zero where they are still", { timeout: 120_000 }, async () => {
    const { inputs } = await read(await movingPictures("still", 0, 0));
    for (const name of ["motion_vectors", "residuals"])
      expect(inputs.get(name)?.values.every((value) => value === 0)).toBe(true);
  });

  it("is refused where a codec's is asked for", async () => {
    await expect(read(await movingPictures("pictures", 0, 0), "codec")).rejects.toMatchObject({
      message: expect.stringMatching(/no motion vectors: ".*pictures" is not a compressed video/),
      hint: expect.stringContaining("blocks of the decoded frames are matched"),
    });
  });
});

/** 16 x 16 blocks that all move alike. */
const uniform = (from: "past" | "future", x: number, y: number): BlockVector[] =>
  Array.from({ length: 16 }, (_, i) => ({
    left: (i % 4) * 16,
    top: Math.floor(i / 4) * 16,
    width: 16,
    height: 16,
    from,
    x,
    y,
  }));
async function* show(
  ...all: readonly { reference?: boolean; vectors?: BlockVector[] }[]
): AsyncGenerator<CompressedFrame> {
  for (const { reference = true, vectors = [] } of all)
    yield { width: size, height: size, isReference: reference, vectors };
}

describe("motion vectors of a stream", () => {
  const place = { height: size, width: size };

  it("point to where a block was: it has moved the other way since", async () => {
    const motion = await motionBetween(show({}, { vectors: uniform("past", 3, -1) }), [0, 1], place);
    expect([at(motion ?? [], 0, 0), at(motion ?? [], 1, 0), at(motion ?? [], 1, 1)]).toEqual([0, -3, 1]);
  });

  it("are shared out over the frames between, and added up from one frame that is seen to the next", async () => {
    // Frames 1 and 2 are predicted from 0 and 3 on both sides; what is seen moves two pixels a frame.
    const between = (past: number) => ({
      reference: false,
      vectors: [...uniform("past", -2 * past, 0), ...uniform("future", 2 * (3 - past), 0)],
    });
    const stream = () => show({}, between(1), between(2), { vectors: uniform("past", -6, 0) });
    const everyFrame = await motionBetween(stream(), [0, 1, 2, 3], place);
    expect([1, 2, 3].map((t) => at(everyFrame ?? [], t, 0))).toEqual([2, 2, 2]);
    const ends = await motionBetween(stream(), [0, 3], place);
    expect(at(ends ?? [], 1, 0)).toBe(6);
  });

  it("are scaled and cut as the pictures are", async () => {
    const one: BlockVector = { left: 16, top: 0, width: 16, height: 16, from: "past", x: -4, y: 0 };
    const motion = (await motionBetween(show({}, { vectors: [one] }), [0, 1], { height: 32, width: 16 })) ?? [];
    // Of 64 x 64 pixels, resized to 32 x 32, columns 8 to 24 are seen: the block covers the first rows of columns 8 to 16.
    const x = (row: number, column: number): number => motion[(2 * 32 + row) * 16 + column] ?? Number.NaN;
    expect([x(0, 0), x(7, 7), x(8, 0), x(0, 8)]).toEqual([2, 2, 0, 0]);
  });

  it("are none where a stream has no vectors", async () => {
    expect(await motionBetween(show({}, {}, {}), [0, 2], place)).toBeNull();
  });
});

const hasFfmpeg = ((): boolean => {
  try {
    execFileSync("ffmpeg", ["-version"], { stdio: "ignore" });
    return true;
  } catch {
    return false;
  }
})();

describe.skipIf(!hasFfmpeg)("motion of videos (with ffmpeg)", () => {
  it("is matched where the stream holds no vectors", { timeout: 120_000 }, async () => {
    const file = videoOf(await movingPictures("whole", 2, 1), "whole.avi", "-c:v", "png");
    const { inputs, said } = await read(file);
    const because = (await canReadMotionVectors()) ? "holds none" : "needs the package node-av";
    expect(said).toContain(because);
    const { values } = inputs.get("motion_vectors") ?? { values: [] };
    expect([at(values, 3, 0), at(values, 3, 1)]).toEqual([2, 1]);
  });
});

const x264 = ["-c:v", "libx264", "-crf", "12", "-pix_fmt", "yuv420p", "-x264-params"];

// Where `npm install node-av` has been run.
describe.skipIf(!hasFfmpeg || !(await canReadMotionVectors()))("motion of videos (with ffmpeg and node-av)", () => {
  it.each<readonly [string, string, readonly string[]]>([
    ["MPEG-4", "mpeg4.avi", ["-c:v", "mpeg4", "-q:v", "2", "-bf", "0"]],
    ["H.264", "h264.mp4", [...x264, "bframes=0:ref=1"]],
    ["H.264 with frames between", "between.mp4", [...x264, "bframes=2:b-adapt=0:b-pyramid=none:ref=1:scenecut=0"]],
  ])("is what %s says", { timeout: 120_000 }, async (_, name, encoder) => {
    const file = videoOf(await movingPictures(`frames-${name}`, 3, -2), name, ...encoder);
    const { inputs, said } = await read(file);
    expect(said).toBe("motion from the vectors that the video holds");
    const { values } = inputs.get("motion_vectors") ?? { values: [] };
    for (let t = 1; t < frames; t++) {
      expect(Math.abs(at(values, t, 0) - 3)).toBeLessThan(0.6);
      expect(Math.abs(at(values, t, 1) + 2)).toBeLessThan(0.6);
    }
    const still = await read(file, "matching");
    expect(still.said).toContain("as asked for");
  });
});
