import { readFileSync } from "node:fs";
import { join } from "node:path";
import { expect, it } from "vitest";
import { packageRoot } from "../../compiler/packageRoot.ts";
import { probe, type ProbeName } from "./probes.ts";

// What emulation cannot show: its collectives order memory, a GPU's shuffles do not. So the text itself is looked at.

const template = (name: string): string => readFileSync(join(packageRoot(), "templates", name), "utf8");
const emitted = (name: ProbeName): string => probe(name).emitted.source;

/** What uses tiles that other threads have copied. */
const use = /\b(ldmatrix_\w+|load_a|load_b|multiply|attend|attend_from|fetch|load_queries|load_keys)\s*[<(]/;
const barrier = /__sync(threads|warp)\(\)/;

/** Waits for copies behind which others' copies are used without a barrier between. */
const unfenced = (text: string): readonly string[] => {
  const lines = text.replaceAll(/\/\/.*$/gm, "").split("\n");
  return lines.flatMap((line, at) => {
    if (!line.includes("cp_async_wait<")) return [];
    for (const next of lines.slice(at, at + 60)) {
      if (barrier.test(next)) return [];
      if (use.test(next)) return [`line ${at + 1}: ${line.trim()} ... ${next.trim()}`];
    }
    return [];
  });
};

it.each(["attention/resident.cuh", "attention/turns.cuh", "attention/stream.cuh"])(
  "waits in %s are followed by a barrier",
  (name) => {
    expect(template(name)).toContain("cp_async_wait<");
    expect(unfenced(template(name))).toEqual([]);
  },
);

it.each(["norm", "exactNorm", "residual", "conv"] as const)(
  "waits in the product %s are followed by a barrier",
  (name) => {
    expect(emitted(name)).toContain("cp_async_wait<");
    expect(unfenced(emitted(name))).toEqual([]);
  },
);

it.each(["attention/resident.cuh", "attention/turns.cuh", "attention/stream.cuh"])(
  "a barrier that is missing in %s is seen",
  (name) => {
    const without = template(name).replaceAll(/(cp_async_wait<0>\(\);\n\s*)__sync\w+\(\);/g, "$1");
    expect(unfenced(without)).not.toEqual([]);
  },
);
