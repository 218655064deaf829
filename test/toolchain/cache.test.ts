import { execFile } from "node:child_process";
import { mkdir, mkdtemp, readFile, readdir, rm, truncate, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { promisify } from "node:util";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { cacheEntry, cacheFolder, contentKey } from "../../compiler/toolchain/cache.ts";
import { packageRoot } from "../../compiler/packageRoot.ts";

const run = promisify(execFile);
let root: string;
beforeEach(async () => {
  root = await mkdtemp(join(tmpdir(), "fovea-cache-"));
});
afterEach(() => rm(root, { recursive: true, force: true }));

/** An entry of two files; counts how often it is built. */
function counted(content = "image"): {
  readonly build: (folder: string) => Promise<void>;
  readonly count: () => number;
} {
  let builds = 0;
  const build = async (folder: string): Promise<void> => {
    builds++;
    await writeFile(join(folder, "image"), content);
    await writeFile(join(folder, "remarks.json"), "{}");
  };
  return { build, count: () => builds };
}

/** What an interrupted build would leave. */
const leftovers = async (): Promise<readonly string[]> => {
  const all = await readdir(root, { recursive: true });
  return all.filter((name) => name.startsWith("building/") || name.endsWith(".lock"));
};

describe("cacheEntry", () => {
  it("builds once, then finds", async () => {
    const { build, count } = counted();
    const first = await cacheEntry(root, "images", "k", build);
    const second = await cacheEntry(root, "images", "k", build);
    expect([first.built, second.built, count()]).toEqual([true, false, 1]);
    expect(await readFile(join(second.folder, "image"), "utf8")).toBe("image");
    expect(await leftovers()).toEqual([]);
  });

  it.each([
    ["a changed byte", (folder: string) => writeFile(join(folder, "image"), "imagf")],
    ["a file cut short", (folder: string) => truncate(join(folder, "image"), 2)],
    ["a missing file", (folder: string) => rm(join(folder, "remarks.json"))],
    ["damaged checksums", (folder: string) => writeFile(join(folder, "checksums.json"), "{")],
    ["no checksums", (folder: string) => rm(join(folder, "checksums.json"))],
  ])("builds again after %s", async (_, damage) => {
    const { build, count } = counted();
    const { folder } = await cacheEntry(root, "images", "k", build);
    await damage(folder);
    expect((await cacheEntry(root, "images", "k", build)).built).toBe(true);
    expect(count()).toBe(2);
    expect(await readFile(join(folder, "image"), "utf8")).toBe("image");
    expect(await readdir(folder)).toHaveLength(3);
    expect(await leftovers()).toEqual([]);
  });

  it("leaves nothing of a build that fails, and passes its error on", async () => {
    const broken = async (folder: string): Promise<void> => {
      await writeFile(join(folder, "image"), "half");
      throw new Error("killed");
    };
    await expect(cacheEntry(root, "images", "k", broken)).rejects.toThrow("killed");
    expect(await readdir(join(root, "images"))).toEqual([]);
    expect(await leftovers()).toEqual([]);
    expect((await cacheEntry(root, "images", "k", counted().build)).built).toBe(true);
  });

  it("says what to do when the disk is full, and leaves nothing", async () => {
    const full = async (folder: string): Promise<void> => {
      await writeFile(join(folder, "image"), "half");
      // As fs reports it.
      throw Object.assign(new Error("ENOSPC: no space left on device, write"), { code: "ENOSPC", syscall: "write" });
    };
    await expect(cacheEntry(root, "images", "k", full)).rejects.toMatchObject({
      code: "cache-unusable",
      message: expect.stringContaining(`cannot write to the cache in ${root}: ENOSPC`),
      hint: expect.stringContaining("FOVEA_CACHE"),
    });
    expect(await readdir(join(root, "images"))).toEqual([]);
    expect(await leftovers()).toEqual([]);
  });

  it("says so when the folder cannot be made", async () => {
    await writeFile(join(root, "file"), "");
    const inFile = join(root, "file", "cache");
    await expect(cacheEntry(inFile, "images", "k", counted().build)).rejects.toMatchObject({ code: "cache-unusable" });
  });

  it("builds once for many who ask at once", async () => {
    const { build, count } = counted();
    const entries = await Promise.all(Array.from({ length: 8 }, () => cacheEntry(root, "images", "k", build)));
    expect(count()).toBe(1);
    expect(entries.filter(({ built }) => built)).toHaveLength(1);
  });

  it("builds once for two processes", async () => {
    const compiled = await compileCache();
    try {
      const script = `
        import { appendFile, writeFile } from "node:fs/promises";
        import { cacheEntry } from ${JSON.stringify(join(compiled, "compiler/toolchain/cache.js"))};
        await cacheEntry(${JSON.stringify(root)}, "images", "k", async (folder) => {
          await appendFile(${JSON.stringify(join(root, "builds"))}, "x");
          await new Promise((done) => setTimeout(done, 300));
          await writeFile(folder + "/image", "image");
        });`;
      const child = () => run(process.execPath, ["--input-type=module", "-e", script]);
      await Promise.all([child(), child()]);
    } finally {
      await rm(compiled, { recursive: true });
    }
    expect(await readFile(join(root, "builds"), "utf8")).toBe("x");
    expect(await readFile(join(root, "images", "k", "image"), "utf8")).toBe("image");
    expect(await leftovers()).toEqual([]);
  });

  it("takes over from a process that died while it held the lock", { timeout: 30_000 }, async () => {
    await mkdir(join(root, "images", "k.lock"), { recursive: true });
    const { utimes } = await import("node:fs/promises");
    await utimes(join(root, "images", "k.lock"), new Date(0), new Date(0));
    expect((await cacheEntry(root, "images", "k", counted().build)).built).toBe(true);
  });
});

/** Another process of Node needs JavaScript; it is put where packages are found. */
async function compileCache(): Promise<string> {
  await mkdir(join(packageRoot(), "node_modules", ".cache"), { recursive: true });
  const folder = await mkdtemp(join(packageRoot(), "node_modules", ".cache", "fovea-test-"));
  const options = ["--module", "nodenext", "--target", "es2023", "--rewriteRelativeImportExtensions", "--skipLibCheck"];
  await run(
    process.execPath,
    [
      join(packageRoot(), "node_modules", "typescript", "bin", "tsc"),
      ...options,
      "--types",
      "node",
      "--rootDir",
      packageRoot(),
      "--outDir",
      folder,
      "--ignoreConfig",
      join(packageRoot(), "compiler", "toolchain", "cache.ts"),
    ],
    { cwd: packageRoot() },
  );
  return folder;
}

describe("cacheFolder", () => {
  it("is FOVEA_CACHE, the nearest node_modules, or the user's cache", async () => {
    expect(cacheFolder({ FOVEA_CACHE: "/given" }, root)).toBe("/given");
    expect(cacheFolder({ XDG_CACHE_HOME: "/user" }, root)).toBe("/user/fovea");
    await mkdir(join(root, "node_modules"));
    await mkdir(join(root, "a", "b"), { recursive: true });
    expect(cacheFolder({}, join(root, "a", "b"))).toBe(join(root, "node_modules", ".cache", "fovea"));
  });
});

describe("contentKey", () => {
  it("tells apart inputs that only run together alike", () => {
    expect(contentKey("ab", "c")).not.toBe(contentKey("a", "bc"));
    expect(contentKey("ab", "c")).toBe(contentKey("ab", "c"));
  });
});
