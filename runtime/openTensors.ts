import { dirname, join } from "node:path";
import { z } from "zod";
import { RuntimeError } from "./errors.ts";
import { openFile, type OpenFile } from "./file.ts";
import { readNumpyZip } from "./numpy.ts";
import { openSafetensors, type Safetensors } from "./safetensors.ts";
import { WeightsFileError, type StoredTensor, type TensorFile } from "./tensorFile.ts";
import { didYouMean } from "./text.ts";
import { readTorchLegacy, readTorchZip } from "./torch.ts";
import { readZip } from "./zip.ts";

/**
 * Opens a file of weights by what is in it, whatever its name: safetensors, the index of a sharded one
 * (model.safetensors.index.json), a checkpoint of PyTorch (.pt, .pth, .pyth) or NumPy's .npz. Close it with `using`.
 * Throws a WeightsFileError, or a SafetensorsError, that says what is wrong.
 */
export const openTensors = async (path: string): Promise<TensorFile> => {
  const file = openFile(path);
  try {
    const kind = kindOf(file);
    if (kind === "safetensors") {
      const tensors = tensorFileOf(openSafetensors(path));
      file[Symbol.dispose]();
      return tensors;
    }
    if (kind === "index") {
      const shards = openShards(file);
      file[Symbol.dispose]();
      return shards;
    }
    const tensors = kind === "zip" ? await readArchive(file) : readTorchLegacy(file);
    return { source: path, tensors, [Symbol.dispose]: () => file[Symbol.dispose]() };
  } catch (error) {
    file[Symbol.dispose]();
    if (error instanceof RuntimeError && error.constructor === RuntimeError)
      throw new WeightsFileError(`"${path}": ${error.message}`, { cause: error });
    throw error;
  }
};

/** The tensors of an open safetensors file, which closes with them. */
export const tensorFileOf = (file: Safetensors): TensorFile => {
  const tensors = new Map<string, StoredTensor>();
  for (const [name, entry] of file.tensors)
    tensors.set(name, { dtype: entry.dtype, shape: entry.shape, bytes: () => file.bytes(entry) });
  return { source: file.source, tensors, [Symbol.dispose]: () => file[Symbol.dispose]() };
};

type Kind = "safetensors" | "index" | "zip" | "pickle";

const kindOf = (file: OpenFile): Kind => {
  const head = file.read(0, Math.min(file.size, tarMagic.at + tarMagic.text.length));
  const text = (start: number, length: number): string => String.fromCharCode(...head.subarray(start, start + length));
  if (text(0, 4) === "PK\x03\x04" || text(0, 4) === "PK\x05\x06") return "zip";
  if (head[0] === 0x80 && (head[1] ?? 0) >= 2 && (head[1] ?? 0) <= 5) return "pickle";
  if (text(tarMagic.at, tarMagic.text.length) === tarMagic.text)
    throw new RuntimeError(
      "it is a tar archive, as PyTorch before 0.1.10 wrote them, which fovea does not read\n  hint: in Python, torch.save(torch.load(path), other)",
    );
  if (/^\s*\{/.test(text(0, 64)) && text(8, 1) !== "{") return "index";
  // Whatever else it is, that reader says best why it is no file of weights.
  if (text(8, 1) === "{" || file.path.endsWith(".safetensors")) return "safetensors";
  throw new RuntimeError(
    `it is no file of weights that fovea reads: it begins with ${JSON.stringify(text(0, 8))}\n  hint: safetensors, .pt/.pth/.pyth of PyTorch, .npz, or the index.json of a sharded safetensors file`,
  );
};
const tarMagic = { at: 257, text: "ustar" } as const;

const readArchive = async (file: OpenFile): Promise<ReadonlyMap<string, StoredTensor>> => {
  const entries = await readZip(file);
  const names = [...entries.keys()];
  if (names.some((name) => /(^|\/)data\.pkl$/.test(name))) return readTorchZip(file, entries);
  if (names.length > 0 && names.every((name) => name.endsWith(".npy"))) return readNumpyZip(entries);
  throw new RuntimeError(
    `the archive holds neither a checkpoint of PyTorch (data.pkl) nor arrays of NumPy (.npy) but ${names.slice(0, 4).join(", ") || "nothing"}`,
  );
};

const indexSchema = z.object({ weight_map: z.record(z.string(), z.string()) });
const longestIndex = 64 * 2 ** 20;

/** Each shard must lie beside the index and hold what the index says, and nothing else. */
const openShards = (file: OpenFile): TensorFile => {
  if (file.size > longestIndex) throw new RuntimeError(`an index of ${file.size} bytes is longer than any`);
  const places = new Map(Object.entries(readIndex(file)));
  const shards = new Map<string, TensorFile>();
  const close = (): void => {
    for (const shard of shards.values()) shard[Symbol.dispose]();
  };
  try {
    for (const name of new Set(places.values())) {
      if (!/^[\w.-]+$/.test(name) || name.startsWith("."))
        throw new RuntimeError(`the index names the file ${JSON.stringify(name)}, which does not lie beside it`);
      shards.set(name, tensorFileOf(openSafetensors(join(dirname(file.path), name))));
    }
    const tensors = new Map<string, StoredTensor>();
    for (const [name, shard] of places) {
      const tensor = shards.get(shard)?.tensors.get(name);
      if (tensor === undefined) {
        const known = [...(shards.get(shard)?.tensors.keys() ?? [])];
        throw new RuntimeError(`"${shard}" lacks "${name}", which the index places there${didYouMean(name, known)}`);
      }
      tensors.set(name, tensor);
    }
    for (const [shard, { tensors: held }] of shards)
      for (const name of held.keys())
        if (places.get(name) !== shard)
          throw new RuntimeError(
            `"${shard}" holds "${name}", which the index does not place there: files of two models?`,
          );
    return { source: file.path, tensors, [Symbol.dispose]: close };
  } catch (error) {
    close();
    throw error;
  }
};

const readIndex = (file: OpenFile): { readonly [name: string]: string } => {
  try {
    return indexSchema.parse(JSON.parse(new TextDecoder().decode(file.read(0, file.size)))).weight_map;
  } catch (cause) {
    throw new RuntimeError('it is JSON, or nearly, but no index of a sharded safetensors file ("weight_map")', {
      cause,
    });
  }
};
