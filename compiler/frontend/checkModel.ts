import { dirname, join, relative } from "node:path";
import { fileURLToPath, pathToFileURL } from "node:url";
import { Project, ts } from "ts-morph";
import { CompileError, type Diagnostic, diagnostic } from "../diagnostics.ts";
import { readable } from "../dsl/place.ts";
import { markLambdas } from "./markLambdas.ts";
import { emittedFolder, type EmittedFile } from "./modelCache.ts";
import { bundledPackage, packageInOneFile, packageManifest } from "./oneFile.ts";

export type CheckedModel = {
  /** The emitted module of the model file itself. */
  readonly entry: string;
  /** What the result depends on: the author's files and tsconfig. */
  readonly inputs: readonly string[];
  readonly emitted: readonly EmittedFile[];
};

/** Whichever runs: the built library or its sources. */
const fromSources = import.meta.url.endsWith(".ts");
const library = fromSources ? new URL("../dsl/index.ts", import.meta.url) : new URL("../dsl/index.js", import.meta.url);
const libraryTypes = fileURLToPath(library).replace(/\.js$/, ".d.ts");
const libraryFolder = fileURLToPath(new URL("../../", import.meta.url));

/**
 * Checks a model file and the files that it imports: TypeScript's own errors first, then what in a lambda cannot become
 * part of a kernel. Emits them with the lambdas marked. Throws a CompileError with all of one kind.
 */
export function checkModel(file: string): CheckedModel {
  const tsconfig = ts.findConfigFile(dirname(file), ts.sys.fileExists);
  // Without the ambient types of the author's tsconfig first: they cost half a second, and only a file with errors may need them.
  const project = openProject(file, tsconfig, { types: [] });
  const program = project.getProgram().compilerObject;
  const own = ownFiles(program);
  const isWrong = own.some(
    (each) => program.getSyntacticDiagnostics(each).length + program.getSemanticDiagnostics(each).length > 0,
  );
  if (isWrong) reportTypes(openProject(file, tsconfig, {}).getProgram().compilerObject);

  const manifest = !fromSources && own.some(importsPackage) ? packageManifest(file) : undefined;
  const inputs = [...own.map(({ fileName }) => fileName), tsconfig, manifest].filter((each) => each !== undefined);
  const root = emittedFolder(file, inputs);
  const bundle = join(root, `${packageInOneFile}.mjs`);
  const emitted: EmittedFile[] = [];
  const problems: Diagnostic[] = [];
  for (const source of own) {
    const mark = markLambdas({
      file: readable(source.fileName),
      url: pathToFileURL(source.fileName).href,
      report: (problem) => problems.push(problem),
      resolve: (specifier) =>
        manifest !== undefined && specifier === packageInOneFile
          ? pathToFileURL(bundle).href
          : resolveImport(specifier, source.fileName, program.getCompilerOptions()),
    });
    program.emit(source, (path, text) => emitted.push(placed(root, path, text, source.fileName)), undefined, false, {
      before: [mark],
    });
  }
  if (problems.length > 0) throw new CompileError(problems);
  if (manifest !== undefined) emitted.push({ path: bundle, text: bundledPackage(file) });
  return { entry: join(root, file.replace(/\.([cm]?)tsx?$/, ".$1js")), inputs, emitted };
}

function openProject(file: string, tsconfig: string | undefined, options: { readonly types?: string[] }): Project {
  const project = new Project({
    ...(tsconfig === undefined ? {} : { tsConfigFilePath: tsconfig }),
    skipAddingFilesFromTsConfig: true,
    compilerOptions: {
      ...options,
      // The language of models is the language of the runtime; what is emitted is read by nobody but Node.
      target: ts.ScriptTarget.ES2023,
      module: ts.ModuleKind.ESNext,
      moduleResolution: ts.ModuleResolutionKind.Bundler,
      rewriteRelativeImportExtensions: true,
      useDefineForClassFields: true,
      skipLibCheck: true,
      noEmit: false,
      declaration: false,
      isolatedDeclarations: false,
      composite: false,
      incremental: false,
      emitDeclarationOnly: false,
      removeComments: true,
      sourceMap: true,
      inlineSourceMap: false,
      inlineSources: false,
      outDir: "/emitted",
      rootDir: "/",
    },
  });
  project.compilerOptions.set({ paths: { ...project.compilerOptions.get().paths, fovea: [libraryTypes] } });
  project.addSourceFileAtPath(file);
  project.resolveSourceFileDependencies();
  return project;
}

/** The model file and the author's files that it imports. */
const ownFiles = (program: ts.Program): readonly ts.SourceFile[] =>
  program
    .getSourceFiles()
    .filter(
      (each) => !each.isDeclarationFile && !each.fileName.includes("/node_modules/") && !isLibrary(each.fileName),
    );
const isLibrary = (file: string): boolean =>
  ["compiler/", "ir/"].some((folder) => file.startsWith(join(libraryFolder, folder)));

const importsPackage = (source: ts.SourceFile): boolean =>
  source.statements.some(
    (each) =>
      ts.isImportDeclaration(each) &&
      ts.isStringLiteral(each.moduleSpecifier) &&
      each.moduleSpecifier.text === packageInOneFile,
  );

function reportTypes(program: ts.Program): void {
  const found = ts.getPreEmitDiagnostics(program).filter(({ file }) => file === undefined || !isLibrary(file.fileName));
  if (found.length > 0) throw new CompileError(found.map(asDiagnostic));
}

function asDiagnostic({ code, messageText, file, start = 0, length = 1 }: ts.Diagnostic): Diagnostic {
  const message = `TS${code}: ${ts.flattenDiagnosticMessageText(messageText, "\n")}`;
  if (file === undefined) return diagnostic("typescript", { message }, { span: null });
  const { line, character } = file.getLineAndCharacterOfPosition(start);
  return diagnostic(
    "typescript",
    { message },
    { span: { file: readable(file.fileName), line: line + 1, column: character + 1, length } },
  );
}

/** "fovea" is the compiler that runs, whatever is installed; the author's own files go by path; packages stay as they are. */
function resolveImport(specifier: string, from: string, options: ts.CompilerOptions): string | undefined {
  if (specifier === "fovea") return library.href;
  const { resolvedModule } = ts.resolveModuleName(specifier, from, options, ts.sys);
  if (
    resolvedModule === undefined ||
    resolvedModule.isExternalLibraryImport === true ||
    resolvedModule.resolvedFileName.endsWith(".d.ts")
  )
    return undefined;
  const path = relative(dirname(from), resolvedModule.resolvedFileName).replace(/\.([cm]?)tsx?$/, ".$1js");
  return path.startsWith(".") ? path : `./${path}`;
}

/** In the cache, with source maps that point at the author's file. */
function placed(root: string, path: string, text: string, source: string): EmittedFile {
  const map = path.endsWith(".map")
    ? JSON.stringify({ ...(JSON.parse(text) as object), sources: [pathToFileURL(source).href], sourceRoot: "" })
    : text;
  return { path: join(root, relative("/emitted", path)), text: map };
}
