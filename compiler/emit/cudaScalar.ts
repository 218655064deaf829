import type { Scalar, UnaryOp } from "../../ir/scalar.ts";
import { rangeOf } from "../../ir/scalarRange.ts";
import { assertNever, invariant } from "../diagnostics.ts";
import {
  argumentOf,
  assuming,
  commonType,
  fitsInt,
  tableOf,
  typeName,
  typeOf,
  typeTable,
  variableOf,
  type CudaScope,
  type CudaType,
  type CudaValue,
  type TypeTable,
} from "./cudaTypes.ts";
import { geluArgument } from "../../ir/scalarGelu.ts";
import { createNumbering } from "../../ir/scalarLinear.ts";

/** The expression as C++ of type `as`, to stand where a whole expression does (after `=`, `return`, `(` or `,`). */
export function printCuda(scalar: Scalar, scope: CudaScope, as: CudaType): string {
  return print(scalar, as, printerOf(scope)).text;
}

/** As above, in parentheses where the text is not a name, a number, a call or an index: for use with any operator. */
export function printCudaOperand(scalar: Scalar, scope: CudaScope, as: CudaType): string {
  return atLeast(print(scalar, as, printerOf(scope)), level.primary);
}

/** An integer in the narrowest type that holds it: for use as an array's index. */
export function printIndex(scalar: Scalar, scope: CudaScope): string {
  const printer = printerOf(scope);
  return print(scalar, typeOf(scalar, printer.types) === "long" ? "long" : "int", printer).text;
}

/** A number as a float literal: the shortest that reads back as the nearest float32. */
export function floatLiteral(value: number): string {
  if (Number.isNaN(value)) return "NAN";
  const single = Math.fround(value);
  if (!Number.isFinite(single)) return single > 0 ? "INFINITY" : "-INFINITY";
  if (single === 0) return Object.is(single, -0) ? "-0.0f" : "0.0f";
  let text = String(single);
  for (let digits = 1; digits <= 9; digits++) {
    const short = single.toPrecision(digits);
    if (Math.fround(Number(short)) === single) {
      text = String(Number(short));
      break;
    }
  }
  return `${/[.e]/.test(text) ? text : `${text}.0`}f`;
}

/** What printing one or several expressions shares; `locals` holds the expressions that have become variables. */
export type Printer = {
  readonly scope: CudaScope;
  readonly types: TypeTable;
  /** A number for each expression, the same for equal ones. */
  readonly numberOf: (scalar: Scalar) => number;
  readonly locals: Map<number, CudaValue>;
};
export const printerOf = (scope: CudaScope): Printer => ({
  scope,
  types: typeTable(scope),
  numberOf: createNumbering(),
  locals: new Map(),
});

type Printed = { readonly text: string; readonly level: number };

/** How tightly operators bind, weakest first. */
const level = { choice: 0, or: 1, and: 2, equality: 3, relation: 4, sum: 5, product: 6, unary: 7, primary: 8 } as const;
const atLeast = ({ text, level: own }: Printed, wanted: number): string => (own >= wanted ? text : `(${text})`);
const primary = (text: string): Printed => ({ text, level: level.primary });
const literal = (text: string): Printed => ({ text, level: text.startsWith("-") ? level.unary : level.primary });

export function print(scalar: Scalar, as: CudaType, printer: Printer): Printed {
  if (scalar.kind === "number") return printNumber(scalar.value, as);
  const local = printer.locals.get(printer.numberOf(scalar));
  if (local !== undefined) return convert(primary(local.text), local.type, as, scalar, printer);
  const own = typeOf(scalar, printer.types);
  return convert(printOwn(scalar, own, printer), own, as, scalar, printer);
}

function printNumber(value: number, as: CudaType): Printed {
  switch (as) {
    case "float":
      return literal(floatLiteral(value));
    case "bool":
      return primary(value === 0 ? "false" : "true");
    case "int":
    case "long":
      invariant(Number.isSafeInteger(value), `${value} is not an integer, and stands in an address`);
      return literal(Math.abs(value) < 2 ** 31 ? String(value) : `${value}ll`);
    default:
      return assertNever(as);
  }
}

function convert(plain: Printed, own: CudaType, as: CudaType, scalar: Scalar, printer: Printer): Printed {
  if (own === as) return plain;
  if (as === "bool")
    return { text: `${atLeast(plain, level.relation)} != ${own === "float" ? "0.0f" : "0"}`, level: level.equality };
  if (own === "bool" && as === "float")
    return { text: `${atLeast(plain, level.or)} ? 1.0f : 0.0f`, level: level.choice };
  if (own === "bool") return plain;
  if (own === "int" && as === "long") return plain;
  if (own === "long" && as === "int") {
    invariant(fitsInt(rangeOf(scalar, printer.types.ranges)), "an integer of 64 bits stands where an int does");
  }
  return { text: `(${typeName[as]})${atLeast(plain, level.unary)}`, level: level.unary };
}

/** The expression in its own type. */
function printOwn(scalar: Scalar, own: CudaType, printer: Printer): Printed {
  switch (scalar.kind) {
    case "number":
      return printNumber(scalar.value, own);
    case "variable":
      return literal(variableOf(scalar.name, printer.scope).text);
    case "argument":
      return literal(argumentOf(scalar.index, printer.scope).text);
    case "load":
      return primary(
        tableOf(scalar.table, printer.scope).element(scalar.index.map((index) => print(index, "int", printer).text)),
      );
    case "unary":
      return printUnary(scalar.op, scalar.of, own, printer);
    case "binary":
      return printGelu(scalar, printer) ?? printBinary(scalar, own, printer);
    case "select": {
      const condition = atLeast(print(scalar.if, "bool", printer), level.or);
      const yes = printWhere(scalar.if, true, scalar.then, own, printer);
      const no = printWhere(scalar.if, false, scalar.else, own, printer);
      return { text: `${condition} ? ${atLeast(yes, level.or)} : ${no.text}`, level: level.choice };
    }
    default:
      return assertNever(scalar);
  }
}

/** A part that is evaluated only where the condition holds, or only where it does not. */
const printWhere = (condition: Scalar, holds: boolean, part: Scalar, as: CudaType, printer: Printer): Printed =>
  print(part, as, { ...printer, types: assuming(condition, holds, printer.types) });

function printUnary(op: UnaryOp, of: Scalar, own: CudaType, printer: Printer): Printed {
  const call = (name: string, as: CudaType = "float"): Printed => primary(`${name}(${print(of, as, printer).text})`);
  const integer = own !== "float";
  switch (op) {
    case "neg": {
      const isWidened = own === "long" && typeOf(of, printer.types) !== "long";
      const text = atLeast(print(of, own, printer), isWidened ? level.unary : level.primary);
      return { text: isWidened ? `-(int64_t)${text}` : `-${text}`, level: level.unary };
    }
    case "not":
      return { text: `!${atLeast(print(of, "bool", printer), level.unary)}`, level: level.unary };
    case "abs":
      return call(own === "float" ? "fabsf" : own === "long" ? "llabs" : "abs", own);
    case "sign":
      return call("sign_of", typeOf(of, printer.types));
    case "floor":
      return integer ? print(of, own, printer) : call("floorf");
    case "ceil":
      return integer ? print(of, own, printer) : call("ceilf");
    case "round":
      return integer ? print(of, own, printer) : call("round_half_up");
    case "exp":
      return call(printer.scope.fast === true ? "fast_exp" : "expf");
    case "sigmoid":
      return call(printer.scope.fast === true ? "fast_sigmoid" : "sigmoid");
    case "rsqrt":
      return call("rsqrtf");
    case "log":
    case "sqrt":
    case "sin":
    case "cos":
    case "tanh":
    case "erf":
      return call(`${op}f`);
    default:
      return assertNever(op);
  }
}

function printBinary(scalar: Scalar & { readonly kind: "binary" }, own: CudaType, printer: Printer): Printed {
  const { op, left, right } = scalar;
  const [leftType, rightType] = [typeOf(left, printer.types), typeOf(right, printer.types)];
  // 64 bits need one operand of 64 bits: where neither has them, the first that is no literal is widened.
  const widened =
    own !== "long" || leftType === "long" || rightType === "long" ? undefined : left.kind === "number" ? right : left;
  const operand = (part: Scalar, wanted: number): string => {
    const printed = print(part, own, printer);
    return part === widened ? `(int64_t)${atLeast(printed, level.unary)}` : atLeast(printed, wanted);
  };
  const infix = (sign: string, at: number): Printed => ({
    text: `${operand(left, at)} ${sign} ${operand(right, at + 1)}`,
    level: at,
  });
  // Overloads want arguments of one type.
  const member = (part: Scalar, type: CudaType): string => {
    const printed = print(part, own, printer);
    return own === "long" && type !== "long" ? `(int64_t)${atLeast(printed, level.unary)}` : printed.text;
  };
  const both = (name: string): Printed => primary(`${name}(${member(left, leftType)}, ${member(right, rightType)})`);
  const compared = commonType(leftType, rightType);
  const comparison = (sign: string, at: number): Printed => {
    const side = (part: Scalar): string => atLeast(print(part, compared, printer), at + 1);
    return { text: `${side(left)} ${sign} ${side(right)}`, level: at };
  };
  const logic = (sign: string, at: number): Printed => {
    // Mixed `&&` and `||` are bracketed, as compilers advise.
    const side = (printed: Printed): string => atLeast(printed, printed.level === at ? at : level.equality);
    const first = side(print(left, "bool", printer));
    return { text: `${first} ${sign} ${side(printWhere(left, op === "and", right, "bool", printer))}`, level: at };
  };
  const integer = own !== "float";
  switch (op) {
    case "add": {
      if (right.kind === "number" && right.value < 0)
        return printBinary({ ...scalar, op: "sub", right: { kind: "number", value: -right.value } }, own, printer);
      return infix("+", level.sum);
    }
    case "sub":
      if (right.kind === "number" && right.value < 0)
        return printBinary({ ...scalar, op: "add", right: { kind: "number", value: -right.value } }, own, printer);
      return infix("-", level.sum);
    case "mul":
      return infix("*", level.product);
    case "div":
      return infix("/", level.product);
    case "pow":
      return printPower(left, right, printer);
    case "min":
      return both(integer ? "min" : "fminf");
    case "max":
      return both(integer ? "max" : "fmaxf");
    case "floorDiv": {
      if (!integer) return primary(`floorf(${infix("/", level.product).text})`);
      return bothPositive(left, right, printer) ? infix("/", level.product) : both("floor_div");
    }
    case "mod":
      return integer && bothPositive(left, right, printer) ? infix("%", level.product) : both("floor_mod");
    case "rem":
      return integer ? infix("%", level.product) : both("fmodf");
    case "and":
      return logic("&&", level.and);
    case "or":
      return logic("||", level.or);
    case "eq":
      return comparison("==", level.equality);
    case "ne":
      return comparison("!=", level.equality);
    case "lt":
      return comparison("<", level.relation);
    case "le":
      return comparison("<=", level.relation);
    case "gt":
      return comparison(">", level.relation);
    case "ge":
      return comparison(">=", level.relation);
    default:
      return assertNever(op);
  }
}

function printPower(base: Scalar, exponent: Scalar, printer: Printer): Printed {
  const text = print(base, "float", printer).text;
  const known = exponent.kind === "number" ? exponent.value : undefined;
  if (known === 2) return primary(`square(${text})`);
  if (known === 3) return primary(`cube(${text})`);
  if (known === 0.5) return primary(`sqrtf(${text})`);
  if (known === -0.5) return primary(`rsqrtf(${text})`);
  if (known === -1)
    return { text: `1.0f / ${atLeast(print(base, "float", printer), level.unary)}`, level: level.product };
  return primary(`powf(${text}, ${print(exponent, "float", printer).text})`);
}

/** 0.5 x (1 + erf(x / sqrt 2)) in any order of its factors: one function, which is exact or fast as a whole. */
function printGelu(scalar: Scalar, printer: Printer): Printed | undefined {
  const of = geluArgument(scalar);
  return of && primary(`${printer.scope.fast === true ? "fast_gelu" : "gelu"}(${print(of, "float", printer).text})`);
}

function bothPositive(left: Scalar, right: Scalar, printer: Printer): boolean {
  const { ranges } = printer.types;
  return rangeOf(left, ranges).min >= 0 && rangeOf(right, ranges).min > 0;
}
