import { join } from "node:path";
import type { ParameterSlot } from "../../../ir/program.ts";
import { type Checkpoint, openCheckpoint } from "../../../runtime/checkpoint.ts";
import { countOf, type NumberArrays, readArrays } from "../arrays.ts";
import { CommandError } from "../failure.ts";
import type { GoldenCase } from "./case.ts";
import type { Expected } from "./compare.ts";
import { seededRule, seededValues } from "./seeded.ts";

/** What the case's file holds: stored inputs, and what the published code made of them. */
export const readCaseArrays = (golden: GoldenCase): NumberArrays => readArrays(join(golden.folder, golden.io));

/** Stored or drawn by name. */
export function caseInputs(golden: GoldenCase, stored: NumberArrays): NumberArrays {
  return new Map(
    Object.entries(golden.inputs).map(([name, { shape, seeded }]) => {
      if (seeded !== null) return [name, { shape, values: seededValues(seeded, countOf(shape)) }];
      const array = stored.get(name);
      if (array === undefined) {
        throw new CommandError(
          `the input "${name}" is neither in "${join(golden.folder, golden.io)}" nor seeded in case.json`,
        );
      }
      return [name, array];
    }),
  );
}

export function expectedArray(golden: GoldenCase, stored: NumberArrays, name: string): Expected {
  const whole = stored.get(name);
  if (whole !== undefined) return { kind: "full", integer: whole.values instanceof Int32Array, values: whole.values };
  const [head, norm] = [stored.get(`${name}.head`), stored.get(`${name}.norm`)?.values[0]];
  if (head !== undefined && norm !== undefined) return { kind: "head", head: head.values, norm };
  throw new CommandError(
    `"${join(golden.folder, golden.io)}" has neither "${name}" nor "${name}.head" and "${name}.norm"`,
  );
}

/** The case's weights: a file, or drawn by name as `parameters` asks for them. Close it with `using`. */
export async function caseCheckpoint(
  golden: GoldenCase,
  parameters: readonly Named[],
): Promise<Checkpoint & Disposable> {
  const { weights } = golden;
  if (typeof weights === "string") return openCheckpoint(join(golden.folder, weights));
  return { ...drawnCheckpoint(golden, parameters), [Symbol.dispose]: () => {} };
}

type Named = Pick<ParameterSlot, "name" | "shape">;

/** Weights of a case that has no file of them. */
export function drawnCheckpoint({ weights, folder }: GoldenCase, parameters: readonly Named[]): Checkpoint {
  const file = join(folder, "case.json");
  const rules = typeof weights === "object" ? (weights?.seeded.rules ?? []) : [];
  const tensors = parameters.map(({ name, shape }) => {
    const drawn = seededRule(name, shape, rules);
    if (drawn === null) throw new CommandError(`no rule of "${file}" says how to draw the weight "${name}"`);
    return [name, { shape, values: () => seededValues(drawn, countOf(shape)) }] as const;
  });
  return { source: file, tensors: new Map(tensors) };
}
