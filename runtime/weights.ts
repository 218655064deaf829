import type { Weight, WeightExpr } from "../ir/program.ts";
import { weightParts } from "../ir/weightShape.ts";
import type { Checkpoint } from "./checkpoint.ts";
import { elementwise } from "./elementwise.ts";
import { RuntimeError } from "./errors.ts";
import { pack } from "./pack.ts";
import { fromStorage, toStorage } from "./storage.ts";
import { formatShape } from "./text.ts";
import * as values from "./values.ts";
import type { Values } from "./values.ts";

/** A weight's bytes as they go to the device. */
export type PreparedWeight = { readonly weight: Weight; readonly bytes: Uint8Array };

/**
 * Prepares weights one after the other, in order: computed in float64, rounded once. Expressions that are equal are
 * evaluated once, and forgotten after their last use. The checkpoint fits: `checkCheckpoint` has said so.
 */
export function* prepareWeights(weights: readonly Weight[], checkpoint: Checkpoint): Generator<PreparedWeight, void> {
  const shared = new SharedExpressions(weights.map((weight) => weight.value));
  for (const weight of weights) {
    const { name, storage, value } = weight;
    const bytes = toStorage(evaluate(value, checkpoint, shared).data, storage, `weight "${name}"`);
    if (bytes.length !== weight.bytes)
      throw new RuntimeError(
        `weight "${name}" came out as ${bytes.length} bytes, the program has room for ${weight.bytes}`,
      );
    yield { weight, bytes };
  }
}

/** The value of one expression. */
export const evaluateWeight = (expr: WeightExpr, checkpoint: Checkpoint): Values =>
  evaluate(expr, checkpoint, new SharedExpressions([expr]));

const evaluate = (expr: WeightExpr, checkpoint: Checkpoint, shared: SharedExpressions): Values =>
  shared.once(expr, () => compute(expr, checkpoint, (part) => evaluate(part, checkpoint, shared)));

const compute = (expr: WeightExpr, checkpoint: Checkpoint, valueOf: (part: WeightExpr) => Values): Values => {
  switch (expr.kind) {
    case "parameter":
      return readParameter(expr.name, expr.shape, checkpoint);
    case "constant":
      return values.reshape({ shape: [expr.values.length], data: Float64Array.from(expr.values) }, expr.shape);
    case "reshape":
      return values.reshape(valueOf(expr.of), expr.shape);
    case "permute":
      return values.permute(valueOf(expr.of), expr.order);
    case "slice":
      return values.slice(valueOf(expr.of), expr.axis, expr.start, expr.step, expr.size);
    case "concat":
      return values.concat(expr.of.map(valueOf), expr.axis);
    case "pad":
      return values.pad(valueOf(expr.of), expr.shape, expr.fill);
    case "matmul":
      return values.matmul(valueOf(expr.left), valueOf(expr.right));
    case "elementwise":
      return elementwise(expr.of.map(valueOf), expr.body);
    case "sum":
      return values.sum(valueOf(expr.of), expr.axis);
    case "rounded": {
      const { shape, data } = valueOf(expr.of);
      const seen = fromStorage(toStorage(data, expr.storage, "a weight, rounded"), expr.storage);
      return { shape, data: new Float64Array(seen) };
    }
    case "take":
      return values.take(valueOf(expr.of), expr.axis, expr.index);
    case "interpolate":
      return values.interpolate(valueOf(expr.of), expr.axis, expr.index, expr.weights);
    case "pack":
      return pack(valueOf(expr.of), expr.order);
  }
};

const readParameter = (name: string, shape: readonly number[], checkpoint: Checkpoint): Values => {
  const tensor = checkpoint.tensors.get(name);
  if (tensor === undefined) throw new RuntimeError(`"${checkpoint.source}" has no parameter "${name}"`);
  const data = new Float64Array(tensor.values());
  if (data.length !== values.countOf(shape))
    throw new RuntimeError(
      `parameter "${name}" is ${formatShape(tensor.shape)}, a weight reads it as ${formatShape(shape)}`,
    );
  return { shape, data };
};

/** Knows which expressions of a set are equal, keeps the value of one that is used again, and drops it after the last use. */
class SharedExpressions {
  readonly #ids: Map<WeightExpr, number> = new Map();
  readonly #keys: Map<string, number> = new Map();
  readonly #usesLeft: number[] = [];
  readonly #kept: Map<number, Values> = new Map();

  constructor(roots: readonly WeightExpr[]) {
    for (const root of roots) this.#use(this.#identify(root));
  }

  once(expr: WeightExpr, work: () => Values): Values {
    const id = this.#ids.get(expr);
    if (id === undefined) return work();
    const left = (this.#usesLeft[id] ?? 1) - 1;
    this.#usesLeft[id] = left;
    const value = this.#kept.get(id) ?? work();
    if (left > 0) this.#kept.set(id, value);
    else this.#kept.delete(id);
    return value;
  }

  /** Equal expressions get the same number. Parts are used by the first of equals alone: the others find its value. */
  #identify(expr: WeightExpr): number {
    const parts = weightParts(expr).map((part) => this.#identify(part));
    const key = `${attributesOf(expr)}(${parts.join()})`;
    const known = this.#keys.get(key);
    const id = known ?? this.#keys.size;
    this.#ids.set(expr, id);
    if (known === undefined) {
      this.#keys.set(key, id);
      for (const part of parts) this.#use(part);
    }
    return id;
  }

  #use(id: number): void {
    this.#usesLeft[id] = (this.#usesLeft[id] ?? 0) + 1;
  }
}

/** Everything of an expression but its parts, as text. JSON alone would write infinities and NaN alike. */
const attributesOf = (expr: WeightExpr): string =>
  JSON.stringify(
    Object.entries(expr).filter(([field]) => !partFields.has(field)),
    (_, value: unknown) =>
      typeof value === "number" && !isPlain(value) ? `#${Object.is(value, -0) ? "-0" : value}` : value,
  );
const partFields: ReadonlySet<string> = new Set(["of", "left", "right"]);
const isPlain = (value: number): boolean => Number.isFinite(value) && !Object.is(value, -0);
