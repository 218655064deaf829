import type { Program } from "./program.ts";

/** A program as manifest.json holds it. */
export const printProgram = (program: Program): string => `${exactJson(program, 1)}\n`;

/**
 * JSON that tells all numbers apart: those that JSON has no word for (a mask's -Infinity) are written as
 * `{ "number": "-Infinity" }`. Equal data gives equal text.
 */
export const exactJson = (data: unknown, indent: number = 0): string =>
  JSON.stringify(
    data,
    (_, value: unknown) => (typeof value === "number" && !isPlain(value) ? { number: wordFor(value) } : value),
    indent,
  );

/** The inverse of `printProgram`. Throws a SyntaxError where the text is not JSON; what the JSON says is not checked. */
export const parseProgramText = (text: string): unknown =>
  JSON.parse(text, (_, value: unknown) => (isNumberWord(value) ? Number(value.number) : value));

const isPlain = (value: number): boolean => Number.isFinite(value) && !Object.is(value, -0);
const wordFor = (value: number): string => (Object.is(value, -0) ? "-0" : String(value));

const isNumberWord = (value: unknown): value is { readonly number: string } =>
  typeof value === "object" &&
  value !== null &&
  "number" in value &&
  typeof value.number === "string" &&
  Object.keys(value).length === 1;
