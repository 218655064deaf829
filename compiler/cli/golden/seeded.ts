import { hash32 } from "../random.ts";

/** How a tensor that no file holds is drawn from its name: uniform numbers with this mean and standard deviation. */
export type SeededTensor = { readonly name: string; readonly mean: number; readonly deviation: number };

/** Of a list, the first rule whose regular expression finds something in the tensor's name. */
export type SeededRule = {
  readonly match: string;
  readonly mean?: number | undefined;
  /** The standard deviation, or `gain` / sqrt(fan-in): the product of all dimensions but the first. */
  readonly scale?: number | undefined;
  readonly gain?: number | undefined;
};

export function seededRule(name: string, shape: readonly number[], rules: readonly SeededRule[]): SeededTensor | null {
  const rule = rules.find(({ match }) => new RegExp(match).test(name));
  if (rule === undefined) return null;
  const fanIn = shape.slice(1).reduce((product, size) => product * size, 1);
  const deviation = rule.gain === undefined ? (rule.scale ?? 1) : rule.gain / Math.sqrt(fanIn);
  return { name, mean: rule.mean ?? 0, deviation };
}

/** The values, computed in float64 and rounded once. The same numbers on every machine and in every language. */
export function seededValues({ name, mean, deviation }: SeededTensor, count: number): Float32Array {
  const seed = fnv1a(name);
  const scale = deviation * Math.sqrt(3);
  const values = new Float32Array(count);
  for (let index = 0; index < count; index++) {
    const bits = hash32((seed + Math.imul(index, 0x9e3779b9)) >>> 0);
    values[index] = mean + scale * ((2 * bits) / 2 ** 32 - 1);
  }
  return values;
}

/** FNV-1a of the name's UTF-8 bytes, 32 bits. */
function fnv1a(text: string): number {
  let hash = 2166136261;
  for (const byte of Buffer.from(text, "utf8")) hash = Math.imul(hash ^ byte, 16777619);
  return hash >>> 0;
}
