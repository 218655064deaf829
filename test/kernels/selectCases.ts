import type { FusedKernel, KernelHeader } from "../../compiler/schedule/kernels.ts";
import { lower } from "../../compiler/schedule/lower/lower.ts";
import type { Graph } from "../../ir/graph.ts";
import { parseGraph } from "../../ir/parse.ts";

export const header: KernelHeader = {
  name: "select_test",
  origin: { file: "model.ts", line: 1, column: 1, path: "model.head", formula: "topK(x)" },
  shapes: ["x: [h, w]"],
};

const floats = '%0: [b, t 2, h 7, w 9; 3] = input {name="x", layout="b t h w c"}';
const [row, many] = [
  '%0: [b, i 40; 1] = input {name="x", layout="b i"}',
  '%0: [b, i 70001; 1] = input {name="x", layout="b i"}',
];
const whole = (text: string): string => text.replace(": [", ": int[");

/** One op each, on numbers of which many are equal. */
export const cases: { readonly [name: string]: string } = {
  "the largest of each channel of each image": `${floats}\n%1 = topK %0 {count=5, axes=[h, w]}`,
  "the largest alone": `${floats}\n%1 = topK %0 {count=1, axes=[t, w]}`,
  "all of them, in order": `${row}\n%1 = topK %0 {count=40, axes=[i]}`,
  "the largest whole numbers": `${whole(row)}\n%1 = topK %0 {count=33, axes=[i]}`,
  "the largest of very many": `${many}\n%1 = topK %0 {count=200, axes=[i]}`,
  "how often numbers occur": `${whole(floats)}\n%1 = histogram %0 {bins=4, axes=[h, w]}`,
  "more bins than a block has": `${whole(many)}\n%1 = histogram %0 {bins=9000, axes=[i]}`,
  "where the first of the largest lies": `${floats}\n%1 = reduce %0 {kind=argmax, axes=[h, w]}`,
  "where it lies along an axis between": `${floats}\n%1 = reduce %0 {kind=argmax, axes=[h]}`,
  "where it lies among very many": `${many}\n%1 = reduce %0 {kind=argmax, axes=[i]}`,
};

export const graphOf = (name: string): Graph => {
  const text = cases[name] ?? "";
  const layout = { topK: "rank", histogram: "bin" }[/= (topK|histogram)/.exec(text)?.[1] ?? ""];
  const rest = text.includes("[i]") ? [] : text.includes("[h]") ? ["t", "w"] : text.includes("[t, w]") ? ["h"] : ["t"];
  const axes = ["b", ...rest, ...(layout === undefined ? [] : [layout]), ...(text.includes("; 3]") ? ["c"] : [])];
  return parseGraph(`graph "select"\n${text}\noutput "y" = %1 "${axes.join(" ")}"\n`);
};

export const kernelOf = (name: string): FusedKernel => {
  const [launch] = lower(graphOf(name), "f32").launches;
  if (launch === undefined) throw new Error(`nothing computes ${name}`);
  return launch.kernel;
};
