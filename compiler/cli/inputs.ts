import { existsSync } from "node:fs";
import { countOf, type NumberArray, type NumberArrays, ownArray, readArrays } from "./arrays.ts";
import { CommandError, unknownName } from "./failure.ts";
import { clipLayout, readClips } from "./media/clips.ts";
import type { Preprocessing } from "./media/preprocess.ts";
import { isNumberTable, readNumberTable } from "./numberTable.ts";
import { type ArrayPort, printShape, shapeOfBatch } from "./ports.ts";

/** Reads the files given for each input: clips are decoded, arrays and tables of numbers taken as they are. */
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
  if (isNumberTable(file)) return readTables(port, files);
  const clips = clipLayout(port.layout, shapeOfBatch(port, 1));
  if (clips === null || port.integer) {
    if (!existsSync(file)) throw new CommandError(`there is no file "${file}"`);
    throw new CommandError(
      `the input "${port.name}" ${printShape(port)} is not made of pictures`,
      "give its numbers in a .safetensors or a .csv file",
    );
  }
  return { shape: shapeOfBatch(port, files.length), values: await readClips(files, clips, preprocessing) };
}

/** Tables one after the other, each an example or one of the sets of an example: a row of the table is a row of the array. */
function readTables(port: ArrayPort, files: readonly string[]): NumberArray {
  const tables = files.map(readNumberTable);
  const one = shapeOfBatch(port, 1);
  const perExample = countOf(one);
  const numbers = tables.flatMap(({ values }) => values);
  const [first] = tables;
  const width = one.at(-1) ?? 1;
  const batch = numbers.length / perExample;
  // A column of numbers is a row of an array without channels.
  const fits = tables.every(
    ({ rows, columns }) => (columns === width || (columns === 1 && rows === width)) && rows === first?.rows,
  );
  if (!fits || !Number.isInteger(batch)) {
    const given = tables.map(({ rows, columns }, i) => `"${files[i] ?? ""}" has ${rows} x ${columns}`);
    throw new CommandError(
      `the input "${port.name}" ${printShape(port)} takes ${perExample / width} rows of ${width} numbers an example; ${given.join(", ")}`,
      "the configuration says how many there are, or --axis, where the model leaves it open",
    );
  }
  const values = port.integer ? Int32Array.from(numbers) : Float32Array.from(numbers);
  return { shape: shapeOfBatch(port, batch), values };
}

function readOwnArray(port: ArrayPort, file: string): NumberArray {
  const arrays = readArrays(file);
  const array = ownArray(port.name, arrays);
  if (array === undefined) throw unknownName(`array in "${file}"`, port.name, [...arrays.keys()]);
  return array;
}
