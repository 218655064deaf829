import type { Axis } from "./axes.ts";
import type { Grid } from "./grid.ts";
import { Parameter, unused } from "./parameter.ts";
import { currentTrace } from "./trace.ts";

// A module is called like a function, which TypeScript says of a class by merging: `this.norm1(x)` runs its `forward`.
/* oxlint-disable typescript/no-unsafe-declaration-merging, no-unused-vars */
export interface Module<C = void> {
  (...args: Parameters<this["forward"]>): ReturnType<this["forward"]>;
}
/**
 * A part of a model. Its fields are modules and parameters, and their paths are the names in the checkpoint; plain
 * objects and arrays of them are part of the path. `this.config` is what `new` was given.
 */
export abstract class Module<C = void> {
  declare readonly config: C;

  constructor(...config: C extends void ? [] : [config: C]) {
    // Fields are set on what a constructor returns: the function itself is the module.
    const self = ((...args: never[]) => runAs(self, () => self.forward(...args))) as unknown as this;
    for (const own of ["name", "length"]) Reflect.deleteProperty(self, own);
    Object.setPrototypeOf(self, new.target.prototype as object);
    Object.defineProperty(self, "config", { value: config[0], enumerable: false });
    return self;
  }

  abstract forward(...args: never[]): unknown;
}

/** A module that maps every grid to one with the same axes. */
export interface Layer<C = void> {
  <A extends Axis>(x: Grid<A>): Grid<A>;
}
export abstract class Layer<C = void> extends Module<C> {
  abstract override forward<A extends Axis>(x: Grid<A>): Grid<A>;
}

/* oxlint-enable typescript/no-unsafe-declaration-merging, no-unused-vars */

function runAs<R>(module: object, run: () => R): R {
  const trace = currentTrace();
  const { path, module: outer } = trace;
  Object.assign(trace, { path: trace.nameOf(module) ?? path, module });
  try {
    return run();
  } finally {
    Object.assign(trace, { path, module: outer });
  }
}

/** `count` modules, named by number. */
export function repeat<T>(count: number, make: (index: number) => T): T[] {
  return Array.from({ length: count }, (_, index) => make(index));
}

/** The fields of a model by path. */
export type Fields = {
  /** Modules and parameters, each with the first of its names. */
  readonly names: ReadonlyMap<object, string>;
  /** Names of keys that nothing reads: `unused` fields, and further names of a parameter that has several. */
  readonly unused: readonly string[];
};

/** Walks a module's fields, those of its modules, and plain objects and arrays between them. */
export function fieldsOf(root: object, rootPath = ""): Fields {
  const names = new Map<object, string>();
  const unread: string[] = [];
  const above: object[] = [];
  const walk = (holder: object, path: string): void => {
    if (above.includes(holder)) return;
    above.push(holder);
    for (const [field, value] of Object.entries(holder) as [string, unknown][]) {
      const name = path === "" ? field : `${path}.${field}`;
      if (value === unused) unread.push(name);
      else if (value instanceof Parameter) {
        if (value.viewed.base !== value) continue;
        if (names.has(value)) unread.push(name);
        else names.set(value, name);
      } else if (isHolder(value)) {
        if (value instanceof Module && !names.has(value)) names.set(value, name);
        walk(value, name);
      }
    }
    above.pop();
  };
  walk(root, rootPath);
  return { names, unused: unread };
}

const isHolder = (value: unknown): value is object => {
  if (value instanceof Module || Array.isArray(value)) return true;
  if (typeof value !== "object" || value === null) return false;
  const prototype: unknown = Object.getPrototypeOf(value);
  return prototype === Object.prototype || prototype === null;
};
