import timesformer from "../../models/timesformer.ts";
import { compileGraph, type Compiled } from "../../compiler/compile.ts";
import type { Precision } from "../../ir/types.ts";
import type { Step } from "../../ir/program.ts";

export const attentionTypes = ["divided_space_time", "joint_space_time", "space_only"] as const;
export type AttentionType = (typeof attentionTypes)[number];

/** The most kernels that one block of each kind may take. */
export const kernelsOfBlock: { readonly [T in AttentionType]: number } = {
  divided_space_time: 8,
  joint_space_time: 5,
  space_only: 5,
};

type Config = { readonly attention_type: AttentionType; readonly [field: string]: unknown };

export const compileTimeSformer = (
  precision: Precision,
  options: { readonly preset?: string; readonly config: Config },
): Compiled => compileGraph(timesformer.trace(options), { precision, batch: { min: 1, max: 8 }, keep: false });

/** "blocks.3" of "model.blocks.3.attn.proj", or undefined outside of blocks. */
export const blockOf = ({ origin }: Step): string | undefined => /blocks\.\d+/.exec(origin.path)?.[0];
