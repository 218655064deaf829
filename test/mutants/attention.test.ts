import { describe, expect, it } from "vitest";
import { meaningOfAttention, orderOfAttention, placesOfAttention } from "./attentionMutants.ts";
import { schedules, symptomsOf, symptomsOfMutant } from "./mutant.ts";
import { attentionProbes, probe } from "./probes.ts";

// Every check must be able to fail: with a bug planted into the text of a kernel one does, in every schedule of threads
// and copies, not by the luck of one.

describe("kernels without a bug", () => {
  it.each(attentionProbes)("%s shows none", async (name) => {
    expect(await symptomsOf(name, probe(name).emitted.source)).toEqual(schedules.map(() => null));
  });
});

describe.each([
  ["order", orderOfAttention],
  ["places", placesOfAttention],
  ["meaning", meaningOfAttention],
])("bugs of %s", (_name, mutants) => {
  it.each(mutants)("$bug: $caught", async (mutant) => {
    const found = await symptomsOfMutant(mutant);
    expect(found).toContain(mutant.caught);
    expect(found).not.toContain(null);
  });
});
