import { existsSync } from "node:fs";
import { type NumberArray, type NumberArrays, ownArray, readArrays } from "./arrays.ts";
import { CommandError, unknownName } from "./failure.ts";
import { clipLayout, readClips } from "./media/clips.ts";
import type { Preprocessing } from "./media/preprocess.ts";
import { type ArrayPort, printShape, shapeOfBatch } from "./ports.ts";

/** Reads the files given for each input: clips are decoded, arrays taken as they are. */
export async function readInputs(
  files: ReadonlyMap<string, readonly string[]>,
  ports: readonly ArrayPort[],
  preprocessing: Preprocessing,
): Promise<NumberArrays> {
  const arrays = new Map<string, NumberArray>();
  for (const [name, list] of files) {
    const port = ports.find((each) => each.name === name);
    if (port === undefined)
      throw unknownName(
        "input",
        name,
        ports.map((each) => each.name),
      );
    arrays.set(name, await readInput(port, list, preprocessing));
  }
  return arrays;
}

async function readInput(
  port: ArrayPort,
  files: readonly string[],
  preprocessing: Preprocessing,
): Promise<NumberArray> {
  const [file = "", ...others] = files;
  if (file.endsWith(".safetensors")) {
    if (others.length > 0)
      throw new CommandError(
        `the input "${port.name}" is given ${files.length} times; one safetensors file holds the whole batch`,
      );
    return readOwnArray(port, file);
  }
  const clips = clipLayout(port.layout, shapeOfBatch(port, 1));
  if (clips === null || port.integer) {
    if (!existsSync(file)) throw new CommandError(`there is no file "${file}"`);
    throw new CommandError(
      `the input "${port.name}" ${printShape(port)} is not made of pictures`,
      "give its numbers in a .safetensors file",
    );
  }
  return { shape: shapeOfBatch(port, files.length), values: await readClips(files, clips, preprocessing) };
}

function readOwnArray(port: ArrayPort, file: string): NumberArray {
  const arrays = readArrays(file);
  const array = ownArray(port.name, arrays);
  if (array === undefined) throw unknownName(`array in "${file}"`, port.name, [...arrays.keys()]);
  return array;
}
