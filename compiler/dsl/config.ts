import { CompileError, diagnostic, didYouMean } from "../diagnostics.ts";

/** The part of Standard Schema that a model reads: schemas of zod, valibot and arktype all have it (https://standardschema.dev). */
export type Schema<C> = {
  readonly "~standard": {
    readonly types?: { readonly input: unknown; readonly output: C } | undefined;
    readonly validate: (value: unknown) => Result<C> | Promise<Result<C>>;
  };
};
type Result<C> = { readonly value: C; readonly issues?: undefined } | { readonly issues: readonly Issue[] };
type Issue = {
  readonly message: string;
  readonly path?: readonly (PropertyKey | { readonly key: PropertyKey })[] | undefined;
};

/** The configuration that `given` says, or a CompileError with all that is wrong with it. */
export function checkConfig<C>(schema: Schema<C>, given: unknown): C {
  const result = schema["~standard"].validate(given);
  if (result instanceof Promise)
    throw new CompileError([
      diagnostic("bad-config", { path: "", problem: "its schema is asynchronous" }, { span: null }),
    ]);
  if (result.issues === undefined) return result.value;
  const known = fieldsOf(schema);
  throw new CompileError(
    result.issues.flatMap((issue) => {
      const path = (issue.path ?? []).map((part) => String(typeof part === "object" ? part.key : part));
      const strange = unknownFields(issue);
      if (strange.length === 0)
        return [diagnostic("bad-config", { path: path.join("."), problem: lowerFirst(issue.message) }, { span: null })];
      return strange.map((name) =>
        diagnostic(
          "bad-config",
          { path: [...path, name].join("."), problem: "there is no such field" },
          { span: null, hint: didYouMean(name, known) || `the fields are ${known.join(", ")}` },
        ),
      );
    }),
  );
}

/** Field names, where the schema tells them as zod's objects do. */
function fieldsOf(schema: object): readonly string[] {
  const shape: unknown = "shape" in schema ? schema.shape : undefined;
  return typeof shape === "object" && shape !== null ? Object.keys(shape) : [];
}

function unknownFields(issue: Issue): readonly string[] {
  const keys: unknown = "keys" in issue ? issue.keys : undefined;
  return Array.isArray(keys) ? keys.map(String) : [];
}

const lowerFirst = (text: string): string => text.charAt(0).toLowerCase() + text.slice(1);
