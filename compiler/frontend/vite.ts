import { dirname, join, resolve } from "node:path";
import { fileURLToPath } from "node:url";
import { ts } from "ts-morph";
import { CompileError, type Diagnostic } from "../diagnostics.ts";
import { readable } from "../dsl/place.ts";
import { markLambdas } from "./markLambdas.ts";

/** The part of a Vite plugin that this is. */
export type VitePlugin = {
  readonly name: string;
  readonly enforce: "pre";
  readonly transform: (code: string, id: string) => { readonly code: string; readonly map: object } | undefined;
};

/**
 * For vitest and Vite: marks lambdas file by file, without checking types, so that models may stand inside a test.
 * Reads the files that import "fovea" and those that they import by path; all others are left alone.
 */
export function fovea(): VitePlugin {
  const helpers = new Set<string>();
  return {
    name: "fovea",
    enforce: "pre",
    transform(code, id) {
      const file = id.split("?")[0] ?? id;
      if (!file.endsWith(".ts") || file.includes("/node_modules/") || isLibrary(file)) return undefined;
      if (!/from\s*["']fovea["']/.test(code) && !helpers.has(file)) return undefined;
      for (const [, path] of code.matchAll(/from\s*["'](\.[^"']*)["']/g))
        helpers.add(resolve(dirname(file), path ?? ""));
      return markText(code, file);
    },
  };
}

const libraryFolder = fileURLToPath(new URL("../../", import.meta.url));
/** fovea's own files hold no lambdas, though tests import them. */
const isLibrary = (file: string): boolean =>
  ["compiler/", "ir/", "runtime/"].some((folder) => file.startsWith(join(libraryFolder, folder)));

function markText(code: string, file: string): { readonly code: string; readonly map: object } {
  const problems: Diagnostic[] = [];
  const mark = markLambdas({
    file: readable(file),
    report: (problem) => problems.push(problem),
    resolve: () => undefined,
  });
  const { outputText, sourceMapText } = ts.transpileModule(code, {
    fileName: file,
    transformers: { before: [mark] },
    compilerOptions: {
      target: ts.ScriptTarget.ESNext,
      module: ts.ModuleKind.ESNext,
      useDefineForClassFields: true,
      verbatimModuleSyntax: true,
      sourceMap: true,
    },
  });
  // As text: the host prints what it is thrown, and knows nothing of diagnostics.
  if (problems.length > 0) throw new Error(new CompileError(problems).toString());
  const map = { ...(JSON.parse(sourceMapText ?? "{}") as object), sources: [file] };
  return { code: outputText.replace(/\n\/\/# sourceMappingURL=.*$/, ""), map };
}
