import { describe, expect, it } from "vitest";
import { schedules, symptomsOf, symptomsOfMutant } from "./mutant.ts";
import { mutantsOfProducts, mutantsOfRowsAndMaps, mutantsOfSamples } from "./otherMutants.ts";
import { otherProbes, probe } from "./probes.ts";

// As attention.test.ts, for the other families.

describe("kernels without a bug", () => {
  it.each(otherProbes)("%s shows none", async (name) => {
    expect(await symptomsOf(name, probe(name).emitted.source)).toEqual(schedules.map(() => null));
  });
});

describe.each([
  ["products", mutantsOfProducts],
  ["rows and maps", mutantsOfRowsAndMaps],
  ["samples", mutantsOfSamples],
])("bugs in %s", (_name, mutants) => {
  it.each(mutants)("$bug: $caught", async (mutant) => {
    const found = await symptomsOfMutant(mutant);
    expect(found).toContain(mutant.caught);
    expect(found).not.toContain(null);
  });
});
