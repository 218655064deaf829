import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { readCase } from "../../compiler/cli/golden/case.ts";
import { compileGraph } from "../../compiler/compile.ts";
import type { Model } from "../../compiler/dsl/index.ts";
import { manifestOf, programsOf } from "../../ir/manifest.ts";
import type { Program } from "../../ir/program.ts";
import { exactJson } from "../../ir/programText.ts";
import axialDeeplab from "../../models/axialDeeplab.ts";
import dac from "../../models/deepAmortizedClustering.ts";
import deformable from "../../models/deformable.ts";
import nonLocal from "../../models/nonLocal.ts";
import setTransformer from "../../models/setTransformer.ts";
import timesformer from "../../models/timesformer.ts";
import videoSwin from "../../models/videoSwin.ts";
import vtn from "../../models/vtn.ts";
import { manifestSchema } from "../../runtime/manifestSchema.ts";
import { root } from "../e2e/fovea.ts";

// What a build knows of a program and its manifest does not say would run otherwise, or not at all, once it is read again.

const cases: readonly (readonly [name: string, model: Model])[] = [
  ["axial-deeplab/axial-block-tiny", axialDeeplab],
  ["axial-deeplab/panoptic-group-topk", axialDeeplab],
  ["dac/cluster-loop-tiny", dac],
  ["deformable/dvt-tiny", deformable],
  ["deformable/dat-attention-pp-tiny", deformable],
  ["deformable/msda-module-tiny", deformable],
  ["non-local/nl-official-softmax-3d", nonLocal],
  ["set-transformer/masked-sets", setTransformer],
  ["timesformer/divided-tiny", timesformer],
  ["video-swin/tiny-pad", videoSwin],
  ["vtn/longformer-tiny", vtn],
];
const read = (text: string): readonly Program[] => programsOf(manifestSchema.parse(JSON.parse(text)));

describe("a manifest says all that there is to a program", () => {
  it.each(cases)("of %s", (name, model) => {
    const graph = model.trace(model.fromCase(readCase(join(root, "test/golden", name))));
    for (const precision of ["bf16", "f32"] as const) {
      const { program } = compileGraph(graph, { precision, batch: { min: 1, max: 4 }, keep: false });
      expect(read(exactJson(manifestOf([program])))).toEqual([program]);
    }
  });

  it("and what it says beyond that is refused", () => {
    const graph = timesformer.trace(timesformer.fromCase(readCase(join(root, "test/golden/timesformer/divided-tiny"))));
    const { program } = compileGraph(graph, { precision: "f32", batch: { min: 1, max: 4 }, keep: false });
    const text = exactJson(manifestOf([program]));
    expect(() => read(text.replace('"perExample":', '"stride":2,"perExample":'))).toThrow(/Unrecognized key: .*stride/);
  });
});
