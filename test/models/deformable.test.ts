import { basename } from "node:path";
import { describe, expect, test } from "vitest";
import { readArrays } from "../../compiler/cli/arrays.ts";
import deformable from "../../models/deformable.ts";
import { differences, goldenCases, parametersOf, readCase } from "../support/golden.ts";

/** Cores have no weights. */
const weightsOf = (folder: string): ReadonlyMap<string, unknown> =>
  readCase(folder).weights === null ? new Map() : readArrays(`${folder}/weights.safetensors`);

describe.each(goldenCases("deformable").map((folder) => [basename(folder), folder] as const))("%s", (_, folder) => {
  const golden = readCase(folder);

  test("computes what the published code computed, intermediates included", () => {
    expect(differences(deformable, golden)).toEqual([]);
  });

  test("knows the checkpoint's keys, all of them", () => {
    const graph = deformable.trace(deformable.fromCase(golden));
    const known = [...parametersOf(graph).map(({ name }) => name), ...graph.unused];
    expect(known.toSorted()).toEqual([...weightsOf(folder).keys()].toSorted());
  });
});
