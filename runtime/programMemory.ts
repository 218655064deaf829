import type { Programs } from "../ir/manifest.ts";
import type { BufferRef, Port, Program } from "../ir/program.ts";
import type { Device, DeviceMemory } from "./device.ts";
import type { DevicePointer } from "./driverApi.ts";
import { RuntimeError } from "./errors.ts";
import { portBytes } from "./tensors.ts";

/**
 * The memory of an artefact's programs on a device: weights once, and everything else as large as the largest run so far
 * needs it. Programs run one after the other, so they share all of it.
 */
export class ProgramMemory implements Disposable {
  readonly #device: Device;
  readonly #weights: DeviceMemory;
  readonly #shared: DeviceMemory;
  #batched: BatchedMemory | null = null;

  constructor(device: Device, programs: Programs) {
    const [{ name, memory }] = programs;
    this.#device = device;
    this.#weights = device.allocate(memory.weights, `weights of "${name}"`);
    try {
      const shared = Math.max(...programs.map((program) => program.memory.shared));
      this.#shared = device.allocate(shared, `values of "${name}" that all examples share`);
    } catch (error) {
      this.#weights[Symbol.dispose]();
      throw error;
    }
  }

  get weights(): DevicePointer {
    return this.#weights.address;
  }

  /** Makes room for a batch. True where addresses have changed: what was prepared with the old ones must go. */
  reserve(program: Program, batch: number): boolean {
    const wanted = sizesFor(program, batch);
    const there = this.#batched?.sizes;
    if (there !== undefined && wanted.every(({ bytes }, index) => (there[index]?.bytes ?? 0) >= bytes)) return false;
    const sizes = wanted.map((size, index) => {
      const known = there?.[index];
      return known !== undefined && known.bytes > size.bytes ? known : size;
    });
    // What is too small goes first: there may not be room for both.
    this.#batched?.[Symbol.dispose]();
    this.#batched = null;
    this.#batched = allocateBatched(this.#device, sizes);
    return true;
  }

  port(port: Port): DevicePointer {
    return this.addressOf(port.buffer, 1);
  }

  addressOf(buffer: BufferRef, batch: number): DevicePointer {
    if (buffer.space === "weights") return at(this.#weights, buffer.offset);
    if (buffer.space === "shared") return at(this.#shared, buffer.offset);
    const batched = this.#batched;
    if (batched === null) throw new RuntimeError("internal: memory is asked for before it is reserved");
    if (buffer.space === "activations") return at(batched.of("activations", 0), buffer.offset * batch);
    return batched.of(buffer.space, buffer.index).address;
  }

  [Symbol.dispose](): void {
    this.#batched?.[Symbol.dispose]();
    this.#shared[Symbol.dispose]();
    this.#weights[Symbol.dispose]();
  }
}

/** What a piece of memory that grows with the batch is for; all programs of an artefact have the same ones in the same order. */
type Piece = {
  readonly space: "activations" | "input" | "output" | "kept";
  readonly index: number;
  readonly bytes: number;
  readonly what: string;
};

const sizesFor = ({ inputs, outputs, kept, memory }: Program, batch: number): readonly Piece[] => {
  const examples = `${batch} ${batch === 1 ? "example" : "examples"}`;
  const ports = (space: "input" | "output" | "kept", list: readonly Port[]): readonly Piece[] =>
    list.map((port, index) => ({
      space,
      index,
      bytes: portBytes(port, batch),
      what: `"${port.name}" of ${examples}`,
    }));
  return [
    { space: "activations", index: 0, bytes: memory.activations * batch, what: `activations of ${examples}` },
    ...ports("input", inputs),
    ...ports("output", outputs),
    ...ports("kept", kept),
  ];
};

type BatchedMemory = Disposable & {
  readonly sizes: readonly Piece[];
  readonly of: (space: Piece["space"], index: number) => DeviceMemory;
};

const allocateBatched = (device: Device, sizes: readonly Piece[]): BatchedMemory => {
  const owned: DeviceMemory[] = [];
  const release = (): void => {
    for (const memory of owned) memory[Symbol.dispose]();
  };
  try {
    for (const { bytes, what } of sizes) owned.push(device.allocate(bytes, what));
  } catch (error) {
    release();
    throw error;
  }
  const places = new Map(sizes.map(({ space, index }, number) => [`${space} ${index}`, owned[number]]));
  return {
    sizes,
    of: (space, index) => {
      const memory = places.get(`${space} ${index}`);
      if (memory === undefined) throw new RuntimeError(`internal: there is no ${space} ${index}`);
      return memory;
    },
    [Symbol.dispose]: release,
  };
};

const at = (memory: DeviceMemory, offset: number): DevicePointer => (memory.address + BigInt(offset)) as DevicePointer;
