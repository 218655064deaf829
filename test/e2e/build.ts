import { execa } from "execa";
import { root } from "./fovea.ts";

/** Builds dist/ as `npm ci` does: once before all tests, since test files that run it run side by side. */
export async function setup(): Promise<void> {
  await execa("npm", ["run", "build"], { cwd: root });
}
