import { createRequire } from "node:module";
import { dirname } from "node:path";
import { buildSync } from "esbuild";

/**
 * zod, whose schemas models are configured by, as one file: Node takes longer to find and read its hundred than a known
 * model to trace.
 */
export const packageInOneFile = "zod";

/** The package.json of the zod that `file` imports; undefined where it imports none, or none is installed. */
export function packageManifest(file: string): string | undefined {
  try {
    return createRequire(file).resolve(`${packageInOneFile}/package.json`);
  } catch {
    return undefined;
  }
}

/** The text of a module that exports what zod does. */
export function bundledPackage(file: string): string {
  const contents = `export * from "${packageInOneFile}"; export { default } from "${packageInOneFile}";`;
  const { outputFiles } = buildSync({
    stdin: { contents, resolveDir: dirname(file) },
    bundle: true,
    write: false,
    format: "esm",
    platform: "node",
    minifyWhitespace: true,
    minifySyntax: true,
    legalComments: "inline",
  });
  return outputFiles[0]?.text ?? "";
}
