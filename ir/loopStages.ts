import type { Node, ValueId } from "./graph.ts";

/** When a value is computed: once before the loop, at every step, or once when the loop has ended. */
export type LoopStage = (typeof stageOrder)[number];
export const stageOrder: readonly ["before", "step", "after"] = ["before", "step", "after"];

/** The stage of every value: "before" for all of them where there is no loop. */
export const loopStages = (nodes: readonly Node[]): ReadonlyMap<ValueId, LoopStage> => {
  const stages = new Map<ValueId, LoopStage>();
  for (const node of nodes) {
    const read = node.inputs.map((input) => stages.get(input));
    const stage = node.op === "state" ? "step" : node.op === "loop" || node.op === "after" ? "after" : latest(read);
    stages.set(node.id, stage);
  }
  return stages;
};

const latest = (stages: readonly (LoopStage | undefined)[]): LoopStage =>
  stages.includes("after") ? "after" : stages.includes("step") ? "step" : "before";
