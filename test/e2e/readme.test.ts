import { mkdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { afterAll, expect, test } from "vitest";
import { loadModel } from "../../compiler/frontend/loadModel.ts";
import { deviceErrors } from "../support/agreement.ts";
import { root } from "./fovea.ts";

// README's attention pattern, word for word, between the projections of a model.

const readme = readFileSync(join(root, "README.md"), "utf8");
const [, comment = "", call = ""] =
  /### A new attention pattern is a line\n.*?^```ts\n(\/\*\*.*?\*\/)\n(attend\(.*?\);)\n```$/ms.exec(readme) ?? [];

const source = `
import { attend, type Grid, grid, Linear, model, Module, same, union, where } from "fovea";
import { z } from "zod";

const radius = 2;

class Attention extends Module<object> {
  qkv = new Linear(3 * 48);

  forward({ x }: { x: Grid<"t" | "h" | "w"> }) {
    const [q, k, v] = this.qkv(x).split(3);
    ${comment}
    const y = ${call}
    return { y };
  }
}

export default model({
  name: "readme",
  config: z.strictObject({}),
  inputs: () => ({ x: grid({ t: 3, h: 9, w: 7 }, 48) }),
  module: () => new Attention({}),
});
`;

const folder = join(root, "dist", `readme-${process.pid}`);
afterAll(() => rmSync(folder, { recursive: true, force: true }));

test("README's pattern runs as printed", async () => {
  expect(call.split("\n").length).toBeGreaterThan(5);
  mkdirSync(folder, { recursive: true });
  const file = join(folder, "model.ts");
  writeFileSync(file, source);
  const graph = (await loadModel(file)).trace();
  for (const [precision, most] of [
    ["f32", 1e-6],
    ["bf16", 1e-2],
  ] as const) {
    const errors = await deviceErrors(graph, { precision, keep: false, batch: 2 });
    expect(errors.get("y"), precision).toBeLessThan(most);
  }
});
