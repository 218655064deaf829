import { add, and, literal, mul, select, sub } from "../../ir/scalarBuild.ts";
import { decide, rangeOf, type Ranges } from "../../ir/scalarRange.ts";
import { variablesOf } from "../../ir/scalarWalk.ts";
import type { Scalar } from "../../ir/scalar.ts";

/** An address as what depends on the row, what depends on the column, and what needs both. */
export type SplitAddress = { readonly row: Scalar; readonly column: Scalar; readonly mixed: Scalar };

/** A sum of terms that each depend on the row's variables or on the others'; constants go to the row. */
export const splitAddress = (offset: Scalar, rowVariables: ReadonlySet<string>): SplitAddress => {
  const parts = { row: [] as Scalar[], column: [] as Scalar[], mixed: [] as Scalar[] };
  for (const { factor, of } of termsOf(offset)) {
    const term = of === null ? literal(factor) : mul(of, factor);
    parts[sideOf(term, rowVariables)].push(term);
  }
  return { row: add(...parts.row), column: add(...parts.column), mixed: add(...parts.mixed) };
};

/** The parts of a condition that may fail, by what they depend on. */
export const splitCondition = (condition: Scalar, rowVariables: ReadonlySet<string>, ranges: Ranges): SplitAddress => {
  const parts = { row: [] as Scalar[], column: [] as Scalar[], mixed: [] as Scalar[] };
  for (const each of conjunctsOf(condition, ranges)) parts[sideOf(each, rowVariables)].push(each);
  return { row: and(...parts.row), column: and(...parts.column), mixed: and(...parts.mixed) };
};

const sideOf = (expr: Scalar, rowVariables: ReadonlySet<string>): "row" | "column" | "mixed" => {
  const names = [...variablesOf(expr)];
  if (names.every((name) => rowVariables.has(name))) return "row";
  return names.some((name) => rowVariables.has(name)) ? "mixed" : "column";
};

/** What must hold all together, without what always holds. */
const conjunctsOf = (condition: Scalar, ranges: Ranges): readonly Scalar[] => {
  if (decide(condition, ranges) === "always") return [];
  if (condition.kind === "binary" && condition.op === "and")
    return [...conjunctsOf(condition.left, ranges), ...conjunctsOf(condition.right, ranges)];
  return [condition];
};

/** factor * of; a constant where `of` is null. */
type Term = { readonly factor: number; readonly of: Scalar | null };

/** The expression as a sum: constants are multiplied out, and what both sides of a choice share is taken out of it. */
const termsOf = (expr: Scalar): readonly Term[] => {
  if (expr.kind === "number") return expr.value === 0 ? [] : [{ factor: expr.value, of: null }];
  if (expr.kind === "unary" && expr.op === "neg") return scaled(termsOf(expr.of), -1);
  if (expr.kind === "select") return termsOfChoice(expr);
  if (expr.kind === "binary") {
    const { op, left, right } = expr;
    if (op === "add") return collected([...termsOf(left), ...termsOf(right)]);
    if (op === "sub") return collected([...termsOf(left), ...scaled(termsOf(right), -1)]);
    if (op === "mul" && right.kind === "number") return scaled(termsOf(left), right.value);
    if (op === "mul" && left.kind === "number") return scaled(termsOf(right), left.value);
  }
  return [{ factor: 1, of: expr }];
};

const scaled = (terms: readonly Term[], by: number): readonly Term[] =>
  by === 0 ? [] : terms.map(({ factor, of }) => ({ factor: factor * by, of }));

const keyOf = ({ of }: Term): string => JSON.stringify(of);

/** Equal terms added up. */
const collected = (terms: readonly Term[]): readonly Term[] => {
  const byKey = new Map<string, Term>();
  for (const term of terms) {
    const key = keyOf(term);
    byKey.set(key, { factor: (byKey.get(key)?.factor ?? 0) + term.factor, of: term.of });
  }
  return [...byKey.values()].filter(({ factor }) => factor !== 0);
};

const termsOfChoice = (choice: Scalar & { readonly kind: "select" }): readonly Term[] => {
  const [yes, no] = [termsOf(choice.then), termsOf(choice.else)];
  const inNo = new Map(no.map((term) => [keyOf(term), term.factor]));
  const shared = yes.filter((term) => inNo.get(keyOf(term)) === term.factor);
  const sharedKeys = new Set(shared.map(keyOf));
  const rest = (terms: readonly Term[]): Scalar =>
    terms
      .filter((term) => !sharedKeys.has(keyOf(term)))
      .reduce<Scalar>((sum, { factor, of }) => add(sum, of === null ? literal(factor) : mul(of, factor)), literal(0));
  const chosen = select(choice.if, rest(yes), rest(no));
  return chosen.kind === "number" ? [...shared, ...termsOf(chosen)] : [...shared, { factor: 1, of: chosen }];
};

/** Elements from one row to the next where the address is linear in `variable`, and the rest of it. */
export const lineOf = (offset: Scalar, variable: string): { readonly slope: number; readonly rest: Scalar } | null => {
  let slope = 0;
  let rest: Scalar = literal(0);
  for (const { factor, of } of termsOf(offset)) {
    if (of?.kind === "variable" && of.name === variable) slope += factor;
    else if (of !== null && variablesOf(of).has(variable)) return null;
    else rest = add(rest, of === null ? factor : mul(of, factor));
  }
  return { slope, rest };
};

/** What is known of integer variables: their ranges, and for some a number that divides them. */
export type Known = { readonly ranges: Ranges; readonly divisors: { readonly [variable: string]: number } };

const greatestCommonDivisor = (a: number, b: number): number => (b === 0 ? Math.abs(a) : greatestCommonDivisor(b, a % b));

/** A number that divides the expression whatever its variables are; 0 divides nothing but 0. */
export const divisorOf = (expr: Scalar, known: Known): number => {
  switch (expr.kind) {
    case "number":
      return Number.isSafeInteger(expr.value) ? Math.abs(expr.value) : 1;
    case "variable":
      return known.divisors[expr.name] ?? 1;
    case "unary":
      return expr.op === "neg" ? divisorOf(expr.of, known) : 1;
    case "select":
      return greatestCommonDivisor(divisorOf(expr.then, known), divisorOf(expr.else, known));
    case "binary": {
      const [left, right] = [divisorOf(expr.left, known), divisorOf(expr.right, known)];
      switch (expr.op) {
        case "add":
        case "sub":
        case "min":
        case "max":
        case "mod":
          return greatestCommonDivisor(left, right);
        case "mul":
          return left * right;
        case "floorDiv":
          return expr.right.kind === "number" && expr.right.value > 0 && left % expr.right.value === 0 ? left / expr.right.value : 1;
        default:
          return 1;
      }
    }
    default:
      return 1;
  }
};

/**
 * How the expression grows with `variable` within a run of `width` that starts at a multiple of `width`: the same step
 * from each element to the next (0: it does not change), or null where that can't be shown.
 */
export const slopeInRuns = (expr: Scalar, variable: string, width: number, known: Known): number | null => {
  const atStart: Known = { ranges: known.ranges, divisors: { ...known.divisors, [variable]: width } };
  /** Whether adding less than `reach` to x cannot carry it over a multiple of `size`. */
  const staysWithin = (x: Scalar, reach: number, size: number): boolean =>
    reach >= 0 && size > 0 && reach < greatestCommonDivisor(divisorOf(x, atStart), size);
  const slope = (part: Scalar): number | null => {
    if (!variablesOf(part).has(variable)) return 0;
    switch (part.kind) {
      case "variable":
        return 1;
      case "unary": {
        const inner = slope(part.of);
        return part.op === "neg" && inner !== null ? -inner : inner === 0 ? 0 : null;
      }
      case "select": {
        const [yes, no] = [slope(part.then), slope(part.else)];
        return slope(part.if) === 0 && yes === no ? yes : null;
      }
      case "binary":
        return slopeOfBinary(part);
      default:
        return null;
    }
  };
  const slopeOfBinary = (part: Scalar & { readonly kind: "binary" }): number | null => {
    const { op, left, right } = part;
    const [a, b] = [slope(left), slope(right)];
    if (a === null || b === null) return null;
    if (op === "add") return a + b;
    if (op === "sub") return a - b;
    if (op === "mul" && right.kind === "number") return a * right.value;
    if (op === "mul" && left.kind === "number") return b * left.value;
    if (a === 0 && b === 0) return 0;
    const size = right.kind === "number" ? right.value : 0;
    if (op === "floorDiv" && staysWithin(left, a * (width - 1), size)) return 0;
    if (op === "mod" && staysWithin(left, a * (width - 1), size)) return a;
    // x < size holds for all of a run or for none where both begin at multiples of what the run stays within.
    if ((op === "lt" || op === "ge") && staysWithin(left, a * (width - 1), divisorOf(right, known))) return b === 0 ? 0 : null;
    return null;
  };
  return slope(expr);
};

/** The widest run, a power of two up to `most`, over which an access is contiguous and begins at a multiple of its width. */
export const runWidth = (
  access: { readonly offset: Scalar; readonly valid: Scalar },
  run: { readonly variable: string; readonly size: number; readonly most: number },
  exampleStride: number,
  known: Known,
): number => {
  for (let width = run.most; width > 1; width /= 2) {
    const atStart: Known = { ranges: known.ranges, divisors: { ...known.divisors, [run.variable]: width } };
    if (
      run.size % width === 0 &&
      exampleStride % width === 0 &&
      slopeInRuns(access.offset, run.variable, width, known) === 1 &&
      slopeInRuns(access.valid, run.variable, width, known) === 0 &&
      divisorOf(access.offset, atStart) % width === 0
    )
      return width;
  }
  return 1;
};

/** Whether every value fits an int. */
export const fitsInt = (expr: Scalar, ranges: Ranges): boolean => {
  const { min, max } = rangeOf(expr, ranges);
  return min >= -(2 ** 31) && max < 2 ** 31;
};

/** The address at a place a fixed number of elements on. */
export const shifted = (offset: Scalar, by: number): Scalar => (by < 0 ? sub(offset, -by) : add(offset, by));
