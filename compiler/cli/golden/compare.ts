import type { Precision } from "../../../ir/types.ts";
import type { CaseTolerance, GoldenCase } from "./case.ts";

/** A dense array as computed or as published. */
type Values = ArrayLike<number>;
/** Published in full, or, of a large tensor, its first elements and its L2 norm. */
export type Expected =
  | { readonly kind: "full"; readonly integer: boolean; readonly values: Values }
  | { readonly kind: "head"; readonly head: Values; readonly norm: number };

/** One line of the table. */
export type Comparison = {
  readonly name: string;
  readonly shape: readonly number[];
  /** ||computed - published|| / ||published||; null where nothing was computed to compare. */
  readonly relL2: number | null;
  /** The largest difference of one element. */
  readonly maxAbs: number | null;
  /** What relL2 is held to: 0 for integers; null where this tensor is shown and not held to anything. */
  readonly tolerance: number | null;
  readonly ok: boolean;
  /** Why it is not ok, or why it is not held; empty otherwise. */
  readonly note: string;
};

/** What a tensor is held to in a precision. */
export type Bound = { readonly relL2: number; readonly maxAbs: number };

/**
 * The tolerance of a tensor of a case. float16 is held to bfloat16's. Integers are decisions: they are exact in
 * float32, and not held in narrower precisions, where a near tie may go either way.
 */
export function boundOf(golden: GoldenCase, name: string, precision: Precision, integer: boolean): Bound | null {
  if (precision === "f32") {
    const { rel_l2: relL2, max_abs: maxAbs }: CaseTolerance = golden.tolerance.f32;
    if (integer) return { relL2: 0, maxAbs: 0 };
    // The largest difference is published of the outputs; intermediates have scales of their own.
    return { relL2, maxAbs: name in golden.outputs ? (maxAbs ?? Infinity) : Infinity };
  }
  const { rel_l2: relL2, on } = golden.tolerance.bf16;
  if (integer || (on !== undefined && !on.includes(name))) return null;
  return { relL2, maxAbs: Infinity };
}

export type Computed = { readonly shape: readonly number[]; readonly values: Values };

export function compare(
  name: string,
  shape: readonly number[],
  computed: Computed | undefined,
  expected: Expected,
  bound: Bound | null,
): Comparison {
  const tolerance = bound === null ? null : bound.relL2;
  const refused = (note: string): Comparison => ({
    name,
    shape,
    relL2: null,
    maxAbs: null,
    tolerance,
    ok: false,
    note,
  });
  if (computed === undefined) return refused("the model does not publish it");
  if (computed.shape.join() !== shape.join()) return refused(`has the shape [${computed.shape.join(", ")}]`);

  const { relL2, maxAbs } = difference(computed.values, expected);
  const shown = { name, shape, relL2, maxAbs, tolerance };
  if (bound === null) return { ...shown, ok: true, note: "not held to a tolerance in this precision" };
  // Written so that NaN fails.
  const near = relL2 <= bound.relL2;
  const note = !near ? "" : maxAbs <= bound.maxAbs ? "" : `largest error above ${bound.maxAbs}`;
  return { ...shown, ok: near && note === "", note };
}

function difference(computed: Values, expected: Expected): { readonly relL2: number; readonly maxAbs: number } {
  if (expected.kind === "full") return distance(computed, expected.values);
  const head = distance(computed, expected.head);
  const norm = Math.sqrt(sumOfSquares(computed));
  return { relL2: Math.max(head.relL2, relative(Math.abs(norm - expected.norm), expected.norm)), maxAbs: head.maxAbs };
}

/** Over the elements of `expected`; `computed` may hold more. Equal infinities do not differ; NaN says that the published code leaves an element open. */
function distance(computed: Values, expected: Values): { readonly relL2: number; readonly maxAbs: number } {
  let squares = 0;
  let published = 0;
  let maxAbs = 0;
  for (let index = 0; index < expected.length; index++) {
    const [is, should] = [computed[index] ?? NaN, expected[index] ?? NaN];
    if (Number.isNaN(should) || (is === should && !Number.isFinite(is))) continue;
    const error = Math.abs(is - should);
    squares += error * error;
    published += should * should;
    maxAbs = error > maxAbs || Number.isNaN(error) ? error : maxAbs;
    if (Number.isNaN(maxAbs)) break;
  }
  if (Number.isNaN(maxAbs)) return { relL2: NaN, maxAbs: NaN };
  return { relL2: relative(Math.sqrt(squares), Math.sqrt(published)), maxAbs };
}

const relative = (error: number, size: number): number => (error === 0 ? 0 : error / size);

function sumOfSquares(values: Values): number {
  let sum = 0;
  for (let index = 0; index < values.length; index++) sum += (values[index] ?? NaN) ** 2;
  return sum;
}
