import { readdirSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { caseInputs, drawnCheckpoint, expectedArray, readCaseArrays } from "../../compiler/cli/golden/arrays.ts";
import { type GoldenCase, readCase } from "../../compiler/cli/golden/case.ts";
import { evaluateArrays } from "../../compiler/cli/evaluatorRunner.ts";
import { keepOnly, stepsApart } from "../../compiler/cli/keptValues.ts";
import { compare } from "../../compiler/cli/golden/compare.ts";
import { batchOf, graphInputs } from "../../compiler/cli/ports.ts";
import type { Model } from "../../compiler/dsl/index.ts";
import type { Graph } from "../../ir/graph.ts";
import { checkpointOf } from "../../runtime/checkpoint.ts";
import { tensorFileOf } from "../../runtime/openTensors.ts";
import { openSafetensors } from "../../runtime/safetensors.ts";

/** The folders below test/golden/SYSTEM. */
export function goldenCases(system: string): readonly string[] {
  const folder = fileURLToPath(new URL(`../golden/${system}`, import.meta.url));
  return readdirSync(folder).map((name) => `${folder}/${name}`);
}

/** What the network of a case computes in float64, against what the published code computed: what differs, by name. */
export function differences(model: Model, golden: GoldenCase): readonly string[] {
  const graph = keepOnly(model.trace(model.fromCase(golden)), Object.keys(golden.intermediates));
  const stored = readCaseArrays(golden);
  const inputs = caseInputs(golden, stored);
  const parameters = parametersOf(graph);
  const { weights } = golden;
  using file = typeof weights === "string" ? tensorFileOf(openSafetensors(join(golden.folder, weights))) : null;
  const checkpoint = file === null ? drawnCheckpoint(golden, parameters) : checkpointOf(file);
  const batch = batchOf(graphInputs(graph), inputs);
  const computed = stepsApart(
    graph,
    evaluateArrays(
      graph,
      batch,
      inputs,
      Object.fromEntries(parameters.map(({ name }) => [name, checkpoint.tensors.get(name)?.values() ?? []])),
    ).arrays,
  );
  return Object.entries({ ...golden.intermediates, ...golden.outputs }).flatMap(([name, { shape }]) => {
    const { ok, note, relL2 } = compare(name, shape, computed.get(name), expectedArray(golden, stored, name), {
      relL2: 1e-5,
      maxAbs: Infinity,
    });
    return ok ? [] : [`${name}: ${relL2} ${note}`];
  });
}

export { readCase };

/** The tensors that a graph reads, each once. */
export function parametersOf(graph: Graph): readonly { readonly name: string; readonly shape: readonly number[] }[] {
  const parameters = new Map(
    graph.nodes.flatMap((node) => (node.op === "parameter" ? [[node.attrs.name, node.attrs] as const] : [])),
  );
  return [...parameters.values()];
}
