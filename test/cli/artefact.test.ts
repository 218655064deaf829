import { createHash } from "node:crypto";
import type * as promises from "node:fs/promises";
import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import * as fc from "fast-check";
import { afterAll, describe, expect, it, vi } from "vitest";
import { type Family, packArtefact, writeArtefact } from "../../compiler/artefact.ts";
import { withPtx } from "../../compiler/cli/images.ts";
import type { KernelImage } from "../../compiler/toolchain/compileImages.ts";
import { type Manifest, manifestOf } from "../../ir/manifest.ts";
import type { Kernel } from "../../ir/program.ts";
import { ArtefactFileError, readArtefact } from "../../runtime/artefact.ts";
import { writeSafetensors } from "../../runtime/safetensors.ts";

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
const compiledWith = (text: string): Family => ({
  programs: [
    {
      format: 3,
      name: "toy",
      precision: "f32",
      batch: { min: 1, max: 4 },
      extents: {},
      inputs: [],
      outputs: [],
      kept: [],
      parameters: [],
      unused: [],
      weights: [],
      memory: { activations: 0, shared: 0, weights: 0 },
      kernels: [kernel],
      steps: [],
      loop: null,
      checksums: {},
    },
  ],
  sources: new Map([["kernels/scale.cu", text]]),
});
const report = { registers: 24, spillBytes: 0, staticSharedBytes: 0, stackBytes: 0 };
const imagesOf = (text: string): KernelImage[] => [
  { kernel: "scale", target: "sm_90a", image: Buffer.from(`fatbin ${text}`), ptxas: report, log: "" },
  { kernel: "scale", target: "emulated", image: Buffer.from(`library ${text}`), ptxas: null, log: "" },
];
const manifestIn = (folder: string): Manifest =>
  JSON.parse(readFileSync(join(folder, "manifest.json"), "utf8")) as Manifest;
const drafts = (): string[] => readdirSync(scratch).filter((name) => name.startsWith("."));

describe("writeArtefact", () => {
  it("writes sources, images and a manifest that names and sums up all of them", async () => {
    const folder = join(scratch, "deep/er/toy");
    const packed = packArtefact(compiledWith("// one"), imagesOf("one"));
    await writeArtefact(packed, folder);
    const [program] = packed.programs;
    expect(manifestIn(folder)).toEqual({
      ...manifestOf(packed.programs),
      fovea: expect.stringMatching(/^\d+\.\d+\.\d+$/),
      digest: expect.stringMatching(/^[0-9a-f]{64}$/),
    });
    expect(readArtefact(folder).programs).toEqual([program]);
    expect(program.kernels[0]).toMatchObject({
      images: { sm_90a: "kernels/scale.fatbin", emulated: "kernels/scale.emulated.so" },
      ptxas: { sm_90a: report },
    });
    expect(Object.keys(program.checksums).toSorted()).toEqual([
      "kernels/scale.cu",
      "kernels/scale.emulated.so",
      "kernels/scale.fatbin",
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
    expect(manifestIn(folder).checksums["kernels/scale.cu"]).toBe(createHash("sha256").update(source).digest("hex"));
    expect(drafts()).toEqual([]);
  });
});

/** Everything that an artefact holds, or why it was refused. */
function contentsOf(place: string): string {
  try {
    const artefact = readArtefact(place);
    const files = Object.keys(artefact.programs[0].checksums).map((path) =>
      Buffer.from(artefact.read(path)).toString("hex"),
    );
    return JSON.stringify([artefact.programs, files]);
  } catch (error) {
    if (!(error instanceof ArtefactFileError)) throw error;
    return `${error.problem}: ${error.message}`;
  }
}

describe("an artefact of one file", () => {
  const folder = join(scratch, "both");
  const file = join(scratch, "both.fovea");
  const packed = packArtefact(
    compiledWith("// both"),
    imagesOf("both"),
    new Map([["more/read.me", Buffer.from("more")]]),
  );

  it("holds what the folder holds, and the same bytes whenever it is written", async () => {
    await writeArtefact(packed, folder);
    await writeArtefact(packed, file);
    expect(contentsOf(file)).toBe(contentsOf(folder));
    expect(contentsOf(file)).toContain("more/read.me");
    const first = readFileSync(file);
    await writeArtefact(packed, file);
    expect(readFileSync(file)).toEqual(first);
    expect(drafts()).toEqual([]);
  });

  it("takes no place of something else", async () => {
    writeFileSync(join(scratch, "novel.fovea"), "It was a dark and stormy night");
    await expect(writeArtefact(packed, join(scratch, "novel.fovea"))).rejects.toThrow("is a file of something else");
    mkdirSync(join(scratch, "folder.fovea"));
    await expect(writeArtefact(packed, join(scratch, "folder.fovea"))).rejects.toThrow("is a folder");
  });

  it("is told from files of others, and from nothing", () => {
    const weights = join(scratch, "weights.fovea");
    writeSafetensors(weights, new Map([["w", { dtype: "U8", shape: [1], bytes: Uint8Array.of(1) }]]));
    expect(contentsOf(weights)).toMatch(
      /^foreign: .* is no artefact but a safetensors file of something else\n {2}hint: /,
    );
    expect(contentsOf(join(scratch, "novel.fovea"))).toMatch(/^foreign: .* is no artefact: /);
    expect(contentsOf(join(scratch, "nowhere.fovea"))).toMatch(/^missing: .* is not there/);
  });
});

describe("damage", () => {
  const kinds = /^(missing|foreign|version|truncated|damaged): the artefact ".*" .+/;

  it.each(["folder", "file"])("of one of many bytes of the %s is found, or changes nothing", async (form) => {
    const place = join(scratch, form === "file" ? "hurt.fovea" : "hurt");
    const packed = packArtefact(compiledWith("// whole"), imagesOf("whole"));
    await writeArtefact(packed, place);
    const whole = contentsOf(place);
    const files =
      form === "file" ? [place] : ["manifest.json", ...packed.files.keys()].map((path) => join(place, path));
    const originals = new Map(files.map((path) => [path, readFileSync(path)]));
    const start = performance.now();
    fc.assert(
      fc.property(
        fc.constantFrom(...files),
        fc.array(fc.tuple(fc.nat(), fc.nat({ max: 255 })), { maxLength: 3 }),
        fc.option(fc.nat()),
        fc.uint8Array({ maxLength: 8 }),
        (path, changes, cut, more) => {
          const original = originals.get(path) ?? Buffer.alloc(0);
          const hurt = Buffer.from(original);
          for (const [at, value] of changes) hurt[at % hurt.length] = value;
          const content = Buffer.concat([cut === null ? hurt : hurt.subarray(0, cut % hurt.length), more]);
          writeFileSync(path, content);
          const found = contentsOf(place);
          writeFileSync(path, original);
          if (found !== whole) expect(found).toMatch(kinds);
        },
      ),
      { numRuns: 400 },
    );
    expect(contentsOf(place)).toBe(whole);
    expect(performance.now() - start).toBeLessThan(30_000);
  });

  it("by cutting is called that, at any length", async () => {
    const place = join(scratch, "cut.fovea");
    await writeArtefact(packArtefact(compiledWith("// whole"), imagesOf("whole")), place);
    const whole = readFileSync(place);
    const header = 8 + Number(whole.readBigUInt64LE());
    for (const length of [header + 1, Math.floor((header + whole.length) / 2), whole.length - 1]) {
      writeFileSync(place, whole.subarray(0, length));
      expect(contentsOf(place)).toMatch(/^truncated: .* is cut: .*\n {2}hint: copy or build it again/);
    }
  });
});

describe("what a build is for", () => {
  it("is every architecture asked for, and PTX of the newest for those to come", () => {
    expect(withPtx(["sm_90a", "emulated", "sm_80"])).toEqual(["sm_90a", "emulated", "sm_80", "compute_90"]);
    expect(withPtx(["sm_90", "compute_80"])).toEqual(["sm_90", "compute_80"]);
    expect(withPtx(["emulated"])).toEqual(["emulated"]);
  });
});
