import { execFile } from "node:child_process";
import { z } from "zod";
import { CommandError } from "../failure.ts";
import type { FrameSource, Picture } from "./picture.ts";

/** The first video stream of anything that ffmpeg reads. Whoever has no ffmpeg gives pictures instead. */
export async function openVideo(file: string): Promise<FrameSource> {
  const text = await runTool("ffprobe", file, [
    "-v",
    "error",
    "-select_streams",
    "v:0",
    "-count_packets",
    "-show_entries",
    "stream=nb_read_packets,avg_frame_rate",
    "-of",
    "json",
    file,
  ]);
  const [stream] = Probe.parse(JSON.parse(text.toString("utf8"))).streams;
  if (stream === undefined) throw new CommandError(`"${file}" has no video stream`);
  const frames = Number(stream.nb_read_packets ?? 0);
  if (frames === 0) throw new CommandError(`"${file}" has a video stream without frames`);
  const [over, under] = stream.avg_frame_rate.split("/").map(Number);
  const rate = (over ?? 0) / (under ?? 1);
  return {
    file,
    frames,
    rate: Number.isFinite(rate) && rate > 0 ? rate : null,
    compressed: true,
    read: (indices) => readFrames(file, indices),
  };
}
const Probe = z.object({
  streams: z.array(z.object({ nb_read_packets: z.string().optional(), avg_frame_rate: z.string() })),
});

async function readFrames(file: string, indices: readonly number[]): Promise<readonly Picture[]> {
  const wanted = [...new Set(indices)].toSorted((a, b) => a - b);
  const chosen = wanted.map((index) => `eq(n\\,${index})`).join("+");
  // Chosen frames are given a clock of their own, so that no version of ffmpeg repeats or drops one. Without -xerror
  // damaged frames are concealed and the answer would be about a picture that was never taken.
  const stream = await runTool("ffmpeg", file, [
    "-v",
    "error",
    "-nostdin",
    "-xerror",
    "-i",
    file,
    "-map",
    "0:v:0",
    "-vf",
    `select='${chosen}',setpts=N/(25*TB)`,
    "-r",
    "25",
    "-frames:v",
    String(wanted.length),
    "-f",
    "image2pipe",
    "-c:v",
    "ppm",
    "-pix_fmt",
    "rgb24",
    "-",
  ]);
  const pictures = parsePortablePixmaps(stream);
  if (pictures.length !== wanted.length) {
    throw new CommandError(
      `"${file}" ends early: ${pictures.length} of the ${wanted.length} frames asked for (up to number ${wanted.at(-1)}) could be decoded`,
      "the file is damaged or was cut off; try another copy",
    );
  }
  const byIndex = new Map(wanted.map((index, at) => [index, pictures[at]]));
  return indices.flatMap((index) => byIndex.get(index) ?? []);
}

/** Binary pixmaps one after another: `P6 width height 255`, one white space, then the pixels. */
function parsePortablePixmaps(stream: Buffer): Picture[] {
  const pictures: Picture[] = [];
  let at = 0;
  while (at < stream.length) {
    const header = /^P6\s+(\d+)\s+(\d+)\s+255\s/.exec(stream.toString("latin1", at, at + 64));
    if (header === null) break;
    const [width, height] = [Number(header[1]), Number(header[2])];
    const start = at + header[0].length;
    const end = start + width * height * 3;
    if (end > stream.length) break;
    pictures.push({ width, height, pixels: stream.subarray(start, end) });
    at = end;
  }
  return pictures;
}

function runTool(tool: "ffmpeg" | "ffprobe", file: string, options: readonly string[]): Promise<Buffer> {
  return new Promise((resolve, reject) => {
    execFile(tool, options, { encoding: "buffer", maxBuffer: 2 ** 31 }, (error, stdout, stderr) => {
      if (error === null) return resolve(stdout);
      if (error.code === "ENOENT") return reject(missing(tool, file));
      // ffmpeg starts its lines with the part that speaks and an address: [h264 @ 0x55f0c8].
      const lines = stderr
        .toString("utf8")
        .split("\n")
        .map((line) => line.replace(/^\[[^\]]*\]\s*/, "").trim());
      const reasons = [...new Set(lines)].filter((line) => line !== "");
      const reason = reasons.slice(0, 3).join("; ").replaceAll(`${file}: `, "");
      return reject(
        new CommandError(
          `"${file}" cannot be decoded: ${reason === "" ? error.message : reason}`,
          "the file is damaged or is not a video; ffmpeg must be able to read it from start to end",
        ),
      );
    });
  });
}

const missing = (tool: string, file: string): CommandError =>
  new CommandError(
    `"${file}" is read with ffmpeg, and there is no "${tool}" on the PATH`,
    "install ffmpeg, or give a folder of pictures, a moving GIF or WebP, or a .safetensors file",
  );
