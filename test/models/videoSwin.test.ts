import { basename } from "node:path";
import { describe, expect, test } from "vitest";
import { readArrays } from "../../compiler/cli/arrays.ts";
import videoSwin from "../../models/videoSwin.ts";
import { differences, goldenCases, parametersOf, readCase } from "../support/golden.ts";

describe.each(goldenCases("video-swin").map((folder) => [basename(folder), folder] as const))("%s", (_, folder) => {
  const golden = readCase(folder);

  test("computes what the published code computed, intermediates included", () => {
    expect(differences(videoSwin, golden)).toEqual([]);
  });

  test("knows the checkpoint's keys, all of them", () => {
    const graph = videoSwin.trace(videoSwin.fromCase(golden));
    const known = [...parametersOf(graph).map(({ name }) => name), ...graph.unused];
    expect(known.toSorted()).toEqual([...readArrays(`${folder}/weights.safetensors`).keys()].toSorted());
  });
});

test("the published models have the paper's numbers of parameters", () => {
  const millions = (preset: string): number =>
    parametersOf(videoSwin.trace({ preset })).reduce(
      (sum, { shape }) => sum + shape.reduce((all, size) => all * size, 1),
      0,
    ) / 1e6;
  // Table 1 of the paper.
  expect(millions("tiny")).toBeCloseTo(28.2, 0);
  expect(millions("small")).toBeCloseTo(49.8, 0);
  expect(millions("base")).toBeCloseTo(88.1, 0);
});
