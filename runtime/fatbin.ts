import { RuntimeError } from "./errors.ts";

/** One of the images that a fatbin holds: machine code for an architecture (sm_90a), or PTX (compute_90). */
export type FatbinImage = { readonly target: string; readonly content: Uint8Array };

/**
 * What a fatbin holds, by its headers. The container is one of CUDA's own: a header of 16 bytes with the length of all that
 * follows, then entries, each with a header that says its kind, its architecture and its length. Throws a RuntimeError
 * where the bytes are something else, or cut.
 */
export const readFatbin = (file: Uint8Array): readonly FatbinImage[] => {
  const view = new DataView(file.buffer, file.byteOffset, file.byteLength);
  const fail = (because: string): never => {
    throw new RuntimeError(`the file is no fatbin: ${because}`);
  };
  if (file.length < headerBytes || view.getUint32(0, true) !== magic) fail("it does not begin as one");
  const start = view.getUint16(6, true);
  const end = start + Number(view.getBigUint64(8, true));
  if (end > file.length) fail(`it is cut: ${file.length} bytes of ${end}`);
  const images: FatbinImage[] = [];
  for (let at = start; at < end;) {
    if (at + entryBytes > end) fail("an entry is cut");
    const kind = view.getUint16(at, true);
    const header = view.getUint32(at + 4, true);
    const bytes = Number(view.getBigUint64(at + 8, true));
    const architecture = `${view.getUint32(at + 28, true)}${suffixOf(view.getUint32(at + 40, true))}`;
    const next = at + header + bytes;
    if (header < entryBytes || next > end) fail("an entry is longer than the file");
    const form = forms[kind];
    if (form !== undefined)
      images.push({ target: `${form}_${architecture}`, content: file.subarray(at + header, next) });
    at = next;
  }
  return images;
};

const magic = 0xba55ed50;
const headerBytes = 16;
/** Of an entry's header at least; longer ones hold more than what is read here. */
const entryBytes = 64;
const forms: { readonly [kind: number]: string } = { 1: "compute", 2: "sm" };
/** What the flags of an entry say of its architecture: with its own special instructions, or with its family's. */
const suffixOf = (flags: number): string => ((flags & 0x100000) !== 0 ? "a" : (flags & 0x200000) !== 0 ? "f" : "");
