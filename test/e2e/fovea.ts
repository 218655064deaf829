import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { execa } from "execa";

export const root: string = fileURLToPath(new URL("../..", import.meta.url));
const entry = join(root, "dist/compiler/cli/main.js");

export type Answer = { readonly status: number | undefined; readonly out: string; readonly err: string };

/** Runs `fovea` as a newcomer would, in a process of its own. */
export const fovea = (args: readonly string[]): Promise<Answer> => runNode(entry, args);

/** Runs a program in an environment that asks for colours, as CI services do: a pipe gets none. */
export async function runNode(program: string, args: readonly string[] = []): Promise<Answer> {
  const { exitCode, stdout, stderr } = await execa("node", [program, ...args], {
    cwd: root,
    env: { CI: "true", FORCE_COLOR: "1" },
    reject: false,
  });
  return { status: exitCode, out: stdout, err: stderr };
}
