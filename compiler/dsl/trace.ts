import { GraphError } from "../../ir/errors.ts";
import type { GraphBuilder } from "../../ir/builder.ts";
import type { Op, Ops, ValueId } from "../../ir/graph.ts";
import type { Layout } from "../../ir/layout.ts";
import { compileError, CompileError, type DiagnosticCode, type DiagnosticParams } from "../diagnostics.ts";
import { authorPlace, spanOf } from "./place.ts";

/** A model on its way to becoming a graph. */
export type Trace = {
  readonly builder: GraphBuilder;
  /** The field path of the module that runs now; empty outside of all. */
  path: string;
  module: object | null;
  /** Publishes a value under the name that authors gave it. */
  keep: (name: string, value: ValueId, layout: Layout) => void;
  hasLoop: boolean;
  /** The checkpoint's name of a module or parameter that is a field, undefined for others. */
  readonly nameOf: (field: object) => string | undefined;
  /** Values that were read once and are read again: parameters and constants. */
  readonly shared: Map<object, Map<string, ValueId>>;
};

// Authors' modules call each other as plain functions, so what they append to is the one thing that is not handed over.
let current: Trace | undefined;

export function runInTrace<R>(trace: Trace, run: () => R): R {
  const before = current;
  current = trace;
  try {
    return run();
  } finally {
    current = before;
  }
}

/** The trace that runs now; refuses outside of one. */
export function currentTrace(): Trace {
  return (
    current ??
    fail(
      "bad-argument",
      { op: "forward", problem: "values exist only while a model is traced" },
      "call modules from the forward of a module, and give the outermost to model(...)",
    )
  );
}

/** Refuses, at the author's place. */
export function fail<C extends DiagnosticCode>(code: C, params: DiagnosticParams[C], hint = "", label = ""): never {
  throw compileError(code, params, { span: authorPlace(), hint, label });
}

/** Appends one op where the author is. */
export function append<K extends Op>(op: K, inputs: Ops[K]["inputs"], attrs: Ops[K]["attrs"]): ValueId {
  const { builder, path } = currentTrace();
  const place = authorPlace();
  try {
    return builder.add(op, inputs, attrs, spanOf(place), path);
  } catch (error) {
    if (error instanceof CompileError || !(error instanceof GraphError)) throw error;
    throw compileError("bad-argument", { op, problem: error.message }, { span: place, hint: error.hint ?? "" });
  }
}

/** Appends once per trace: again with the same owner and key gives the value that is there. */
export function appendOnce(owner: object, key: string, make: () => ValueId): ValueId {
  const { shared } = currentTrace();
  let values = shared.get(owner);
  if (values === undefined) shared.set(owner, (values = new Map()));
  let value = values.get(key);
  if (value === undefined) values.set(key, (value = make()));
  return value;
}
