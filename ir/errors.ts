/** A graph, type, layout or expression that cannot be; `hint` says what to do about it. */
export class GraphError extends Error {
  readonly hint: string | undefined;

  constructor(message: string, hint?: string) {
    super(message);
    this.name = "GraphError";
    this.hint = hint;
  }
}

/** Closes a switch over a union: a case that is not handled does not compile. */
export const assertNever = (value: never): never => {
  throw new Error(`internal: unexpected ${JSON.stringify(value)}`);
};
