import { RuntimeError } from "./errors.ts";
import { isKind, type PickleCall, type PickleValue } from "./pickle.ts";
import { dtypeBytes, type Dtype } from "./safetensors.ts";
import { countView, gatherView, type StoredTensor, type View } from "./tensorFile.ts";
import { formatBytes } from "./text.ts";

/** An array that tensors are views of, as a checkpoint's pickle refers to it. */
export type StorageReference = { readonly key: string; readonly dtype: Dtype; readonly elements: number };
/** The bytes of a storage, when they are wanted. Throws at once where the file holds another number of them. */
export type StorageReader = (storage: StorageReference) => () => Uint8Array;

/** Types of storages. Those of "torch.cuda" are in files that older versions saved from a GPU. */
const storageTypes: ReadonlyMap<string, Dtype> = new Map(
  (
    [
      ["DoubleStorage", "F64"],
      ["FloatStorage", "F32"],
      ["HalfStorage", "F16"],
      ["BFloat16Storage", "BF16"],
      ["LongStorage", "I64"],
      ["IntStorage", "I32"],
      ["ShortStorage", "I16"],
      ["CharStorage", "I8"],
      ["ByteStorage", "U8"],
      ["BoolStorage", "BOOL"],
    ] as const
  ).flatMap(([name, dtype]) => [[`torch.${name}`, dtype] as const, [`torch.cuda.${name}`, dtype] as const]),
);

const rebuildTensor: ReadonlySet<string> = new Set(["torch._utils._rebuild_tensor", "torch._utils._rebuild_tensor_v2"]);
const rebuildParameter: ReadonlySet<string> = new Set([
  "torch._utils._rebuild_parameter",
  "torch._utils._rebuild_parameter_with_state",
]);
/** What training scripts keep beside tensors: read as data, and used for nothing. */
const bystanders: ReadonlySet<string> = new Set([
  "collections.OrderedDict",
  "collections.defaultdict",
  "collections.Counter",
  "argparse.Namespace",
  "yacs.config.CfgNode",
  "numpy.core.multiarray.scalar",
  "numpy._core.multiarray.scalar",
  "numpy.core.multiarray._reconstruct",
  "numpy._core.multiarray._reconstruct",
  "numpy.dtype",
  "numpy.ndarray",
  "_codecs.encode",
  "torch.Size",
  "torch.device",
  ...["int", "dict", "list", "set"].flatMap((name) => [`__builtin__.${name}`, `builtins.${name}`]),
  ...["float16", "bfloat16", "float32", "float64", "int8", "uint8", "int16", "int32", "int64", "bool"].map(
    (name) => `torch.${name}`,
  ),
]);

/** The globals that a checkpoint's pickle may name. */
export const isTorchGlobal = (name: string): boolean =>
  storageTypes.has(name) || rebuildTensor.has(name) || rebuildParameter.has(name) || bystanders.has(name);

/**
 * The tensors of a checkpoint's value: of the state dict itself, or of the one that training scripts wrap with their
 * own notes. `fileBytes` bounds what views may add up to.
 */
export const torchTensors = (
  root: PickleValue,
  read: StorageReader,
  fileBytes: number,
): ReadonlyMap<string, StoredTensor> => {
  const state = stateDict(root);
  const names = [...state.keys()];
  // DistributedDataParallel wraps the network, and all its names with it.
  const wrapper = names.length > 0 && names.every((name) => name.startsWith("module.")) ? "module." : "";
  const tensors = new Map<string, StoredTensor>();
  let total = 0;
  for (const [name, call] of state) {
    const own = name.slice(wrapper.length);
    try {
      const { storage, view } = readTensor(call);
      const bytes = countView(view, storage.elements) * dtypeBytes[storage.dtype];
      total += bytes;
      if (total > fileBytes * mostViews + smallEnough)
        throw new RuntimeError(
          `views of a file of ${formatBytes(fileBytes)} add up to more than ${formatBytes(total)}: made to fill the memory?`,
        );
      const content = read(storage);
      tensors.set(own, {
        dtype: storage.dtype,
        shape: view.shape,
        bytes: () => gatherView(content(), view, dtypeBytes[storage.dtype]),
      });
    } catch (error) {
      throw error instanceof RuntimeError ? new RuntimeError(`tensor "${own}": ${error.message}`) : error;
    }
  }
  return tensors;
};

/** How often a file's bytes may be in its tensors: weights are shared by two or three. */
const mostViews = 16;
const smallEnough = 64 * 2 ** 20;

/** Where training scripts put the state dict. */
const wrappings = ["model_state", "state_dict", "model", "model_state_dict", "module", "net", "network", "weights"];
const deepestWrapping = 3;

const stateDict = (root: PickleValue): ReadonlyMap<string, PickleCall> => {
  let entries = entriesOf(root);
  for (let depth = 0; entries !== null && depth <= deepestWrapping; depth++) {
    const tensors = tensorsIn(entries);
    if (tensors.size > 0) return tensors;
    const inner = wrappings.map((name) => entriesOf(entries?.get(name))).find((each) => each !== null);
    if (inner === undefined) {
      const keys = [...entries.keys()].filter((key) => typeof key === "string").slice(0, 8);
      if (entries.size === 0) return tensors;
      throw new RuntimeError(
        `it holds no tensors at its top, and no state dict under ${wrappings.slice(0, 3).join(", ")} or the like; its keys are ${keys.join(", ")}`,
      );
    }
    entries = inner;
  }
  throw new RuntimeError("it is no state dict: a dictionary of tensors by their names");
};

const entriesOf = (value: PickleValue | undefined): ReadonlyMap<PickleValue, PickleValue> | null => {
  if (isKind(value, "dict")) return value.entries;
  if (isKind(value, "call") && value.callee === "collections.OrderedDict") return value.entries ?? new Map();
  return null;
};

const tensorsIn = (entries: ReadonlyMap<PickleValue, PickleValue>): ReadonlyMap<string, PickleCall> => {
  const tensors = new Map<string, PickleCall>();
  for (const [name, value] of entries)
    if (typeof name === "string" && isKind(value, "call") && isTensorCall(value)) tensors.set(name, value);
  return tensors;
};

const isTensorCall = ({ callee }: PickleCall): boolean => rebuildTensor.has(callee) || rebuildParameter.has(callee);

const readTensor = (call: PickleCall): { readonly storage: StorageReference; readonly view: View } => {
  let tensor = call;
  if (rebuildParameter.has(call.callee)) {
    const [data] = call.arguments;
    if (!isKind(data, "call")) throw new RuntimeError("damaged: a parameter without its tensor");
    tensor = data;
  }
  const [place, offset, shape, strides] = tensor.arguments;
  if (
    !rebuildTensor.has(tensor.callee) ||
    typeof offset !== "number" ||
    !isKind(shape, "tuple") ||
    !isKind(strides, "tuple")
  )
    throw new RuntimeError("damaged: it is rebuilt from something else than storage, offset, shape and strides");
  if (!isKind(place, "persistent")) throw new RuntimeError("damaged: it has no storage");
  const { storage, start } = readReference(place.id);
  const view = { shape: sizesOf(shape.items), strides: sizesOf(strides.items), offset: offset + start };
  return { storage, view };
};

/** Anything but a number becomes NaN, which no view may hold. */
const sizesOf = (items: readonly PickleValue[]): readonly number[] =>
  items.map((item) => (typeof item === "number" ? item : Number.NaN));

/** ("storage", type, key, device, elements), and in old files also (key, start, elements) of a view, or None. */
export const readReference = (id: PickleValue): { readonly storage: StorageReference; readonly start: number } => {
  const [what, type, key, , elements, within] = isKind(id, "tuple") ? id.items : [];
  const dtype = isKind(type, "global") ? storageTypes.get(type.name) : undefined;
  if (what !== "storage" || dtype === undefined || typeof key !== "string" || !isCount(elements))
    throw new RuntimeError("damaged: a storage has no type, name or size");
  if (within === undefined || within === null) return { storage: { key, dtype, elements }, start: 0 };
  const [, start, size] = isKind(within, "tuple") ? within.items : [];
  if (!isCount(start) || !isCount(size) || start + size > elements)
    throw new RuntimeError("damaged: a tensor views a part of a storage that is not there");
  return { storage: { key, dtype, elements }, start };
};

const isCount = (value: PickleValue | undefined): value is number =>
  typeof value === "number" && Number.isSafeInteger(value) && value >= 0;
