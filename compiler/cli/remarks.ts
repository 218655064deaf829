import type { Compiled } from "../compile.ts";
import { blindNote } from "../schedule/attention/notes.ts";
import { readablePath } from "./figures.ts";
import type { Paint } from "./terminal.ts";

/** What is allowed and seldom meant, once for each place that the author wrote; nothing where there is none. */
export function printRemarks(compiled: readonly Pick<Compiled, "program" | "computations">[], paint: Paint): string {
  const remarks = new Map<string, Set<string>>();
  for (const { program, computations } of compiled)
    for (const { kernel: name, origin } of program.steps) {
      const kernel = computations.get(name);
      if (kernel?.kind !== "attention" || kernel.blindQueries === 0) continue;
      const remark = `${readablePath(origin.file)}:${origin.line}  ${paint.yellow("note")}: ${blindNote(kernel)}`;
      remarks.set(remark, (remarks.get(remark) ?? new Set()).add(origin.path));
    }
  return [...remarks]
    .map(([remark, paths]) => {
      const [first = "", ...more] = paths;
      const where = more.length > 0 ? `${first} and ${more.length} more` : first;
      return where === "" ? remark : `${remark}\n    ${paint.dim(where)}`;
    })
    .join("\n");
}
