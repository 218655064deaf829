import { joinedLaunch, meet, shareOperands } from "./joinedLaunch.ts";
import type { Access, GemmKernel, Operand, ProductsKernel } from "./kernels.ts";
import type { Launch } from "./lower/context.ts";

/**
 * Launches products together that need not wait for each other: those that one sampling reads (values, offsets and weights, of
 * whatever inputs, shapes and precisions), and those that read the same value (a block and its shortcut, branches of a
 * pyramid). A launch takes as long as a small product, and what they share is read from the cache.
 *
 * Before: `v = x V; o = x O; y = sample(v, o)`     After: `v = x V and o = x O; y = sample(v, o)`
 * Before: `a = x A; b = f(a); s = x S; y = b + s`  After: `a = x A and s = x S; b = f(a); y = b + s`
 */
export const joinProducts = (launches: readonly Launch[]): readonly Launch[] => joinReaders(joinSampled(launches));

const joinReaders = (launches: readonly Launch[]): readonly Launch[] => {
  let current = launches;
  for (let at = 0; at < current.length; at++) {
    const group = [at, ...readersBehind(current, at)];
    if (group.length < 2) continue;
    const joined = together(group.flatMap((member) => current[member] ?? []));
    current = current.flatMap((launch, i) => (i === at ? [joined] : group.includes(i) ? [] : [launch]));
  }
  return current;
};

/** Launches that a product moves past: what it makes takes memory from there on. A residual block is no longer. */
const mostPassed = 8;

/** Products behind one that multiply the same value, and can be launched as early. */
const readersBehind = (launches: readonly Launch[], at: number): readonly number[] => {
  const first = launches[at];
  const value = multiplied(first);
  if (first === undefined || value === null) return [];
  const group: number[] = [];
  for (const [distance, launch] of launches.slice(at, at + mostPassed + 1).entries()) {
    if (distance === 0 || launch.stage !== first.stage || multiplied(launch) !== value) continue;
    if (launches.slice(at, at + distance).every((other) => !meet(launch, other))) group.push(at + distance);
  }
  return group;
};

/** What a product multiplies with its weight. */
const multiplied = (launch: Launch | undefined): string | null =>
  launch?.kernel.kind === "gemm" ? JSON.stringify(launch.sources[launch.kernel.a.operand]) : null;

const joinSampled = (launches: readonly Launch[]): readonly Launch[] => {
  let current = launches;
  for (let at = 0; at < current.length; at++) {
    const sampling = current[at];
    if (sampling?.kernel.kind !== "sample") continue;
    const group = groupBefore(current, at, sampling);
    const last = group.at(-1);
    if (group.length < 2 || last === undefined) continue;
    const joined = together(group.flatMap((member) => current[member] ?? []));
    const rest = current.map((launch, i) => (i === last ? [joined] : group.includes(i) ? [] : [launch]));
    at -= group.length - 1;
    current = rest.flat();
  }
  return current;
};

/** The products whose results the launch reads that can all wait for the last of them. */
const groupBefore = (launches: readonly Launch[], at: number, sampling: Launch): readonly number[] => {
  const read = launches.flatMap(({ kernel, stage, writes }, i) =>
    i < at &&
    kernel.kind === "gemm" &&
    stage === sampling.stage &&
    writes.some((buffer) => sampling.reads.includes(buffer))
      ? [i]
      : [],
  );
  const last = read.at(-1) ?? 0;
  return read.filter((member) => launches.slice(member + 1, last + 1).every((other) => !meet(launches[member], other)));
};

const together = (members: readonly Launch[]): Launch => {
  const { operands, sources, numbersOf } = shareOperands();
  const products = members.flatMap((member) =>
    member.kernel.kind === "gemm" ? [renumbered(member.kernel, operands, numbersOf(member))] : [],
  );
  const [product] = products;
  if (product === undefined) throw new Error("internal: no products to join");
  const kernel: ProductsKernel = { kind: "products", precision: product.precision, operands, products };
  return joinedLaunch(members, kernel, sources);
};

const renumbered = (kernel: GemmKernel, operands: readonly Operand[], numbers: readonly number[]): GemmKernel => {
  const moved = <A extends Access>(access: A): A => ({ ...access, operand: numbers[access.operand] ?? -1 });
  return {
    ...kernel,
    operands,
    a: moved(kernel.a),
    epilogue: { ...kernel.epilogue, elements: kernel.epilogue.elements.map(moved) },
    stores: kernel.stores.map(moved),
    lengths: kernel.lengths && { ...kernel.lengths, of: moved(kernel.lengths.of) },
  };
};
