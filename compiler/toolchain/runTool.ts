import { execa } from "execa";

/** What a command did; it is never thrown for its exit code. `code` is null where it could not be started or was killed. */
export type ToolRun = { readonly code: number | null; readonly output: string; readonly problem: string };

/** Runs a command and waits for it. Standard output and error come back as one text. */
export async function runTool(
  command: string,
  args: readonly string[],
  options: { readonly folder?: string; readonly environment?: NodeJS.ProcessEnv; readonly signal?: AbortSignal } = {},
): Promise<ToolRun> {
  const result = await execa(command, args, {
    reject: false,
    all: true,
    stdin: "ignore",
    // Messages are parsed: they are wanted in English.
    env: { ...options.environment, LC_ALL: "C" },
    ...(options.folder === undefined ? {} : { cwd: options.folder }),
    ...(options.signal === undefined ? {} : { cancelSignal: options.signal }),
  });
  const problem =
    result.exitCode === undefined
      ? result.failed
        ? (result.shortMessage ?? "did not start")
        : "did not end by itself"
      : "";
  return { code: result.exitCode ?? null, output: result.all ?? "", problem };
}
