import { readFileSync } from "node:fs";
import { join } from "node:path";
import nunjucks from "nunjucks";
import { InternalError } from "../diagnostics.ts";
import { packageRoot } from "../packageRoot.ts";

/**
 * Renders `templates/NAME` with a view, which the template sees as `kernel`. Reading a field that the view lacks is an
 * error, also in conditions and loops, which nunjucks alone would take for false and empty.
 */
export function renderTemplate(name: string, view: object): string {
  try {
    return environment().render(name, { kernel: strict(view, "kernel") });
  } catch (error) {
    if (error instanceof InternalError) throw error;
    throw new InternalError(templateMessage(name, error), { cause: error });
  }
}

let shared: nunjucks.Environment | undefined;

function environment(): nunjucks.Environment {
  if (shared === undefined) {
    const loader = new nunjucks.FileSystemLoader(templateFolder());
    shared = new nunjucks.Environment(loader, {
      autoescape: false,
      throwOnUndefined: true,
      trimBlocks: true,
      lstripBlocks: true,
    });
    shared.addFilter("block", block);
  }
  return shared;
}

export const templateFolder = (): string => join(packageRoot(), "templates");

/** A text of several lines at `indent` columns: trimmed, every line but the first indented, blank lines left empty. */
function block(text: unknown, indent: number): string {
  return String(text)
    .trim()
    .split("\n")
    .map((line, index) => (line.trim() === "" ? "" : index === 0 ? line : " ".repeat(indent) + line))
    .join("\n");
}

/** The view, throwing where a field that it lacks is read. */
function strict<T extends object>(view: T, path: string): T {
  return new Proxy(view, {
    get(target, key) {
      const value: unknown = Reflect.get(target, key);
      if (typeof key === "symbol") return value;
      // Arrays keep their methods (join, map): filters of nunjucks use them.
      if (value === undefined || (!Array.isArray(target) && !Object.hasOwn(target, key)))
        throw new Error(`${unknownField}${path}.${key}`);
      return typeof value === "object" && value !== null ? strict(value, `${path}.${key}`) : value;
    },
  });
}

const unknownField = "unknown field ";

/** nunjucks reports errors against the entry template and drops their class; the places are looked up here. */
function templateMessage(name: string, error: unknown): string {
  const message = error instanceof Error ? error.message : String(error);
  const path = new RegExp(`${unknownField}(kernel\\.[\\w.]+)`).exec(message)?.[1];
  if (path === undefined) return `templates/${name}: ${message.replaceAll(templateFolder(), "templates")}`;
  const field = path.slice(path.lastIndexOf(".") + 1);
  const places = templatesOf(name).flatMap((each) => readPlaces(each, field));
  return `template reads the field ${path}, which its view lacks, at ${places.join(" or ")}`;
}

function readPlaces(template: string, field: string): readonly string[] {
  const read = new RegExp(`\\.${field}\\b`);
  return templateText(template)
    .split("\n")
    .flatMap((line, index) => (read.test(line) ? [`templates/${template}:${index + 1}`] : []));
}

/** A template and those it imports or includes. */
function templatesOf(name: string, seen: Set<string> = new Set()): readonly string[] {
  if (seen.has(name)) return [];
  seen.add(name);
  const uses = templateText(name).matchAll(/{%-?\s*(?:import|from|include)\s+"([^"]+)"/g);
  return [name, ...[...uses].flatMap(([, used]) => (used === undefined ? [] : templatesOf(used, seen)))];
}

const templateText = (name: string): string => readFileSync(join(templateFolder(), name), "utf8");
