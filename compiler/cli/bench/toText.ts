import { compileGraph } from "../../compile.ts";
import { loadModel } from "../../frontend/loadModel.ts";

// One process from its start to the CUDA text of a model, as a build begins: prints when it was where, in milliseconds.
const [file = ""] = process.argv.slice(2);
const model = await loadModel(file);
const loaded = performance.now();
const graph = model.trace({ preset: "base" });
const traced = performance.now();
const { sources } = compileGraph(graph, { precision: "bf16", batch: { min: 1, max: 32 }, keep: false });
const compiled = performance.now();
process.stdout.write(JSON.stringify({ loaded, traced, compiled, kernels: sources.size }));
