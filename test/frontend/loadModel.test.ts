import { execFile } from "node:child_process";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { afterAll, beforeAll, expect, test } from "vitest";
import { loadModel } from "../../compiler/frontend/loadModel.ts";

/** The library as it is published: compiled, and run by Node alone. */
const root = fileURLToPath(new URL("../../", import.meta.url));
const built = join(root, "node_modules/.cache/fovea-built-for-tests");
const run = promisify(execFile);
const folder = mkdtempSync(join(tmpdir(), "fovea-models-"));

beforeAll(async () => {
  await run(join(root, "node_modules/.bin/tsc"), ["-p", "tsconfig.build.json", "--noCheck", "--outDir", built], {
    cwd: root,
  });
}, 120_000);
afterAll(() => rmSync(folder, { recursive: true, force: true }));

type Loaded = {
  readonly error?: string;
  readonly nodes: readonly string[];
  readonly outputs: readonly string[];
  /** Whether TypeScript's compiler was loaded. */
  readonly checked: boolean;
};
/** Loads models in a process of its own. */
async function loadAll(files: readonly string[]): Promise<readonly Loaded[]> {
  const script = `
    import { createRequire } from "node:module";
    const { loadModel } = await import(${JSON.stringify(join(built, "compiler/frontend/loadModel.js"))});
    const results = [];
    for (const file of ${JSON.stringify(files)}) {
      const result = { nodes: [], outputs: [] };
      try {
        const graph = (await loadModel(file)).trace();
        result.nodes = graph.nodes.map(({ op, span, path }) => [op, span.file, span.line + ":" + span.column, path].join(" "));
        result.outputs = graph.outputs.map(({ name }) => name);
      } catch (error) {
        result.error = error.toString();
      }
      const loaded = Object.keys(createRequire(${JSON.stringify(`${root}/package.json`)}).cache);
      result.checked = loaded.some((name) => name.includes("ts-morph"));
      results.push(result);
    }
    console.log(JSON.stringify(results));
  `;
  const { stdout } = await run(process.execPath, ["--input-type=module", "-e", script], { cwd: root });
  return JSON.parse(stdout) as readonly Loaded[];
}
async function load(file: string): Promise<Loaded> {
  const [loaded] = await loadAll([file]);
  if (loaded === undefined) throw new Error("nothing came back");
  return loaded;
}

const write = (name: string, text: string): string => {
  const file = join(folder, name);
  writeFileSync(file, text);
  return file;
};
const modelText = (body: string): string => `import { grid, type Grid, Linear, model, Module, pointwise } from "fovea";
import { bend } from "./bend.ts";
const config = { "~standard": { validate: (value: unknown) => ({ value }) } };
class Root extends Module {
  fc = new Linear(4);
  forward({ x }: { x: Grid<"n"> }) {
    return { y: ${body} };
  }
}
export default model({ name: "root", config, inputs: () => ({ x: grid({ n: 3 }, 8) }), module: () => new Root() });
`;

test("the built library loads a model that comes with it, and a second time without TypeScript's compiler", async () => {
  const first = await load(join(root, "models/timesformer.ts"));
  expect(first.error).toBeUndefined();
  expect(first.outputs).toEqual(["logits"]);
  const second = await load(join(root, "models/timesformer.ts"));
  expect(second.nodes).toEqual(first.nodes);
  expect(second.checked).toBe(false);
  expect(second.nodes.find((node) => node.startsWith("attend"))).toMatch(
    /^attend models\/timesformer.ts \d+:\d+ model.blocks.0.temporal_attn$/,
  );
});

test("the library loads models from its sources too, where the host compiles both", async () => {
  const model = await loadModel(join(root, "models/vtn.ts"));
  expect(Object.keys(model.entries)).toEqual(["VTN", "VTNTemporal", "Longformer"]);
  const graph = model.trace({ entry: "longformer", config: { tokens: 33 } });
  expect(graph.nodes.find(({ op }) => op === "attend")?.span.file).toBe("models/vtn.ts");
});

test("a model outside of any package loads, and again when a file that it imports has changed", async () => {
  write("bend.ts", "export const bend = (x: number) => x * 2;\n");
  const file = write("model.ts", modelText("pointwise(this.fc(x), (x) => bend(x))"));
  const fresh = await load(file);
  expect(fresh).toMatchObject({ outputs: ["y"], checked: true });
  expect(fresh.nodes.at(-1)).toMatch(/^pointwise .*model.ts 7:17 $/);
  expect(await load(file)).toMatchObject({ outputs: ["y"], checked: false });

  write("bend.ts", "export const bend = (x: number): string => `${x}`;\n");
  const { error, checked } = await load(file);
  expect(checked).toBe(true);
  expect(error).toMatch(
    /error typescript: TS2322: Type 'string' is not assignable to type 'number'.\n {2}\/.*model.ts:7:46/,
  );
});

test("what is wrong with a file is said in one sentence", async () => {
  write("bend.ts", "export const bend = (x: number) => x * 2;\n");
  const nothing = write("nothing.ts", "export const x = 1;\n");
  const throwing = write("throwing.ts", `${modelText("this.fc(x)")}\nthrow new Error("not today");\n`);
  const errors = (await loadAll([nothing, join(folder, "nothin.ts"), throwing])).map(({ error }) => error);
  expect(errors[0]).toMatch(/^error no-model: ".*nothing.ts" does not export a model\n {2}hint: export default model/);
  expect(errors[1]).toMatch(
    /^error model-not-found: there is no file ".*nothin.ts"\n {2}hint: did you mean "nothing.ts"\?/,
  );
  expect(errors[2]).toMatch(/^error model-failed: the model threw: not today\n {2}\/.*throwing.ts:12:7/);
});
