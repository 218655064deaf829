import { chmodSync, mkdirSync, mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { execa } from "execa";
import { afterAll, beforeAll, expect, it } from "vitest";
import { cacheFolder } from "../../compiler/toolchain/cache.ts";
import { root } from "./fovea.ts";

// models/TUTORIAL.md does what it says: its files are written and its commands run, in order. The emulated device is the one
// that other tests have built; what the tutorial itself makes is cached beside it.

const text = readFileSync(join(root, "models/TUTORIAL.md"), "utf8");
const blocks = [...text.matchAll(/^```(\w+)\n(.*?)^```$/gms)].map(([, language = "", content = ""]) => ({
  language,
  content,
}));
const scratch = mkdtempSync(join(tmpdir(), "fovea-tutorial-"));
afterAll(() => rmSync(scratch, { recursive: true }));

/** A project that has fovea installed. */
beforeAll(async () => {
  const modules = join(scratch, "node_modules");
  mkdirSync(join(modules, ".bin"), { recursive: true });
  for (const [name, place] of [
    ["fovea", root],
    ["zod", join(root, "node_modules/zod")],
  ] as const)
    symlinkSync(place, join(modules, name));
  const command = join(modules, ".bin/fovea");
  writeFileSync(command, `#!/bin/sh\nexec node "${join(root, "dist/compiler/cli/main.js")}" "$@"\n`);
  chmodSync(command, 0o755);
}, 120_000);

it("runs from the model to C and Node with equal bits", { timeout: 300_000 }, async () => {
  const said: string[] = [];
  const files: string[] = [];
  const { exitCode: noPython } = await execa("python3", ["-c", "import numpy"], { reject: false });
  for (const { language, content } of blocks) {
    if (noPython !== 0 && content.startsWith("python3 ")) continue;
    if (language !== "sh") {
      const file = /^(?:\/\/|#) (\S+)\n/.exec(content)?.[1];
      expect(file, `a block of ${language} that names no file:\n${content}`).toBeDefined();
      writeFileSync(join(scratch, file ?? ""), content);
      files.push(file ?? "");
      continue;
    }
    const options = { cwd: scratch, reject: false, env: { FOVEA_CACHE: cacheFolder() } } as const;
    const run = await execa("bash", ["-e", "-o", "pipefail", "-c", content], options);
    expect(run.exitCode, `${content}\n${run.stdout}\n${run.stderr}`).toBe(0);
    said.push(run.stdout);
  }
  expect(files).toEqual(["discs.ts", "draw.mjs", "compare.mjs", "serve.mjs", "serve.c", "serve.py"]);
  const all = said.join("\n");
  expect(all).toMatch(/^4608 numbers, largest error \d\.\de-\d+$/m);
  expect(all).toContain("out 3 x 2 x 6 x 8 x 16");
  expect(all).toContain('"video" [1, 3, 6, 8, 16] is outside of what "discs" was built for (t = 3)');
  expect(all).toContain("batch 1..8, t = 2 or 4: 2 programs of");
  expect(all).toMatch(/changed .*attention/);
  expect(readFileSync(join(scratch, "c.bin"))).toEqual(readFileSync(join(scratch, "node.bin")));
  // No path of this machine: the project is no package of its own.
  expect(readFileSync(join(scratch, "discs/kernels/attention_model.cu"), "utf8")).toContain(" from discs.ts:18");
  expect(readFileSync(join(scratch, "time.html"), "utf8")).toContain("discs");
});

it("says what the README links to", () => {
  expect(readFileSync(join(root, "README.md"), "utf8")).toContain("(models/TUTORIAL.md)");
});
