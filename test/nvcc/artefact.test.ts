import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, expect, it } from "vitest";
import { packArtefact, writeArtefact } from "../../compiler/artefact.ts";
import { compileKernels, withPtx } from "../../compiler/cli/images.ts";
import { compileVariants } from "../../compiler/compile.ts";
import { openTerminal } from "../../compiler/cli/terminal.ts";
import { loadModel } from "../../compiler/frontend/loadModel.ts";
import { readArtefact } from "../../runtime/artefact.ts";
import { readFatbin } from "../../runtime/fatbin.ts";
import { root } from "../e2e/fovea.ts";
import { readCubin } from "./elf.ts";

const scratch = mkdtempSync(join(tmpdir(), "fovea-architectures-"));
afterAll(() => rmSync(scratch, { recursive: true }));

it("an artefact for several architectures has code for each, and PTX for those to come", async () => {
  const model = await loadModel(join(root, "test/fixtures/contract/model.ts"));
  const variants = [3, 6].map((t) => ({ graph: model.trace({ axes: { t } }), extents: { t } }));
  const options = { precision: "bf16", batch: { min: 1, max: 4 }, keep: false } as const;
  const [first, ...others] = compileVariants(variants, options);
  if (first === undefined) throw new Error("nothing was compiled");
  const family = {
    programs: [first.program, ...others.map(({ program }) => program)],
    sources: first.sources,
  } as const;
  const targets = withPtx(["sm_80", "sm_86", "sm_89", "sm_90a"]);
  expect(targets.at(-1)).toBe("compute_90");
  const images = await compileKernels(family, targets, openTerminal({ json: true }));
  await writeArtefact(packArtefact(family, images), join(scratch, "clips.fovea"));

  const { programs, read } = readArtefact(join(scratch, "clips.fovea"));
  for (const kernel of programs.flatMap(({ kernels }) => kernels)) {
    expect(Object.keys(kernel.images)).toEqual(targets);
    const [path = "", ...more] = new Set(Object.values(kernel.images));
    expect([path, ...more]).toEqual([`kernels/${kernel.name}.fatbin`]);
    const found = readFatbin(read(path));
    expect(found.map(({ target }) => target)).toEqual(targets);
    for (const { target, content } of found) {
      if (target === "compute_90") {
        const text = Buffer.from(content).toString();
        expect(text).toMatch(/^\.target sm_90$/m);
        expect(text).toContain(`.visible .entry ${kernel.name}(`);
        continue;
      }
      const cubin = readCubin(content);
      expect(cubin.architecture).toBe(Number(/\d+/.exec(target)?.[0]));
      expect(cubin.target ?? target).toBe(target);
      expect(cubin.code.get(kernel.name)).toBeGreaterThan(256);
    }
  }
});
