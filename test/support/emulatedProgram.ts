import { packArtefact } from "../../compiler/artefact.ts";
import type { Compiled } from "../../compiler/compile.ts";
import { inMemory } from "../../compiler/cli/images.ts";
import { compileImages } from "../../compiler/toolchain/compileImages.ts";
import { seededValues } from "../../compiler/cli/golden/seeded.ts";
import { loadExecutable, type Executable } from "../../runtime/executable.ts";
import type { Inputs } from "../../runtime/tensors.ts";
import { emulatedDevice } from "../kernels/harness.ts";

/** Loads a compiled program on the emulated device with weights drawn by name. */
export async function loadOnEmulator({ program, sources }: Compiled): Promise<Executable> {
  const kernels = program.kernels.map(({ name, family, source }) => ({
    name,
    family,
    source: sources.get(source) ?? "",
  }));
  const packed = packArtefact({ programs: [program], sources }, await compileImages(kernels, ["emulated"]));
  const tensors = program.parameters.map(({ name, shape }) => {
    const deviation = 1 / Math.sqrt(product(shape.slice(1)));
    return [name, { shape, values: () => seededValues({ name, mean: 0, deviation }, product(shape)) }] as const;
  });
  return loadExecutable(await emulatedDevice(), inMemory(program.name, packed), {
    source: "drawn weights",
    tensors: new Map(tensors),
  });
}

/** Inputs of a program, drawn by name. */
export const drawnInputs = ({ programs: [program] }: Executable, batch: number): Inputs =>
  Object.fromEntries(
    program.inputs.map(({ name, shape }) => {
      const extents = shape.map((size) => (typeof size === "number" ? size : size.batchTimes * batch));
      const data = seededValues({ name: `input.${name}`, mean: 0, deviation: 1 }, product(extents));
      return [name, { shape: extents, data }];
    }),
  );

const product = (sizes: readonly number[]): number => sizes.reduce((all, size) => all * size, 1);
