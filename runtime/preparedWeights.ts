import { createHash } from "node:crypto";
import { crc32 } from "node:zlib";
import type { Program } from "../ir/program.ts";
import { weightsText } from "../ir/programText.ts";
import { checkCheckpoint, type Checkpoint } from "./checkpoint.ts";
import { prepareWeights } from "./weights.ts";

/**
 * The program's weights as its C interface takes them (weights.bin): a header of 64 bytes ("FOVEAWTS", version 1, CRC-32
 * of the data, their bytes, SHA-256 of how they are prepared, 8 zero bytes), then the memory of the device as it is to be.
 * Throws a CheckpointError where the checkpoint does not fit.
 */
export const encodePreparedWeights = (program: Program, checkpoint: Checkpoint): Uint8Array => {
  checkCheckpoint(program, checkpoint);
  const whole = new Uint8Array(new ArrayBuffer(headerBytes + program.memory.weights));
  const data = whole.subarray(headerBytes);
  for (const { weight, bytes } of prepareWeights(program.weights, checkpoint)) data.set(bytes, weight.offset);
  whole.set(new TextEncoder().encode("FOVEAWTS"));
  whole.set(createHash("sha256").update(weightsText(program)).digest(), 24);
  const words = new DataView(whole.buffer);
  words.setUint32(8, 1, true);
  words.setUint32(12, crc32(data), true);
  words.setBigUint64(16, BigInt(data.length), true);
  return whole;
};

const headerBytes = 64;
