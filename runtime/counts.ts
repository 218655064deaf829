import type { Port, PortCount } from "../ir/program.ts";
import type { HostTensor } from "./tensors.ts";

type Numbers = Float32Array | Float64Array | Int32Array | Uint8Array;

/** Results without what lies behind their counts. Those whose length is no result are as they were. */
export const cutToCounts = (
  ports: readonly Port[],
  results: { readonly [name: string]: HostTensor },
): { readonly [name: string]: HostTensor } => {
  const cut = ports.flatMap(({ name, upTo }) => {
    const [tensor, counts] = [results[name], upTo && results[upTo.count]];
    return upTo && tensor && counts ? [[name, firstOfEach(tensor, upTo, largest(counts.data))] as const] : [];
  });
  return { ...results, ...Object.fromEntries(cut) };
};

export const largest = (counts: Iterable<number>): number => {
  let most = 0;
  for (const count of counts) most = Math.max(most, count);
  return most;
};

/** Of each `extent` elements of a dimension the first `count`. */
export const firstOfEach = <Data extends Numbers>(
  { shape, data }: { readonly shape: readonly number[]; readonly data: Data },
  { dimension, extent }: Pick<PortCount, "dimension" | "extent">,
  count: number,
): { readonly shape: readonly number[]; readonly data: Data } => {
  const kept = Math.min(extent, count);
  const inner = shape.slice(dimension + 1).reduce((product, size) => product * size, 1);
  return {
    shape: shape.map((size, index) => (index === dimension ? (size / extent) * kept : size)),
    data: data.filter((_, index) => Math.floor(index / inner) % extent < kept) as Data,
  };
};
