import type { ParameterSlot, Program } from "../ir/program.ts";
import type { Checkpoint, CheckpointTensor } from "./checkpoint.ts";
import { publishedGrid } from "./publishedGrid.ts";
import { resizeTable } from "./resizeWeights.ts";
import * as values from "./values.ts";

export type InflateOptions = {
  /** Names of the image network by their first parts, and what the program calls them: { head: "cls_head.fc_cls" }. */
  readonly rename?: { readonly [from: string]: string };
};

/**
 * Weights of a network of clips from those of its image network, as published (arXiv 2106.13230, section 3.3): kernels
 * that have no time are copied along it and divided by its length; tables of relative biases, resized where they have to
 * be, are repeated for every distance in time. A parameter `backbone.NAME` is found under `NAME` too. The result has what
 * the program knows and nothing else: a classifier for other classes is not among it, and loading names it.
 */
export const inflateWeights = (
  program: Pick<Program, "parameters">,
  images: Checkpoint,
  { rename = {} }: InflateOptions = {},
): Checkpoint => {
  const found = new Map([...images.tensors].map(([name, tensor]) => [renamed(name, rename), tensor]));
  const tensors = program.parameters.flatMap((slot) => {
    const tensor = found.get(slot.name) ?? found.get(slot.name.slice(slot.name.indexOf(".") + 1));
    return tensor === undefined ? [] : [[slot.name, inflatedTensor(slot, tensor)] as const];
  });
  return { source: images.source, tensors: new Map(tensors) };
};

const renamed = (name: string, rename: { readonly [from: string]: string }): string => {
  const [from, to] = Object.entries(rename).find(([part]) => name === part || name.startsWith(`${part}.`)) ?? ["", ""];
  return from === "" ? name : to + name.slice(from.length);
};

/** The same tensor where it needs no time. */
const inflatedTensor = (slot: ParameterSlot, tensor: CheckpointTensor): CheckpointTensor => {
  const { shape, resizing } = slot;
  const [out, channels, times = 1, ...image] = shape;
  if (shape.length === 5 && tensor.shape.join() === [out, channels, ...image].join())
    return { shape, values: () => repeatedKernel(tensor.values(), values.countOf(image), times) };
  if (resizing === null || resizing.grid.length !== 3 || tensor.shape.join() === shape.join()) return tensor;
  const [distances = 1, ...area] = resizing.grid;
  const ofImages = { ...resizing, grid: area };
  const rows = values.countOf(area);
  const from = publishedGrid({ ...slot, shape: [rows, shape.at(-1) ?? 1], resizing: ofImages }, tensor.shape);
  if (from === null) return tensor;
  return {
    shape,
    values: () => {
      const table = resizeTable(new Float64Array(tensor.values()), from, ofImages);
      return Float64Array.from({ length: distances * table.length }, (_, i) => table[i % table.length] ?? 0);
    },
  };
};

/** Each run of `area` elements `times` times, divided by how often. */
const repeatedKernel = (kernel: Float32Array | Float64Array, area: number, times: number): Float64Array =>
  Float64Array.from({ length: kernel.length * times }, (_, i) => {
    const run = Math.floor(i / (area * times));
    return (kernel[run * area + (i % area)] ?? 0) / times;
  });
