import { literal } from "../../ir/scalarBuild.ts";
import type { Scalar } from "../../ir/scalar.ts";
import { variablesOf } from "../../ir/scalarWalk.ts";
import {
  blockScope,
  fieldOf,
  needOfBlock,
  tokenName,
  tokenType,
  type JobText,
  type SideName,
} from "./attentionText.ts";
import { printCudaLocals } from "./cudaLocals.ts";
import { printCuda } from "./cudaScalar.ts";

/** The struct of a query or a key, of what is read of one, and the function that finds it by slot. */
export type TokenView = {
  readonly type: "Query" | "Key";
  readonly name: "query" | "key";
  readonly fields: readonly { readonly type: string; readonly name: string; readonly value: string }[];
  readonly statements: readonly string[];
};

export const tokenView = (text: JobText, side: SideName): TokenView => {
  const { slot, tokens } = side === "q" ? text.job.query : text.job.key;
  const needs = text.needs[side];
  const wanted: {
    readonly need: string;
    readonly name: string;
    readonly type: "bool" | "int";
    readonly value: Scalar;
  }[] = [
    { need: "exists", name: "exists", type: "bool", value: slot.exists },
    { need: "isPrefix", name: "is_prefix", type: "bool", value: slot.isPrefix },
    { need: "group", name: "group", type: "int", value: slot.group },
    ...tokens.axes.map(({ axis }) => ({
      need: axis,
      name: fieldOf(axis),
      type: "int" as const,
      value: slot.at[axis] ?? literal(0),
    })),
  ];
  if (!tokens.axes.some(({ axis }) => axis === "prefix"))
    wanted.push({ need: "prefix", name: "prefix", type: "int", value: slot.prefix });
  const found = wanted.filter(({ need }) => needs.has(need));
  for (const { value } of found) needOfBlock(text, value);
  const scope = blockScope(text, slot.ranges);
  const { statements, values } = printCudaLocals(
    found.map(({ value, type }) => ({ scalar: value, as: type })),
    scope,
    "at",
  );
  const usesPlace = found.some(({ value }) => variablesOf(value).has("place"));
  if (usesPlace) needOfBlock(text, slot.place);
  return {
    type: tokenType(side),
    name: tokenName(side),
    fields: found.map(({ name, type }, i) => ({ type, name, value: values[i] ?? "0" })),
    statements: [
      ...(usesPlace
        ? [
            `const int place = ${printCuda(slot.place, scope, "int")};  // among the grid's tokens, of which it may not be one`,
          ]
        : []),
      ...statements,
    ],
  };
};
