import { closeSync, fstatSync, openSync, readSync } from "node:fs";
import { RuntimeError } from "./errors.ts";

/** A file to read parts of. Close it with `using`. */
export type OpenFile = Disposable & {
  readonly path: string;
  /** Bytes, when it was opened. */
  readonly size: number;
  readonly descriptor: number;
  /** The bytes from `start` up to `end`. Throws where the file is closed, or has become shorter. */
  readonly read: (start: number, end: number) => Uint8Array;
};

export const openFile = (path: string): OpenFile => {
  const descriptor = openOr(path);
  let open = true;
  const close = (): void => {
    if (open) closeSync(descriptor);
    open = false;
  };
  try {
    const found = fstatSync(descriptor);
    if (!found.isFile()) throw new RuntimeError(`"${path}" is not a file`);
    return {
      path,
      size: found.size,
      descriptor,
      read: (start, end) => {
        if (!open) throw new RuntimeError(`"${path}" was closed`);
        return readFully(descriptor, path, start, end);
      },
      [Symbol.dispose]: close,
    };
  } catch (error) {
    close();
    throw error;
  }
};

const openOr = (path: string): number => {
  try {
    return openSync(path, "r");
  } catch (cause) {
    throw new RuntimeError(`cannot open "${path}": ${cause instanceof Error ? cause.message : String(cause)}`, {
      cause,
    });
  }
};

/** Reads of more than 2 GiB are cut by the system. */
const longestRead = 2 ** 30;

const readFully = (descriptor: number, path: string, start: number, end: number): Uint8Array => {
  const bytes = new Uint8Array(new ArrayBuffer(end - start));
  for (let at = 0; at < bytes.length;) {
    const got = readSync(descriptor, bytes, at, Math.min(longestRead, bytes.length - at), start + at);
    if (got === 0) throw new RuntimeError(`"${path}" is truncated: it became shorter while it was read`);
    at += got;
  }
  return bytes;
};
