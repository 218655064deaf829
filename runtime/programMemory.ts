import type { BufferRef, Port, Program } from "../ir/program.ts";
import type { Device, DeviceMemory } from "./device.ts";
import type { DevicePointer } from "./driverApi.ts";
import { RuntimeError } from "./errors.ts";
import { portBytes } from "./tensors.ts";

/** A program's memory on a device: weights once, and everything else for batches up to `capacity`. */
export class ProgramMemory implements Disposable {
  readonly #device: Device;
  readonly #program: Program;
  readonly #weights: DeviceMemory;
  readonly #shared: DeviceMemory;
  #batched: BatchedMemory | null = null;

  constructor(device: Device, program: Program) {
    this.#device = device;
    this.#program = program;
    this.#weights = device.allocate(program.memory.weights, `weights of "${program.name}"`);
    try {
      this.#shared = device.allocate(program.memory.shared, `values of "${program.name}" that all examples share`);
    } catch (error) {
      this.#weights[Symbol.dispose]();
      throw error;
    }
  }

  get weights(): DevicePointer {
    return this.#weights.address;
  }

  /** Makes room for a batch. True where addresses have changed: what was prepared with the old ones must go. */
  reserve(batch: number): boolean {
    if (this.#batched !== null && this.#batched.capacity >= batch) return false;
    // What is too small goes first: there may not be room for both.
    this.#batched?.[Symbol.dispose]();
    this.#batched = null;
    this.#batched = allocateBatched(this.#device, this.#program, batch);
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
    if (buffer.space === "activations") return at(batched.activations, buffer.offset * batch);
    const port = batched.ports[buffer.space][buffer.index];
    if (port === undefined) throw new RuntimeError(`internal: there is no ${buffer.space} ${buffer.index}`);
    return port.address;
  }

  [Symbol.dispose](): void {
    this.#batched?.[Symbol.dispose]();
    this.#shared[Symbol.dispose]();
    this.#weights[Symbol.dispose]();
  }
}

type BatchedMemory = Disposable & {
  readonly capacity: number;
  readonly activations: DeviceMemory;
  readonly ports: { readonly [S in "input" | "output" | "kept"]: readonly DeviceMemory[] };
};

const allocateBatched = (device: Device, program: Program, batch: number): BatchedMemory => {
  const owned: DeviceMemory[] = [];
  const examples = `${batch} ${batch === 1 ? "example" : "examples"}`;
  const allocate = (bytes: number, what: string): DeviceMemory => {
    const memory = device.allocate(bytes, what);
    owned.push(memory);
    return memory;
  };
  const release = (): void => {
    for (const memory of owned) memory[Symbol.dispose]();
  };
  try {
    const portsOf = (ports: readonly Port[]): DeviceMemory[] =>
      ports.map((port) => allocate(portBytes(port, batch), `"${port.name}" of ${examples}`));
    return {
      capacity: batch,
      activations: allocate(program.memory.activations * batch, `activations of ${examples}`),
      ports: { input: portsOf(program.inputs), output: portsOf(program.outputs), kept: portsOf(program.kept) },
      [Symbol.dispose]: release,
    };
  } catch (error) {
    release();
    throw error;
  }
};

const at = (memory: DeviceMemory, offset: number): DevicePointer => (memory.address + BigInt(offset)) as DevicePointer;
