import { createHash } from "node:crypto";
import type * as promises from "node:fs/promises";
import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, describe, expect, it, vi } from "vitest";
import { packArtefact, writeArtefact } from "../../compiler/artefact.ts";
import type { Compiled } from "../../compiler/compile.ts";
import type { KernelImage } from "../../compiler/toolchain/compileImages.ts";
import type { Kernel, Program } from "../../ir/program.ts";

/** How many more files the disk has room for. */
const disk = vi.hoisted(() => ({ room: Infinity }));
vi.mock("node:fs/promises", async (importOriginal) => {
  const fs = await importOriginal<typeof promises>();
  const writeFile: typeof fs.writeFile = async (...args) => {
    if (disk.room === 0) throw Object.assign(new Error("ENOSPC: no space left on device, write"), { code: "ENOSPC" });
    disk.room--;
    return fs.writeFile(...args);
  };
  return { ...fs, writeFile };
});

const scratch = mkdtempSync(join(tmpdir(), "fovea-artefact-"));
afterAll(() => rmSync(scratch, { recursive: true }));

const kernel: Kernel = {
  name: "scale",
  source: "kernels/scale.cu",
  family: "map",
  threads: 128,
  sharedBytes: 0,
  images: {},
  ptxas: {},
  notes: [],
};
const compiledWith = (text: string): Pick<Compiled, "program" | "sources"> => ({
  program: {
    format: 1,
    name: "toy",
    precision: "f32",
    batch: { min: 1, max: 4 },
    inputs: [],
    outputs: [],
    kept: [],
    parameters: [],
    unused: [],
    weights: [],
    memory: { activations: 0, shared: 0, weights: 0 },
    kernels: [kernel],
    steps: [],
    checksums: {},
  },
  sources: new Map([["kernels/scale.cu", text]]),
});
const report = { registers: 24, spillBytes: 0, staticSharedBytes: 0, stackBytes: 0 };
const imagesOf = (text: string): KernelImage[] => [
  { kernel: "scale", target: "sm_90a", image: Buffer.from(`cubin ${text}`), ptxas: report, log: "" },
  { kernel: "scale", target: "emulated", image: Buffer.from(`library ${text}`), ptxas: null, log: "" },
];
const manifestOf = (folder: string): Program =>
  JSON.parse(readFileSync(join(folder, "manifest.json"), "utf8")) as Program;
const drafts = (): string[] => readdirSync(scratch).filter((name) => name.startsWith("."));

describe("writeArtefact", () => {
  it("writes sources, images and a manifest that names and sums up all of them", async () => {
    const folder = join(scratch, "deep/er/toy");
    const packed = packArtefact(compiledWith("// one"), imagesOf("one"));
    await writeArtefact(packed, folder);
    const { program } = packed;
    expect(manifestOf(folder)).toEqual(program);
    expect(program.kernels[0]).toMatchObject({
      images: { sm_90a: "kernels/scale.sm_90a.cubin", emulated: "kernels/scale.emulated.so" },
      ptxas: { sm_90a: report },
    });
    expect(Object.keys(program.checksums).toSorted()).toEqual([
      "kernels/scale.cu",
      "kernels/scale.emulated.so",
      "kernels/scale.sm_90a.cubin",
    ]);
    for (const [path, sum] of Object.entries(program.checksums)) {
      expect(
        createHash("sha256")
          .update(readFileSync(join(folder, path)))
          .digest("hex"),
      ).toBe(sum);
    }
  });

  it("replaces an artefact whole, and leaves nothing of the old one", async () => {
    const folder = join(scratch, "again");
    await writeArtefact(packArtefact(compiledWith("// one"), imagesOf("one")), folder);
    await writeArtefact(packArtefact(compiledWith("// two"), []), folder);
    expect(readdirSync(join(folder, "kernels"))).toEqual(["scale.cu"]);
    expect(readFileSync(join(folder, "kernels/scale.cu"), "utf8")).toBe("// two");
    expect(drafts()).toEqual([]);
  });

  it("refuses a folder that holds something else", async () => {
    const folder = join(scratch, "thesis");
    mkdirSync(folder);
    writeFileSync(join(folder, "chapter1.tex"), "years of work");
    await expect(writeArtefact(packArtefact(compiledWith(""), []), folder)).rejects.toThrow(
      "holds other files (chapter1.tex)",
    );
    expect(readFileSync(join(folder, "chapter1.tex"), "utf8")).toBe("years of work");
    await expect(writeArtefact(packArtefact(compiledWith(""), []), join(folder, "chapter1.tex"))).rejects.toThrow(
      "is a file",
    );
    await expect(
      writeArtefact(packArtefact(compiledWith(""), []), join(folder, "chapter1.tex/deeper")),
    ).rejects.toThrow("part of its path is a file");
  });

  it("leaves the old artefact, and no draft, when the disk is full half way", async () => {
    const folder = join(scratch, "full");
    await writeArtefact(packArtefact(compiledWith("// one"), imagesOf("one")), folder);
    disk.room = 1;
    await expect(writeArtefact(packArtefact(compiledWith("// two"), imagesOf("two")), folder)).rejects.toThrow(
      `the artefact "${folder}" could not be written: the disk is full`,
    );
    expect(disk.room).toBe(0);
    disk.room = Infinity;
    expect(readFileSync(join(folder, "kernels/scale.cu"), "utf8")).toBe("// one");
    expect(drafts()).toEqual([]);
  });

  it("lets writers race: what is there in the end is one of theirs, whole", async () => {
    const folder = join(scratch, "raced");
    await Promise.all(
      Array.from({ length: 12 }, (_, index) =>
        writeArtefact(packArtefact(compiledWith(`// ${index}`), imagesOf(String(index))), folder),
      ),
    );
    const source = readFileSync(join(folder, "kernels/scale.cu"), "utf8");
    expect(source).toMatch(/^\/\/ \d+$/);
    expect(readFileSync(join(folder, "kernels/scale.emulated.so"), "utf8")).toBe(`library ${source.slice(3)}`);
    expect(manifestOf(folder).checksums["kernels/scale.cu"]).toBe(createHash("sha256").update(source).digest("hex"));
    expect(drafts()).toEqual([]);
  });
});
