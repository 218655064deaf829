import { existsSync } from "node:fs";
import { findSourceMap, type SourceMap } from "node:module";
import { dirname, join, relative, resolve, sep } from "node:path";
import { fileURLToPath } from "node:url";
import type { Span } from "../../ir/graph.ts";
import type { CodePlace } from "../codeFrame.ts";

/** Deep enough for a layer within a layer within a model, and no deeper: each frame costs time. */
const stackDepth = 24;
/** What Node calls its `Error.prepareStackTrace`, by version. */
const nodesOwn = new Set(["ErrorPrepareStackTrace", "prepareStackTraceCallback"]);
const library = fileURLToPath(new URL(".", import.meta.url));

/** Where the author's code is now: the nearest caller that is not this folder. Null where there is none. */
export function authorPlace(): CodePlace | null {
  const { prepareStackTrace, stackTraceLimit } = Error;
  const holder: { stack?: unknown } = {};
  Error.stackTraceLimit = stackDepth;
  try {
    // A host that has set its own (a test runner) maps places itself, in text. Node's maps every frame, which is slow.
    if (prepareStackTrace !== undefined && !nodesOwn.has(prepareStackTrace.name)) {
      Error.captureStackTrace(holder, authorPlace);
      return placeInText(String(holder.stack));
    }
    Error.prepareStackTrace = (_error, sites) => sites;
    Error.captureStackTrace(holder, authorPlace);
    return placeInSites(holder.stack as readonly NodeJS.CallSite[]);
  } finally {
    Object.assign(Error, { prepareStackTrace, stackTraceLimit });
  }
}

/** Where the author's code threw, as far as the error's own stack tells. */
export const placeOfError = (error: Error): CodePlace | null => placeInText(error.stack ?? "");

function placeInSites(sites: readonly NodeJS.CallSite[]): CodePlace | null {
  for (const site of sites) {
    const file = site.getFileName();
    if (file === null || file === undefined || !isAuthors(file)) continue;
    return originalPlace(file, site.getLineNumber() ?? 1, site.getColumnNumber() ?? 1);
  }
  return null;
}

function placeInText(stack: string): CodePlace | null {
  for (const frame of stack.split("\n")) {
    const match = /\(?((?:file:\/\/)?\/[^()]*):(\d+):(\d+)\)?$/.exec(frame);
    const file = match?.[1];
    if (file === undefined || !isAuthors(file)) continue;
    return { file: readable(pathOf(file)), line: Number(match?.[2]), column: Number(match?.[3]) };
  }
  return null;
}

const originalPlaces = new Map<string, CodePlace>();
const sourceMaps = new Map<string, SourceMap | undefined>();

/** From the emitted file to the author's; needs source maps enabled before the emitted file was imported. */
function originalPlace(file: string, line: number, column: number): CodePlace {
  const key = `${file}:${line}:${column}`;
  const place = originalPlaces.get(key) ?? findOriginalPlace(file, line, column);
  originalPlaces.set(key, place);
  return place;
}

function findOriginalPlace(file: string, line: number, column: number): CodePlace {
  if (!sourceMaps.has(file)) sourceMaps.set(file, findSourceMap(file));
  const entry = sourceMaps.get(file)?.findEntry(line - 1, column - 1);
  return entry !== undefined && "originalSource" in entry
    ? { file: readable(pathOf(entry.originalSource)), line: entry.originalLine + 1, column: entry.originalColumn + 1 }
    : { file: readable(pathOf(file)), line, column };
}

const pathOf = (file: string): string => (file.startsWith("file:") ? fileURLToPath(file) : file);
const authors = new Map<string, boolean>();
/** Whether a file, given by path or URL, is neither this library's nor Node's. */
function isAuthors(file: string): boolean {
  let known = authors.get(file);
  if (known === undefined) {
    const path = file.startsWith("node:") ? "" : pathOf(file);
    authors.set(file, (known = path.startsWith(sep) && !path.startsWith(library)));
  }
  return known;
}

const readableNames = new Map<string, string>();
/** As people write it: relative where the file lies below the working directory. */
export function readable(file: string): string {
  let name = readableNames.get(file);
  if (name === undefined) {
    const short = relative(process.cwd(), file);
    readableNames.set(file, (name = short.startsWith("..") ? file : short));
  }
  return name;
}

const packageFolders = new Map<string, string | null>();
const portableNames = new Map<string, string>();

/**
 * The place as the graph keeps it: relative to the author's package, or to the file's own folder where that is in none,
 * so that equal models give equal graphs on every machine.
 */
export function spanOf(place: CodePlace | null): Span {
  if (place === null) return { file: "", line: 1, column: 1 };
  let file = portableNames.get(place.file);
  if (file === undefined) {
    const path = resolve(place.file);
    const folder = dirname(path);
    portableNames.set(place.file, (file = relative(packageFolder(folder) ?? folder, path)));
  }
  return { file, line: place.line, column: place.column };
}

/** The nearest folder above that is a package; null where there is none. */
function packageFolder(folder: string): string | null {
  let found = packageFolders.get(folder);
  if (found === undefined) {
    const parent = dirname(folder);
    if (existsSync(join(folder, "package.json"))) found = folder;
    else found = parent === folder ? null : packageFolder(parent);
    packageFolders.set(folder, found);
  }
  return found;
}
