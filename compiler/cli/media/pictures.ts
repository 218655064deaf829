import { readdir } from "node:fs/promises";
import { extname, join } from "node:path";
import sharp from "sharp";
import { CommandError } from "../failure.ts";
import type { FrameSource, Picture } from "./picture.ts";

const extensions = [".png", ".jpg", ".jpeg", ".webp", ".gif", ".tif", ".tiff", ".avif"];
/** Whether a file's name says that it is a picture, moving or not. */
export const isPicture = (file: string): boolean => extensions.includes(extname(file).toLowerCase());

/** The pictures of a folder in the order of their names, digits read as numbers: frame_2 before frame_10. */
export async function openFolder(folder: string): Promise<FrameSource> {
  const names = (await readdir(folder)).filter(isPicture).toSorted(byName.compare);
  if (names.length === 0) {
    throw new CommandError(`the folder "${folder}" holds no pictures`, `fovea reads ${extensions.join(" ")}`);
  }
  return {
    file: folder,
    frames: names.length,
    rate: null,
    compressed: false,
    read: async (indices) => {
      const wanted = [...new Set(indices)].map((index) => ({ index, name: names[index] ?? "" }));
      const pictures = new Map<number, Picture>();
      for (const { index, name } of wanted) pictures.set(index, await decode(join(folder, name), 0));
      verifyOneSize(
        wanted.map(({ index, name }) => ({ name, picture: pictures.get(index) })),
        folder,
      );
      return indices.flatMap((index) => pictures.get(index) ?? []);
    },
  };
}
const byName = new Intl.Collator("en", { numeric: true });

function verifyOneSize(pictures: readonly { name: string; picture: Picture | undefined }[], folder: string): void {
  const sizes = pictures.map(({ name, picture }) => ({ name, size: `${picture?.width}x${picture?.height}` }));
  const other = sizes.find(({ size }) => size !== sizes[0]?.size);
  if (other === undefined) return;
  throw new CommandError(
    `the pictures of "${folder}" differ in size: ${sizes[0]?.name} is ${sizes[0]?.size}, ${other.name} is ${other.size}`,
  );
}

/** A picture as a clip of one frame, a moving GIF or WebP as its frames. */
export async function openPicture(file: string): Promise<FrameSource> {
  const { pages = 1, delay } = await sharp(file)
    .metadata()
    .catch((error: unknown) => {
      throw notAPicture(file, error);
    });
  const milliseconds = pages > 1 ? (delay ?? []).reduce((sum, each) => sum + each, 0) : 0;
  return {
    file,
    frames: pages,
    rate: milliseconds > 0 ? (1000 * pages) / milliseconds : null,
    compressed: false,
    read: async (indices) => {
      const pictures: Picture[] = [];
      for (const index of indices) pictures.push(await decode(file, index));
      return pictures;
    },
  };
}

/** Transparent pixels are seen on black. */
async function decode(file: string, page: number): Promise<Picture> {
  try {
    const { data, info } = await sharp(file, { page, pages: 1 })
      .autoOrient()
      .flatten({ background: "black" })
      .toColourspace("srgb")
      .raw({ depth: "uchar" })
      .toBuffer({ resolveWithObject: true });
    if (info.channels !== 3) throw new Error(`${info.channels} channels`);
    return { width: info.width, height: info.height, pixels: data };
  } catch (error) {
    throw notAPicture(file, error);
  }
}

const notAPicture = (file: string, error: unknown): CommandError =>
  new CommandError(
    `"${file}" cannot be decoded as a picture: ${error instanceof Error ? error.message : String(error)}`,
  );
