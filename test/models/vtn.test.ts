import { basename } from "node:path";
import { describe, expect, test } from "vitest";
import { readArrays } from "../../compiler/cli/arrays.ts";
import vtn from "../../models/vtn.ts";
import { differences, goldenCases, parametersOf, readCase } from "../support/golden.ts";

describe.each(goldenCases("vtn").map((folder) => [basename(folder), folder] as const))("%s", (_, folder) => {
  const golden = readCase(folder);

  test("computes what the published code computed, intermediates included", () => {
    expect(differences(vtn, golden)).toEqual([]);
  });

  test("knows the checkpoint's keys, all of them", () => {
    const graph = vtn.trace(vtn.fromCase(golden));
    const known = [...parametersOf(graph).map(({ name }) => name), ...graph.unused];
    expect(known.toSorted()).toEqual([...readArrays(`${folder}/weights.safetensors`).keys()].toSorted());
  });
});
