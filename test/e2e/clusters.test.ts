import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, expect, it } from "vitest";
import { readArrays } from "../../compiler/cli/arrays.ts";
import { drawnSets, tableOf } from "../support/mixtures.ts";
import { fovea, root } from "./fovea.ts";

// README's clustering: its command is run as it stands there, but for where the picture goes.

const scratch = mkdtempSync(join(tmpdir(), "fovea-clusters-"));
afterAll(() => rmSync(scratch, { recursive: true }));
const readme = readFileSync(join(root, "README.md"), "utf8").replaceAll("\\\n", " ");
const [, line = ""] = /npx fovea (run models\/deepAmortizedClustering\.ts .*)/.exec(readme) ?? [];
const [command, committed] = line.split(" --plot ");
const args = command?.split(/\s+/) ?? [];

it("finds the clusters that the sets of the README were drawn from, and draws them", async () => {
  for (const [file, points] of Object.entries(drawnSets))
    expect(readFileSync(join(root, "models/dacMixtures/sets", file), "utf8")).toBe(tableOf(points));

  const [picture, results] = [join(scratch, "clusters.svg"), join(scratch, "results.safetensors")];
  const { out, err, status } = await fovea([...args, "--plot", picture, "--output", results]);
  expect([status, err]).toEqual([0, ""]);
  expect(out).toContain("the loop ended after 4 steps");

  const labels = [...(readArrays(results).get("labels")?.values ?? [])];
  const truth = Object.values(drawnSets).flatMap((points, set) => points.map(({ component }) => `${set} ${component}`));
  expect(labels).toHaveLength(truth.length);
  // One label for each Gaussian, and one Gaussian for each label of a set: no point is anywhere else.
  const pairs = new Set(truth.map((component, i) => `${component} is ${labels[i]}`));
  expect(pairs.size).toBe(new Set(truth).size);
  expect(new Set(truth.map((component, i) => `${component[0]} ${labels[i]}`)).size).toBe(pairs.size);

  const dots = (file: string): readonly { readonly x: number; readonly y: number; readonly colour: string }[] =>
    [...readFileSync(file, "utf8").matchAll(/<circle[^>]*>/g)].map(([circle]) => {
      const of = (name: string): string => new RegExp(` ${name}="([^"]*)"`).exec(circle)?.[1] ?? "";
      return { x: Number(of("cx")), y: Number(of("cy")), colour: of("fill") };
    });
  const drawn = dots(picture);
  expect(drawn).toHaveLength(truth.length);
  // A colour is a label, wherever it is seen.
  expect(new Set(drawn.map(({ colour }, i) => `${colour} ${labels[i]}`)).size).toBe(4);
  expect(drawn.every(({ colour }) => /^#\w{6}$/.test(colour))).toBe(true);
  expect(readFileSync(picture, "utf8")).toMatch(
    /^<svg [^>]*xmlns="http:\/\/www\.w3\.org\/2000\/svg".*set 2: 4 clusters/s,
  );
  // The README's own picture shows the same.
  const near = drawn.map(({ x, y, colour }) => ({ x: expect.closeTo(x, 1), y: expect.closeTo(y, 1), colour }));
  expect(dots(join(root, committed ?? ""))).toEqual(near);
});

it("says what is wrong with a table of numbers", async () => {
  const withTable = async (text: string, ...more: readonly string[]) => {
    writeFileSync(join(scratch, "points.csv"), text);
    const alone = args.filter((each, i) => !each.startsWith("X=") && !args[i + 1]?.startsWith("X="));
    const { err, status } = await fovea([...alone, "--input", `X=${join(scratch, "points.csv")}`, ...more]);
    expect(status).toBe(2);
    return err;
  };
  expect(await withTable("1,2\n3,x\n")).toContain('has "x" in line 2, where a number belongs');
  const other = await withTable("1,2\n3,4\n");
  expect(other).toContain('the input "X" [batch, 200, 2] takes 200 rows of 2 numbers an example');
  expect(other).toContain("has 2 x 2");
});
