import type { Graph } from "../../ir/graph.ts";
import { createBuilder } from "../../ir/builder.ts";
import { problemsOf } from "../../ir/verify.ts";
import { compileError, CompileError, didYouMean } from "../diagnostics.ts";
import { checkConfig, type Schema } from "./config.ts";
import { type ModelContract, type OpenAxes, requireExtents, withExtents } from "./contract.ts";
import { AnyGrid, gridOf } from "./grid.ts";
import { fieldsOf } from "./module.ts";
import { Parameter } from "./parameter.ts";
import { authorPlace, placeOfError, spanOf } from "./place.ts";
import { defaultLayout, type GridsOf, type Inputs, Output, type Outputs } from "./ports.ts";
import { runInTrace, type Trace } from "./trace.ts";

/** One network of a model file: its configuration, its inputs, and the module that maps them to outputs. */
export type EntryDefinition<C, I extends Inputs> = {
  readonly config: Schema<C>;
  /** Published configurations by name: what differs from the defaults. */
  readonly presets?: { readonly [name: string]: Partial<C> };
  readonly inputs: (config: C) => I;
  readonly module: (config: C) => { forward(inputs: NoInfer<GridsOf<I>>): Outputs };
  /** Axes of the inputs that a build may leave open, and what gives them an extent: `{ t: (t) => ({ num_frames: t }) }`. */
  readonly axes?: NoInfer<OpenAxes<C>>;
  /** What one build serves unless it is told otherwise. */
  readonly contract?: ModelContract;
  /** Module paths that the published names of kept values leave out: "model". */
  readonly root?: string | readonly string[];
  /** From the configuration of a published case to this one; by default it is taken as it is. */
  readonly fromCase?: (config: PublishedConfig, inputs: PublishedInputs) => unknown;
};
type PublishedConfig = { readonly [field: string]: unknown };
type PublishedInputs = { readonly [name: string]: { readonly shape: readonly number[] } };

/** What a published case says of the network it is about. */
export type PublishedCase = {
  readonly entry: string;
  readonly config: PublishedConfig;
  readonly inputs: PublishedInputs;
};

export type TraceOptions = {
  /** Which of the model's networks; the first if not given. */
  readonly entry?: string;
  readonly preset?: string;
  /** Fields that differ from the preset, or from the schema's defaults. */
  readonly config?: object;
  /** Extents of axes that the network leaves open. */
  readonly axes?: { readonly [axis: string]: number };
};

/** A network whose configuration is checked when it is traced. */
export type Entry = {
  readonly presets: readonly string[];
  readonly contract: ModelContract;
  /** @internal */
  readonly fromCase: (config: PublishedConfig, inputs: PublishedInputs) => unknown;
  /** @internal */
  readonly trace: (name: string, options: TraceOptions) => Graph;
};

/** What a model file exports by default. */
export type Model = {
  readonly name: string;
  readonly entries: { readonly [name: string]: Entry };
  /** The graph of one configuration. Throws a CompileError with what is wrong in the model or in its configuration. */
  readonly trace: (options?: TraceOptions) => Graph;
  /** What one build of a network serves unless it is told otherwise. */
  readonly contract: (entry?: string) => ModelContract;
  /** How to trace the network of a published case. */
  readonly fromCase: (published: PublishedCase) => { readonly entry: string; readonly config: object };
};

/** A model of one network. */
export function model<C, const I extends Inputs>(definition: { readonly name: string } & EntryDefinition<C, I>): Model {
  return system({ name: definition.name, entries: { [definition.name]: entry(definition) } });
}

/** A model of several networks that share their modules: `entries: { MAB: entry({ … }), ISAB: entry({ … }) }`. */
export function system({
  name,
  entries,
}: {
  readonly name: string;
  readonly entries: { readonly [name: string]: Entry };
}): Model {
  const find = (wanted: string): string => {
    const found = Object.keys(entries).find((each) => plain(each) === plain(wanted));
    if (found !== undefined) return found;
    const known = Object.keys(entries);
    throw compileError(
      "unknown-name",
      { what: `network of ${name}`, name: wanted },
      { span: null, hint: didYouMean(wanted, known) || `there are ${known.join(", ")}` },
    );
  };
  const entryOf = (wanted: string | undefined): readonly [string, Entry] => {
    const entryName = wanted === undefined ? (Object.keys(entries)[0] ?? "") : find(wanted);
    const found = entries[entryName];
    if (found === undefined)
      throw compileError("bad-argument", { op: "system", problem: `${name} has no entries` }, { span: null });
    return [entryName, found];
  };
  return {
    name,
    entries,
    trace: (options = {}) => {
      const [entryName, found] = entryOf(options.entry);
      return found.trace(entryName === name ? name : `${name}/${entryName}`, options);
    },
    contract: (wanted) => entryOf(wanted)[1].contract,
    fromCase: ({ entry: wanted, config, inputs }) => {
      const found = find(wanted);
      return { entry: found, config: (entries[found]?.fromCase(config, inputs) ?? config) as object };
    },
  };
}
/** Published names differ in case and dashes alone: "video-swin" is VideoSwin. */
const plain = (name: string): string => name.toLowerCase().replaceAll(/[^a-z0-9]/g, "");

export function entry<C, const I extends Inputs>(definition: EntryDefinition<C, I>): Entry {
  const presets: { readonly [name: string]: Partial<C> } = definition.presets ?? {};
  return {
    presets: Object.keys(presets),
    fromCase: definition.fromCase ?? ((config) => config),
    contract: definition.contract ?? {},
    trace: (name, { preset, config = {}, axes = {} }) => {
      const base = preset === undefined ? {} : presets[preset];
      if (base === undefined)
        throw compileError(
          "unknown-name",
          { what: "preset", name: preset ?? "" },
          {
            span: null,
            hint: didYouMean(preset ?? "", Object.keys(presets)) || `there are ${Object.keys(presets).join(", ")}`,
          },
        );
      const given = withExtents({ ...base, ...config }, axes, { name, ...definition });
      const checked = checkConfig(definition.config, given);
      const roots = typeof definition.root === "string" ? [definition.root] : (definition.root ?? []);
      const graph = traceRoot(name, roots, () => ({
        inputs: definition.inputs(checked),
        module: definition.module(checked),
      }));
      requireExtents(graph, axes);
      return graph;
    },
  };
}

type Root = { readonly inputs: Inputs; readonly module: { forward(inputs: never): Outputs } };

function traceRoot(name: string, roots: readonly string[], make: () => Root): Graph {
  try {
    const { inputs, module } = make();
    const builder = createBuilder(name);
    const names = new Map(fieldsOf(module).names);
    const calls = new Map<string, number>();
    const trace: Trace = {
      builder,
      path: "",
      module,
      keep: (kept, value, layout) => {
        const published = publishedName(kept, roots);
        const call = (calls.get(published) ?? 0) + 1;
        calls.set(published, call);
        // What a module computes when it is called again.
        builder.keep(call === 1 ? published : `${published}#${call}`, value, layout);
      },
      hasLoop: false,
      shared: new Map(),
      nameOf: (field) => {
        // Layers make their parameters when they first run, so the fields of the one that runs are looked at again.
        if (!names.has(field) && trace.module !== null)
          for (const [added, path] of fieldsOf(trace.module, trace.path).names)
            if (!names.has(added)) names.set(added, path);
        return names.get(field);
      },
    };
    return runInTrace(trace, () => {
      const grids = Object.fromEntries(
        Object.entries(inputs).map(([port, { type, layout, place }]) => {
          return [port, gridOf(builder.add("input", [], { name: port, layout, type }, spanOf(place), ""))];
        }),
      );
      for (const [port, value] of Object.entries(module.forward(grids as never))) {
        const { grid, layout, upTo } = outputOf(port, value);
        builder.output(port, grid.value, layout, upTo);
      }
      checkTimes(builder.build("keepsDeadNodes"), trace.hasLoop);
      const graph = builder.build();
      return { ...graph, unused: unreadNames(module, graph), resizing: resizings(module) };
    });
  } catch (error) {
    if (error instanceof CompileError || !(error instanceof Error)) throw error;
    throw compileError("model-failed", { message: error.message }, { span: placeOfError(error) ?? authorPlace() });
  }
}

/** What a loop's steps compute is read within them, and what says how long an output is, is one too. */
function checkTimes(graph: Graph, hasLoop: boolean): void {
  if (!hasLoop && graph.outputs.every(({ upTo }) => upTo === null)) return;
  const [problem] = problemsOf(graph);
  if (problem !== undefined)
    throw compileError("bad-argument", { op: hasLoop ? "loop" : "output", problem }, { span: null });
}

function outputOf(name: string, value: AnyGrid | Output): Output {
  if (value instanceof Output) return value;
  if (value instanceof AnyGrid) return new Output(value, defaultLayout(value.type), null);
  throw compileError("bad-argument", { op: "forward", problem: `its result "${name}" is not a grid` }, { span: null });
}

/** The longest root that a name starts with is left out. */
function publishedName(name: string, roots: readonly string[]): string {
  const root = roots.filter((path) => name.startsWith(`${path}.`)).toSorted((a, b) => b.length - a.length)[0];
  return root === undefined ? name : name.slice(root.length + 1);
}

/** What modules say of their parameters' sizes, by name. */
function resizings(module: object): Graph["resizing"] {
  return Object.fromEntries(
    [...fieldsOf(module).names].flatMap(([field, name]) =>
      field instanceof Parameter && field.resizing !== null ? [[name, field.resizing] as const] : [],
    ),
  );
}

/** Keys of the checkpoint that are known and not read: marked so, further names of a parameter, parameters that no value needs. */
function unreadNames(module: object, graph: Graph): readonly string[] {
  const { names, unused } = fieldsOf(module);
  const read = new Set(graph.nodes.flatMap((node) => (node.op === "parameter" ? [node.attrs.name] : [])));
  const parameters = [...names].flatMap(([field, name]) => (field instanceof Parameter ? [name] : []));
  return [...unused, ...parameters.filter((name) => !read.has(name))];
}
