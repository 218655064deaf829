import { binary, literal, not, select, unary } from "./scalarBuild.ts";
import { compareForms, isComparison } from "./scalarCompare.ts";
import { divideForm, moduloForm, recombine } from "./scalarDivide.ts";
import {
  addScaled,
  atomForm,
  constantForm,
  createNumbering,
  fromForm,
  type Linear,
  type LinearContext,
  rangeOfForm,
  scale,
} from "./scalarLinear.ts";
import { isBoolean } from "./scalarMeaning.ts";
import { type Interval, isInteger, rangeOf, type Ranges } from "./scalarRange.ts";
import { refineRanges } from "./scalarRefine.ts";
import { childrenOf, rebuild } from "./scalarWalk.ts";
import type { BinaryOp, Scalar } from "./scalar.ts";

/**
 * An equal expression, simpler: integers in linear normal form with quotients and remainders resolved as far as the
 * ranges tell, comparisons decided or in lowest terms, choices made. Equal wherever the variables are in range (and
 * `given` holds, if one is given). What is not an integer only has its parts simplified.
 */
export const simplify = (expr: Scalar, ranges: Ranges, given?: Scalar): Scalar => {
  const plain = createSimplifier(ranges, createNumbering());
  if (given === undefined) return plain.simplified(expr);
  const refined = refineRanges(ranges, plain.simplified(given), true, plain);
  return createSimplifier(refined, createNumbering()).simplified(expr);
};

/** What the variables may be where a condition holds, or where it fails; the same object where it tells nothing. */
export const rangesWhere = (condition: Scalar, holds: boolean, ranges: Ranges): Ranges => {
  const plain = createSimplifier(ranges, createNumbering());
  return refineRanges(ranges, plain.simplified(condition), holds, plain);
};

/** The linear normal form of an integer expression. */
export const linearForm = (expr: Scalar, ranges: Ranges): Linear => {
  const simplifier = createSimplifier(ranges, createNumbering());
  return simplifier.linearOf(expr);
};

type Simplifier = LinearContext & { readonly simplified: (expr: Scalar) => Scalar };

const createSimplifier = (ranges: Ranges, idOf: (expr: Scalar) => number): Simplifier => {
  const done = new Map<number, Scalar>();
  const forms = new Map<number, Linear>();
  const atomRanges = new Map<Scalar, Interval>();

  const simplified = (expr: Scalar): Scalar => {
    const id = idOf(expr);
    const known = done.get(id);
    if (known !== undefined) return known;
    const simple = isInteger(expr, ranges) ? fromForm(linearOf(expr)) : simplifyOther(expr);
    done.set(id, simple);
    done.set(idOf(simple), simple);
    return simple;
  };

  const linearOf = (expr: Scalar): Linear => {
    const id = idOf(expr);
    const known = forms.get(id);
    if (known !== undefined) return known;
    const form = recombine(makeForm(expr), context);
    forms.set(id, form);
    return form;
  };

  const rangeOfAtom = (atom: Scalar): Interval => {
    const known = atomRanges.get(atom);
    if (known !== undefined) return known;
    const range = rangeOf(atom, ranges);
    atomRanges.set(atom, range);
    return range;
  };

  const asAtom = (expr: Scalar): Linear => atomForm(expr, context);

  const makeForm = (expr: Scalar): Linear => {
    switch (expr.kind) {
      case "number":
        return constantForm(expr.value);
      case "variable": {
        const range = rangeOfAtom(expr);
        return range.min === range.max ? constantForm(range.min) : asAtom(expr);
      }
      case "argument":
      case "load":
        return asAtom(simplifyOther(expr));
      case "unary":
        return unaryForm(expr);
      case "binary":
        return binaryForm(expr);
      case "select":
        return selectForm(expr);
    }
  };

  const unaryForm = (expr: Scalar & { readonly kind: "unary" }): Linear => {
    if (expr.op === "not") return asAtom(negated(simplified(expr.of)));
    if (!isInteger(expr.of, ranges)) return asAtom(unary(expr.op, simplified(expr.of)));
    const of = linearOf(expr.of);
    const range = rangeOfForm(of, context);
    switch (expr.op) {
      case "neg":
        return scale(of, -1);
      case "floor":
      case "ceil":
      case "round":
        return of;
      case "abs":
        if (range.min >= 0) return of;
        return range.max <= 0 ? scale(of, -1) : asAtom(unary("abs", fromForm(of)));
      default:
        return asAtom(unary(expr.op, fromForm(of)));
    }
  };

  const binaryForm = (expr: Scalar & { readonly kind: "binary" }): Linear => {
    const { op } = expr;
    if (op === "and" || op === "or") return asAtom(junction(op, expr));
    if (!isInteger(expr.left, ranges) || !isInteger(expr.right, ranges)) {
      return asAtom(decided(binary(op, simplified(expr.left), simplified(expr.right))));
    }
    const left = linearOf(expr.left);
    const right = linearOf(expr.right);
    if (isComparison(op)) return asAtom(compareForms(op, left, right, context));
    switch (op) {
      case "add":
        return addScaled(left, right, 1);
      case "sub":
        return addScaled(left, right, -1);
      case "mul":
        if (right.terms.length === 0) return scale(left, right.constant);
        if (left.terms.length === 0) return scale(right, left.constant);
        break;
      case "min":
      case "max": {
        const { min, max } = rangeOfForm(addScaled(left, right, -1), context);
        if (max <= 0) return op === "min" ? left : right;
        if (min >= 0) return op === "min" ? right : left;
        return withCommonTermsOutside(left, right, (a, b) => binary(op, a, b));
      }
      case "floorDiv":
      case "mod":
      case "rem": {
        const divisor = right.terms.length === 0 ? right.constant : 0;
        const form = divisor === 0 ? undefined : divisionForm(op, left, divisor);
        if (form !== undefined) return form;
        break;
      }
    }
    return asAtom(binary(op, fromForm(left), fromForm(right)));
  };

  /** Division by a number that is not 0, as one by a positive number; undefined for a remainder of unknown sign. */
  const divisionForm = (op: "floorDiv" | "mod" | "rem", form: Linear, divisor: number): Linear | undefined => {
    const size = Math.abs(divisor);
    if (op === "rem") {
      const range = rangeOfForm(form, context);
      if (range.min >= 0) return moduloForm(form, size, context);
      return range.max <= 0 ? scale(moduloForm(scale(form, -1), size, context), -1) : undefined;
    }
    const numerator = divisor < 0 ? scale(form, -1) : form;
    if (op === "floorDiv") return divideForm(numerator, size, context);
    return scale(moduloForm(numerator, size, context), Math.sign(divisor));
  };

  /** Each side of a choice is simplified under the condition it is taken on. */
  const branches = (expr: Scalar & { readonly kind: "select" }): Scalar => {
    const condition = simplified(expr.if);
    if (condition.kind === "number") return simplified(condition.value === 0 ? expr.else : expr.then);
    const under = (holds: boolean, side: Scalar): Scalar => {
      const refined = refineRanges(ranges, condition, holds, context);
      return refined === ranges ? simplified(side) : createSimplifier(refined, idOf).simplified(side);
    };
    const then = under(true, expr.then);
    const otherwise = under(false, expr.else);
    if (idOf(then) === idOf(otherwise)) return then;
    return select(condition, then, otherwise);
  };

  const selectForm = (expr: Scalar & { readonly kind: "select" }): Linear => {
    const chosen = branches(expr);
    if (chosen.kind !== "select") return linearOf(chosen);
    return withCommonTermsOutside(linearOf(chosen.then), linearOf(chosen.else), (then, otherwise) =>
      select(chosen.if, then, otherwise),
    );
  };

  /** What both operands add alike is added to the result instead: `c ? a + x : b + x` is `x + (c ? a : b)`. */
  const withCommonTermsOutside = (a: Linear, b: Linear, combine: (a: Scalar, b: Scalar) => Scalar): Linear => {
    const inBoth = a.terms.filter((term) =>
      b.terms.some(({ id, coefficient }) => id === term.id && coefficient === term.coefficient),
    );
    const common = { constant: 0, terms: inBoth };
    return addScaled(
      common,
      asAtom(combine(fromForm(addScaled(a, common, -1)), fromForm(addScaled(b, common, -1)))),
      1,
    );
  };

  const junction = (op: "and" | "or", expr: Scalar): Scalar => {
    const parts = new Map(flatten(op, expr).map((part) => [idOf(part), part]));
    const deciding = op === "and" ? 0 : 1;
    const open = [...parts.values()].filter((part) => part.kind !== "number");
    if ([...parts.values()].some((part) => part.kind === "number" && (part.value === 0 ? 0 : 1) === deciding)) {
      return literal(deciding);
    }
    const [first, ...rest] = open;
    return first === undefined
      ? literal(1 - deciding)
      : rest.reduce<Scalar>((all, part) => binary(op, all, part), first);
  };

  const flatten = (op: BinaryOp, expr: Scalar): readonly Scalar[] => {
    if (expr.kind === "binary" && expr.op === op) return [...flatten(op, expr.left), ...flatten(op, expr.right)];
    const part = simplified(expr);
    return part.kind === "binary" && part.op === op ? flatten(op, part) : [part];
  };

  const negated = (condition: Scalar): Scalar => {
    if (condition.kind === "binary" && isInteger(condition.left, ranges) && isInteger(condition.right, ranges)) {
      const opposite = opposites[condition.op];
      if (opposite !== undefined) return simplified(binary(opposite, condition.left, condition.right));
    }
    return not(condition);
  };

  const decided = (condition: Scalar): Scalar => {
    if (!isBoolean(condition)) return condition;
    const range = rangeOf(condition, ranges);
    return range.min === range.max ? literal(range.min) : condition;
  };

  const simplifyOther = (expr: Scalar): Scalar =>
    expr.kind === "select" ? branches(expr) : rebuild(expr, childrenOf(expr).map(simplified));

  const context: Simplifier = { ranges, idOf, linearOf, rangeOfAtom, simplified };
  return context;
};

/** Of integers, which NaN is not among. */
const opposites: { readonly [O in BinaryOp]?: BinaryOp } = {
  lt: "ge",
  le: "gt",
  gt: "le",
  ge: "lt",
  eq: "ne",
  ne: "eq",
};
