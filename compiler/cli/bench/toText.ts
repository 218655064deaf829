import { loadModel } from "../../frontend/loadModel.ts";
import { knownProgram } from "../../knownProgram.ts";

// One process from its start to the CUDA text of a model: prints when it was where, in milliseconds.
const [file = "", cache = ""] = process.argv.slice(2);
const model = await loadModel(file);
const loaded = performance.now();
const graph = model.trace({ preset: "base" });
const traced = performance.now();
const options = { precision: "bf16", batch: { min: 1, max: 32 }, keep: false } as const;
const { sources } = await knownProgram(graph, options, { cache });
const compiled = performance.now();
process.stdout.write(JSON.stringify({ loaded, traced, compiled, kernels: sources.size }));
