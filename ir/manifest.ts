import { type Contract, contractOf } from "./contract.ts";
import type { Program } from "./program.ts";

/** manifest.json, without the version that made it and its digest: the programs of an artefact with what they have in common said once. */
export type Manifest = Pick<
  Program,
  "format" | "name" | "precision" | "parameters" | "unused" | "weights" | "kernels" | "checksums"
> & {
  readonly contract: Contract;
  readonly memory: Pick<Program["memory"], "weights">;
  /** In the order of the axes' extents, the last axis fastest. */
  readonly programs: readonly ManifestProgram[];
};
export type ManifestProgram = Pick<Program, "extents" | "inputs" | "outputs" | "kept" | "steps" | "loop"> & {
  readonly memory: Omit<Program["memory"], "weights">;
  /** Names of the kernels that it launches. */
  readonly kernels: readonly string[];
};

/** At least one: an artefact without a program does nothing. */
export type Programs = readonly [Program, ...Program[]];

export const manifestOf = (programs: Programs): Manifest => {
  const [{ format, name, precision, parameters, unused, weights, memory, checksums }] = programs;
  const kernels = new Map(programs.flatMap((program) => program.kernels.map((kernel) => [kernel.name, kernel])));
  return {
    format,
    name,
    precision,
    contract: contractOf(programs),
    parameters,
    unused,
    memory: { weights: memory.weights },
    programs: programs.map(
      ({ extents, inputs, outputs, kept, steps, loop, memory: { activations, shared }, kernels: own }) => ({
        extents,
        inputs,
        outputs,
        kept,
        memory: { activations, shared },
        kernels: own.map((kernel) => kernel.name),
        steps,
        loop,
      }),
    ),
    kernels: [...kernels.values()],
    weights,
    checksums,
  };
};

/** The inverse of `manifestOf`. */
export const programsOf = ({ programs, contract, kernels, memory, ...common }: Manifest): readonly Program[] =>
  programs.map(({ kernels: names, memory: own, ...program }) => {
    const launched = new Set(names);
    return {
      ...common,
      ...program,
      batch: contract.batch,
      memory: { ...own, ...memory },
      kernels: kernels.filter(({ name }) => launched.has(name)),
    };
  });
