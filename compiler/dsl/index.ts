/** The language of models: what a model file imports from "fovea". */
export type { At, Axis, Sizes } from "./axes.ts";
export { attend, type AttendOptions, type RelativePositions, type Score, score } from "./attend.ts";
export type { Schema } from "./config.ts";
export { constant, deformable, type DeformableOptions } from "./deformable.ts";
export { type AnyGrid, concat, type Grid } from "./grid.ts";
export { full, loop, type Loop, type LoopOptions, type LoopStep, round } from "./loop.ts";
export { modulo as mod } from "./lambda.ts";
export { withSource } from "./lambdaSource.ts";
export {
  BatchNorm,
  Conv,
  Embedding,
  type ConvOptions,
  GroupNorm,
  LayerNorm,
  Linear,
  maxPool,
  meanPool,
  Mlp,
  type PoolOptions,
  Sequential,
} from "./layers.ts";
export { entry, type Entry, type Model, model, type PublishedCase, system, type TraceOptions } from "./model.ts";
export { Layer, Module, repeat } from "./module.ts";
export { type Parameter, parameter, unused } from "./parameter.ts";
export { attentionWeights, linear, perExample } from "./weights.ts";
export { all, along, causal, every, intersect, near, Pattern, prefix, same, union, where, window } from "./patterns.ts";
export {
  abs,
  combine,
  type ElementAt,
  elu,
  exp,
  gelu,
  geluTanh,
  leakyRelu,
  pointwise,
  reciprocal,
  relu,
  sigmoid,
  silu,
  softplus,
  sqrt,
  tanh,
} from "./pointwise.ts";
export { grid, type Input, type InputOptions, keep, output, type Output } from "./ports.ts";
