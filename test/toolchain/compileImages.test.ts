import { chmod, mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { compileImages, type CompileProgress } from "../../compiler/toolchain/compileImages.ts";
import { firstError } from "../../compiler/toolchain/compilerMessage.ts";
import { findHostCompiler, findNvcc } from "../../compiler/toolchain/findTools.ts";
import { includedFiles } from "../../compiler/toolchain/includes.ts";
import { parsePtxasReport, performanceNotes } from "../../compiler/toolchain/ptxasReport.ts";
import { sideBySide } from "../../compiler/toolchain/sideBySide.ts";

let cache: string;
beforeAll(async () => {
  cache = await mkdtemp(join(tmpdir(), "fovea-images-"));
});
afterAll(() => rm(cache, { recursive: true }));

const source = (name: string, body: string): string => `#include "device/device.cuh"
extern "C" __global__ void ${name}(float* y, int n) {
  ${body}
}
DEV_EXPORT(${name})
`;
const kernel = (name: string, body: string) => ({ name, family: "map", source: source(name, body) });

/** A program in the place of a compiler. */
async function script(name: string, text: string): Promise<string> {
  const path = join(cache, name);
  await writeFile(path, `#!/bin/sh\n${text}\n`);
  await chmod(path, 0o755);
  return path;
}

describe("compileImages", () => {
  it("makes an image per kernel and target, and takes them from the cache the second time", async () => {
    const kernels = [kernel("one", "st(y, 1.0f);"), kernel("two", "st(y, 2.0f);")];
    const seen: CompileProgress[] = [];
    const options = { cache, onProgress: (progress: CompileProgress) => seen.push(progress) };
    const first = await compileImages(kernels, ["emulated"], options);
    const second = await compileImages(kernels, ["emulated"], options);
    expect(first.map((image) => [image.kernel, image.target, image.ptxas])).toEqual([
      ["one", "emulated", null],
      ["two", "emulated", null],
    ]);
    expect(Buffer.from(first[0]?.image ?? []).includes("emu_kernel_one")).toBe(true);
    expect(second).toEqual(first);
    expect(seen.map(({ cached }) => cached)).toEqual([false, false, true, true]);
    expect(seen.map(({ done, total }) => `${done}/${total}`)).toEqual(["1/2", "2/2", "1/2", "2/2"]);
  });

  it("puts no path of this machine into an image", async () => {
    const [image] = await compileImages([kernel("places", "st(y, ld(y + n));")], ["emulated"], { cache });
    expect(Buffer.from(image?.image ?? []).includes(cache)).toBe(false);
    expect(Buffer.from(image?.image ?? []).includes(process.cwd())).toBe(false);
  });

  it("shows the first error with the generated line and the templates it came from", async () => {
    const broken = compileImages([kernel("broken", "st(z, 1.0f);")], ["emulated"], { cache });
    await expect(broken).rejects.toMatchObject({ code: "compiler-failed" });
    await expect(broken).rejects.toThrow(
      /could not compile broken for emulated \(from templates\/map\/\): 'z' was not declared[^\n]*\n {2}broken\.cu:3\n[^]*> 3 \| {3}st\(z, 1\.0f\);/,
    );
  });

  it("names a header of fovea when the error lies there", async () => {
    const broken = compileImages([kernel("header", "struct S { int a; } s; atomicMax(&s, s);")], ["emulated"], {
      cache,
    });
    await expect(broken).rejects.toThrow(
      /\n {2}templates\/device\/emulated\/memory\.cuh:\d+\n[^]*> \d+ \| FOVEA_ATOMIC\(atomicMax/,
    );
  });

  it("says what was looked for where there is no compiler", async () => {
    const environment = { PATH: cache };
    await expect(compileImages([kernel("k", "")], ["emulated"], { cache, environment })).rejects.toMatchObject({
      code: "compiler-not-found",
      message: "a C++ compiler was not found; looked for g++, clang++, c++",
      hint: expect.stringContaining("apt install g++"),
    });
    await expect(findHostCompiler({ PATH: cache, CXX: "/none/icc" })).rejects.toThrow(
      "looked for /none/icc, g++, clang++, c++",
    );
    const nvcc = findNvcc({
      PATH: cache,
      CUDA_HOME: cache,
      NVCC: await script("broken-nvcc", "echo no licence; exit 3"),
    });
    // One that is installed in the usual place is found in any case.
    await nvcc.catch((error: unknown) =>
      expect(String(error)).toMatch(/looked for .*broken-nvcc.*\n.*failed: no licence/),
    );
  });

  it("passes on what a failing compiler says, and caches nothing of it", async () => {
    const failing = await script(
      "failing",
      'case "$1" in --version) echo "g++ 1.0";; *) echo "cannot allocate memory" >&2; exit 4;; esac',
    );
    const options = { cache, environment: { ...process.env, CXX: failing } };
    await expect(compileImages([kernel("one", "")], ["emulated"], options)).rejects.toThrow("cannot allocate memory");
    await expect(compileImages([kernel("one", "")], ["emulated"], options)).rejects.toThrow("cannot allocate memory");
  });

  it.each([
    ["/usr/bin/ld: final link failed: No space left on device", "the disk is full"],
    [
      "gcc: No such file or directory\nnvcc fatal   : Failed to preprocess host compiler properties.",
      "apt install g++",
    ],
    ["g++: fatal error: Killed signal terminated program cc1plus", "memory does not suffice"],
    ["x.cu:1:1: error: expected a declaration", "report this"],
  ])("says what to do about %s", async (said, advice) => {
    const text = `[ "$1" = --version ] && echo failing 1 && exit 0\necho "${said}" >&2\nexit 1\n`;
    const options = { cache, environment: { ...process.env, CXX: await script("advised", text) } };
    await expect(compileImages([kernel("one", "")], ["emulated"], options)).rejects.toMatchObject({
      code: "compiler-failed",
      hint: expect.stringContaining(advice) as unknown,
    });
  });

  it("does not take a killed compiler's half image for one", async () => {
    const killed = await script(
      "killed",
      'case "$1" in --version) echo "g++ 1.1";; *) echo half > image; kill -9 $$;; esac',
    );
    const options = { cache, environment: { ...process.env, CXX: killed } };
    await expect(compileImages([kernel("one", "")], ["emulated"], options)).rejects.toThrow(/killed.*SIGKILL/);
    await expect(compileImages([kernel("one", "")], ["emulated"], options)).rejects.toThrow("SIGKILL");
  });

  it("refuses kernels that ptxas calls slow", async () => {
    const note =
      "ptxas info    : (C7510) Potential Performance Loss: wgmma.mma_async instructions are serialized in 'k'";
    const slow = await script(
      "slow",
      `case "$1" in --version) echo "nvcc 1";; *) echo "${note}"; echo x > image;; esac`,
    );
    const options = { cache, environment: { ...process.env, NVCC: slow } };
    await expect(compileImages([kernel("one", "")], ["sm_90a"], options)).rejects.toMatchObject({
      code: "performance-note",
    });
  });

  it("compiles again when the compiler changes", async () => {
    const log = join(cache, "runs");
    for (const version of ["1", "2", "2"]) {
      const text = `case "$1" in --version) echo "g++ ${version}";; *) echo ${version} >> ${log}; echo ${version} > image;; esac`;
      const environment = { ...process.env, CXX: await script("changing", text) };
      const [image] = await compileImages([kernel("changing", "")], ["emulated"], { cache, environment });
      expect(Buffer.from(image?.image ?? []).toString()).toBe(`${version}\n`);
    }
    expect(await readFile(log, "utf8")).toBe("1\n2\n");
  });
});

describe("the cache's key", () => {
  it("holds every header, found next to the including file or below the roots", async () => {
    await writeFile(join(cache, "a.cuh"), '#include "b.cuh"\n#include <cmath>\n');
    await writeFile(join(cache, "b.cuh"), '#pragma once\n  # include "a.cuh"\n');
    const files = await includedFiles('#include "a.cuh"\n#include "none.h"\n// #include "x.h"', "/nowhere", [cache]);
    expect([...files.keys()]).toEqual(["a.cuh", "b.cuh"]);
  });
});

describe("compilers' messages", () => {
  it("are read in the forms of g++, clang++ and nvcc", () => {
    const text = "'z' was not declared";
    expect(firstError(`k.cu: In function 'void k()':\nk.cu:5:17: error: ${text}\nk.cu:9:1: error: more`)).toEqual({
      file: "k.cu",
      line: 5,
      column: 17,
      text,
    });
    expect(firstError('k.cu(7): warning #177-D: unused\nk.cu(12): error: identifier "z" is undefined\n')).toEqual({
      file: "k.cu",
      line: 12,
      column: 1,
      text: 'identifier "z" is undefined',
    });
    expect(firstError("templates/a.cuh:1:10: fatal error: x.h: No such file")).toMatchObject({
      file: "templates/a.cuh",
      text: "x.h: No such file",
    });
    expect(firstError("ptxas fatal   : Ptx assembly aborted due to errors")).toBeUndefined();
  });

  it("of ptxas become numbers", () => {
    const output = `ptxas info    : Compiling entry function 'k' for 'sm_90a'
ptxas info    : Function properties for k
    16 bytes stack frame, 12 bytes spill stores, 8 bytes spill loads
ptxas info    : Used 168 registers, used 1 barriers, 16 bytes cumulative stack size, 1024 bytes smem`;
    expect(parsePtxasReport(output)).toEqual({
      registers: 168,
      spillBytes: 20,
      staticSharedBytes: 1024,
      stackBytes: 16,
    });
    expect(parsePtxasReport("")).toBeUndefined();
    expect(performanceNotes(`${output}\nptxas info : (C7519) Potential Performance Loss`)).toHaveLength(1);
    expect(performanceNotes(output)).toEqual([]);
  });
});

describe("sideBySide", () => {
  it("keeps the order, and the limit", async () => {
    let running = 0;
    let most = 0;
    const results = await sideBySide([5, 1, 3, 2, 4], 2, async (item) => {
      most = Math.max(most, ++running);
      await new Promise((done) => setTimeout(done, item * 3));
      running--;
      return item * 10;
    });
    expect(results).toEqual([50, 10, 30, 20, 40]);
    expect(most).toBe(2);
  });

  it("stops at the first failure and tells the others", async () => {
    const started: number[] = [];
    const aborted: number[] = [];
    const work = sideBySide([0, 1, 2, 3], 2, async (item, signal) => {
      started.push(item);
      if (item === 1) throw new Error("first");
      await new Promise((done) => signal.addEventListener("abort", done));
      aborted.push(item);
    });
    await expect(work).rejects.toThrow("first");
    expect([started, aborted]).toEqual([[0, 1], [0]]);
  });
});
