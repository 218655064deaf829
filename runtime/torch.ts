import { ByteReader } from "./byteReader.ts";
import { RuntimeError } from "./errors.ts";
import type { OpenFile } from "./file.ts";
import { isKind, readPickle, type PickleValue } from "./pickle.ts";
import { dtypeBytes } from "./safetensors.ts";
import type { StoredTensor } from "./tensorFile.ts";
import { isTorchGlobal, readReference, torchTensors, type StorageReference } from "./torchTensors.ts";
import type { ZipEntry } from "./zip.ts";

/**
 * A checkpoint as PyTorch 1.6 and later write it: a zip archive of a pickle (NAME/data.pkl) and one file a storage
 * (NAME/data/KEY). See torch/serialization.py, _save.
 */
export const readTorchZip = (
  file: OpenFile,
  entries: ReadonlyMap<string, ZipEntry>,
): ReadonlyMap<string, StoredTensor> => {
  const pickles = [...entries.keys()].filter((name) => /^([^/]*\/)?data\.pkl$/.test(name));
  const [pickle] = pickles;
  const folder = (pickle ?? "").slice(0, -"data.pkl".length);
  const content = entries.get(pickle ?? "");
  if (content === undefined || pickles.length > 1)
    throw new RuntimeError(`the archive has ${pickles.length} files data.pkl; a checkpoint of PyTorch has one`);
  if (entries.has(`${folder}constants.pkl`))
    throw new RuntimeError(
      "it is a TorchScript program, not a checkpoint\n  hint: in Python, torch.save(torch.jit.load(path).state_dict(), other)",
    );
  if (content.bytes > longestPickle)
    throw new RuntimeError(`its pickle has ${content.bytes} bytes, more than any checkpoint`);
  const order = entries.get(`${folder}byteorder`);
  if (order !== undefined && (order.bytes > 16 || new TextDecoder().decode(order.read()) !== "little"))
    throw new RuntimeError("it was written on a big-endian machine, which fovea does not read");
  const text = content.read();
  const root = readPickle(new ByteReader(text.length, (start, end) => text.subarray(start, end)), isTorchGlobal);
  return torchTensors(
    root,
    ({ key, dtype, elements }) => {
      const storage = entries.get(`${folder}data/${key}`);
      if (storage === undefined)
        throw new RuntimeError(`damaged: the archive lacks its storage "${folder}data/${key}"`);
      if (storage.bytes !== elements * dtypeBytes[dtype])
        throw new RuntimeError(
          `damaged: its storage "${storage.name}" has ${storage.bytes} bytes, ${elements} elements of ${dtype} take ${elements * dtypeBytes[dtype]}`,
        );
      return storage.read;
    },
    file.size,
  );
};

const longestPickle = 64 * 2 ** 20;

/**
 * A checkpoint as PyTorch up to 1.5 wrote it: five pickles (a magic number, the protocol, the system, the value, the
 * keys of the storages) and the storages, each behind its number of elements. See torch/serialization.py, _legacy_save.
 */
export const readTorchLegacy = (file: OpenFile): ReadonlyMap<string, StoredTensor> => {
  const reader = new ByteReader(file.size, file.read);
  const next = (): PickleValue => readPickle(reader, isTorchGlobal);
  if (next() !== magic) throw new RuntimeError("it is a pickle, but none that torch.save writes");
  const protocol = next();
  if (protocol !== 1001) throw new RuntimeError(`its format is ${String(protocol)}; PyTorch writes 1001`);
  const system = next();
  if (!isKind(system, "dict") || system.entries.get("little_endian") !== true)
    throw new RuntimeError("it was not written on a little-endian machine, the only kind that fovea reads");
  // Every storage that the value refers to, also those of tensors that nobody wants: they lie between the others.
  const references = new Map<string, StorageReference>();
  const root = readPickle(reader, isTorchGlobal, (id) => {
    const { storage } = readReference(id);
    const known = references.get(storage.key);
    if (known !== undefined && (known.dtype !== storage.dtype || known.elements !== storage.elements))
      throw new RuntimeError(`damaged: the storage "${storage.key}" has two types or sizes`);
    references.set(storage.key, storage);
  });
  const keys = next();
  if (!isKind(keys, "list")) throw new RuntimeError("damaged: it does not list its storages");
  const places = storagePlaces(file, references, keys.items, reader.position);
  const read = ({ key }: StorageReference): (() => Uint8Array) => {
    const place = places.get(key);
    if (place === undefined) throw new RuntimeError(`damaged: the file lacks its storage "${key}"`);
    return () => file.read(place.start, place.end);
  };
  return torchTensors(root, read, file.size);
};

/** The magic number of torch/serialization.py. */
const magic = 0x1950a86a20f9469cfc6cn;

type Place = { readonly start: number; readonly end: number };

const storagePlaces = (
  file: OpenFile,
  references: ReadonlyMap<string, StorageReference>,
  keys: readonly PickleValue[],
  first: number,
): ReadonlyMap<string, Place> => {
  const places = new Map<string, Place>();
  const reader = new ByteReader(file.size, file.read, first);
  for (const key of keys) {
    const reference = typeof key === "string" ? references.get(key) : undefined;
    if (reference === undefined || places.has(reference.key))
      throw new RuntimeError(`damaged: it lists a storage ${JSON.stringify(key)} that no tensor is in, or twice`);
    const { buffer, byteOffset } = reader.take(8);
    const elements = new DataView(buffer, byteOffset, 8).getBigInt64(0, true);
    if (elements !== BigInt(reference.elements))
      throw new RuntimeError(
        `damaged: the storage "${reference.key}" has ${elements} elements and is said to have ${reference.elements}`,
      );
    const start = reader.position;
    reader.skip(reference.elements * dtypeBytes[reference.dtype]);
    places.set(reference.key, { start, end: reader.position });
  }
  return places;
};
