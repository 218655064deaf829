import { existsSync } from "node:fs";
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
