/** What a cubin says of itself. */
export type Cubin = {
  /** 80, 90: of sm_80, sm_90 and sm_90a alike. */
  readonly architecture: number;
  /** As ptxas noted it: "sm_90a"; null where it left no note. */
  readonly target: string | null;
  /** Bytes of machine code by kernel. */
  readonly code: ReadonlyMap<string, number>;
};

/** Reads the headers of a 64-bit little-endian ELF file for CUDA. Throws where it is something else. */
export function readCubin(image: Uint8Array): Cubin {
  const file = Buffer.from(image);
  if (file.subarray(0, 6).toString("latin1") !== "\x7fELF\x02\x01") throw new Error("not a 64-bit ELF file");
  if (file.readUInt16LE(18) !== cudaMachine) throw new Error(`for machine ${file.readUInt16LE(18)}, not for CUDA`);
  // CUDA 13 moved the architecture up one byte, and counted the ABI up to 8.
  const flags = file.readUInt32LE(48);
  const architecture = (file.readUInt8(8) >= 8 ? flags >>> 8 : flags) & 0xff;
  const [start, size, count, names] = [
    Number(file.readBigUInt64LE(40)),
    file.readUInt16LE(58),
    file.readUInt16LE(60),
    file.readUInt16LE(62),
  ];
  const section = (index: number): { readonly name: number; readonly offset: number; readonly bytes: number } => {
    const at = start + index * size;
    return {
      name: file.readUInt32LE(at),
      offset: Number(file.readBigUInt64LE(at + 24)),
      bytes: Number(file.readBigUInt64LE(at + 32)),
    };
  };
  const strings = section(names);
  const code = new Map<string, number>();
  for (let index = 0; index < count; index++) {
    const { name, bytes } = section(index);
    const from = strings.offset + name;
    const text = file.subarray(from, file.indexOf(0, from)).toString("latin1");
    if (text.startsWith(".text.")) code.set(text.slice(".text.".length), bytes);
  }
  return { architecture, target: /-arch (sm_\w+)/.exec(file.toString("latin1"))?.[1] ?? null, code };
}

/** EM_CUDA */
const cudaMachine = 190;
