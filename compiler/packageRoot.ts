import { existsSync, readFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";

let root: string | undefined;

/** The folder of fovea's package.json: the same for the sources and for `dist/`. Templates and device headers lie below it. */
export function packageRoot(): string {
  if (root === undefined) {
    let folder = dirname(fileURLToPath(import.meta.url));
    while (!existsSync(join(folder, "package.json"))) {
      const parent = dirname(folder);
      if (parent === folder) throw new Error("fovea is not installed as a package: no package.json above its code");
      folder = parent;
    }
    root = folder;
  }
  return root;
}

let version: string | undefined;

/** fovea's version, from its package.json. */
export function packageVersion(): string {
  if (version === undefined) {
    const manifest: unknown = JSON.parse(readFileSync(join(packageRoot(), "package.json"), "utf8"));
    version =
      typeof manifest === "object" && manifest !== null && "version" in manifest ? String(manifest.version) : "0";
  }
  return version;
}
