import { crc32, inflateRawSync } from "node:zlib";
import yauzl from "yauzl";
import { RuntimeError } from "./errors.ts";
import type { OpenFile } from "./file.ts";
import { formatBytes } from "./text.ts";

/** A file within a zip archive. */
export type ZipEntry = {
  readonly name: string;
  /** Of its content. */
  readonly bytes: number;
  /** Its content, checked against the archive's checksum. */
  readonly read: () => Uint8Array;
};

/**
 * The directory of a zip archive. Refuses names that lead out of it, names that are there twice, encryption, and
 * archives that would grow out of proportion; the file stays the caller's.
 */
export const readZip = async (file: OpenFile): Promise<ReadonlyMap<string, ZipEntry>> => {
  const entries = new Map<string, ZipEntry>();
  let inflated = 0;
  const archive = await damagedUnless(() => yauzl.fromFdPromise(file.descriptor, { autoClose: false }));
  if (archive.entryCount > mostEntries) throw new RuntimeError(`the archive has ${archive.entryCount} files`);
  await damagedUnless(async () => {
    for await (const entry of archive.eachEntry()) {
      const { fileName: name, uncompressedSize: bytes, compressedSize, compressionMethod: method } = entry;
      if (name.endsWith("/")) continue;
      if (entries.has(name)) throw new RuntimeError(`the archive has "${name}" twice`);
      if (entry.isEncrypted()) throw new RuntimeError(`"${name}" in the archive is encrypted`);
      if (method !== stored && method !== deflated)
        throw new RuntimeError(
          `"${name}" in the archive is compressed by a method (${method}) that fovea does not read`,
        );
      if (method === stored && bytes !== compressedSize)
        throw new RuntimeError(`damaged: "${name}" is stored as ${compressedSize} bytes and said to have ${bytes}`);
      if (method === deflated) inflated += bytes;
      if (inflated > file.size * highestRatio + smallEnough)
        throw new RuntimeError(
          `the archive has ${formatBytes(file.size)} and says it holds more than ${formatBytes(inflated)}: made to fill the memory?`,
        );
      const { fileDataStart: start } = await archive.readLocalFileHeaderPromise(entry, { minimal: true });
      const read = (): Uint8Array => {
        const packed = file.read(start, start + compressedSize);
        const content = method === stored ? packed : inflate(packed, bytes, name);
        if (crc32(content) !== entry.crc32)
          throw new RuntimeError(`damaged: "${name}" in "${file.path}" is not what was written (its checksum differs)`);
        return content;
      };
      entries.set(name, { name, bytes, read });
    }
  });
  return entries;
};

const stored = 0;
const deflated = 8;
const mostEntries = 200_000;
/** Trained numbers hardly shrink. */
const highestRatio = 100;
const smallEnough = 64 * 2 ** 20;

const inflate = (packed: Uint8Array, bytes: number, name: string): Uint8Array => {
  let content: Uint8Array;
  try {
    content = inflateRawSync(packed, { maxOutputLength: Math.max(1, bytes) });
  } catch (cause) {
    throw new RuntimeError(`damaged: "${name}" in the archive is not ${bytes} bytes: ${messageOf(cause)}`, { cause });
  }
  if (content.length !== bytes)
    throw new RuntimeError(
      `damaged: "${name}" in the archive has ${content.length} bytes and is said to have ${bytes}`,
    );
  return content;
};

const damagedUnless = async <T>(work: () => Promise<T>): Promise<T> => {
  try {
    return await work();
  } catch (cause) {
    if (cause instanceof RuntimeError) throw cause;
    throw new RuntimeError(`damaged, or not a zip archive: ${messageOf(cause)}`, { cause });
  }
};

const messageOf = (cause: unknown): string => (cause instanceof Error ? cause.message : String(cause));
