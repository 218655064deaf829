import { ts } from "ts-morph";
import {
  type LambdaExpr,
  type LambdaOperator,
  lambdaOperators,
  type MathFunction,
  mathFunctions,
  type Refusal,
  type SourcePlace,
} from "../dsl/lambdaSource.ts";
import { didYouMean } from "../diagnostics.ts";

/** What a function's text says, or what in it cannot become part of a kernel. */
export type Reading =
  | {
      readonly kind: "read";
      readonly parameters: readonly string[];
      readonly value: LambdaExpr;
      readonly locals: readonly LambdaExpr[];
      /** Free expressions, to be evaluated where the function stands. */
      readonly captures: readonly ts.Expression[];
    }
  | { readonly kind: "refused"; readonly refusal: Refusal };

const K = ts.SyntaxKind;
const operators = new Set<string>(lambdaOperators);
const math = new Set<string>(mathFunctions);

class Refused extends Error {
  readonly refusal: Refusal;
  constructor(refusal: Refusal) {
    super(refusal.what);
    this.refusal = refusal;
  }
}

/** Reads a function's syntax alone: no types, no other file. `file` is the author's path, as errors will name it. */
export function readLambda(f: ts.FunctionLikeDeclaration, source: ts.SourceFile, file: string): Reading {
  try {
    return new LambdaReader(source, file).read(f);
  } catch (error) {
    if (error instanceof Refused) return { kind: "refused", refusal: error.refusal };
    throw error;
  }
}

export function placeIn(source: ts.SourceFile, file: string, node: ts.Node): SourcePlace {
  const start = node.getStart(source);
  const { line, character } = source.getLineAndCharacterOfPosition(start);
  return { file, line: line + 1, column: character + 1, length: node.getEnd() - start };
}

/** The scope of one function while it is read. */
class LambdaReader {
  readonly #source: ts.SourceFile;
  readonly #file: string;
  readonly #scope = new Map<string, LambdaExpr>();
  readonly #locals: LambdaExpr[] = [];
  readonly #captures: ts.Expression[] = [];
  readonly #captureTexts = new Map<string, number>();

  constructor(source: ts.SourceFile, file: string) {
    this.#source = source;
    this.#file = file;
  }

  read(f: ts.FunctionLikeDeclaration): Reading {
    const { body } = f;
    if (body === undefined) return this.#refuse(f, "a function without a body");
    const modifier = ts.canHaveModifiers(f)
      ? ts.getModifiers(f)?.find(({ kind }) => kind === K.AsyncKeyword)
      : undefined;
    if (modifier !== undefined || f.asteriskToken !== undefined)
      this.#refuse(modifier ?? f, "an async function or a generator");
    const parameters = f.parameters.map((each, index) => this.#bind(each, index));
    const value = ts.isBlock(body) ? this.#statements(body.statements, f) : this.#expression(body);
    return { kind: "read", parameters, value, locals: this.#locals, captures: this.#captures };
  }

  #bind(parameter: ts.ParameterDeclaration, index: number): string {
    const { name } = parameter;
    if (parameter.dotDotDotToken !== undefined) this.#refuse(parameter, "a rest parameter", "name each parameter");
    if (parameter.initializer !== undefined)
      this.#refuse(parameter, "a parameter with a default", "hand the value over where the function is called");
    const whole: LambdaExpr = { kind: "parameter", index };
    if (ts.isIdentifier(name)) {
      this.#scope.set(name.text, whole);
      return name.text;
    }
    if (ts.isArrayBindingPattern(name))
      return this.#refuse(name, "an array pattern", "name the parameter, and index it");
    this.#bindFields(name, whole);
    return `parameter${index}`;
  }

  #bindFields(pattern: ts.ObjectBindingPattern, of: LambdaExpr): void {
    for (const element of pattern.elements) {
      const field = element.propertyName ?? element.name;
      if (
        !ts.isIdentifier(element.name) ||
        !ts.isIdentifier(field) ||
        element.initializer !== undefined ||
        element.dotDotDotToken !== undefined
      )
        return this.#refuse(element, "this pattern", "name each coordinate: ({ h, w }, k) => ...");
      this.#scope.set(element.name.text, { kind: "field", of, name: field.text, place: this.#place(element) });
    }
  }

  /** What a run of statements returns. */
  #statements(list: readonly ts.Statement[], whole: ts.Node): LambdaExpr {
    const [first, ...rest] = list;
    if (first === undefined)
      return this.#refuse(whole, "a function that does not return on every path", "end each path with return");
    if (ts.isReturnStatement(first))
      return first.expression === undefined
        ? this.#refuse(first, "a return without a value")
        : this.#expression(first.expression);
    if (ts.isBlock(first)) return this.#statements([...first.statements, ...rest], whole);
    if (ts.isIfStatement(first)) {
      const otherwise = first.elseStatement === undefined ? rest : [first.elseStatement, ...rest];
      return {
        kind: "choose",
        if: this.#expression(first.expression),
        then: this.#branch([first.thenStatement, ...rest], first),
        else: this.#branch(otherwise, whole),
      };
    }
    if (ts.isVariableStatement(first)) {
      this.#declare(first);
      return this.#statements(rest, whole);
    }
    if (ts.isIterationStatement(first, false))
      return this.#refuse(first, "a loop", "write the terms out, or put the numbers in an array outside and index it");
    if (ts.isExpressionStatement(first)) {
      this.#expression(first.expression);
      return this.#refuse(first, "a statement without effect", "name a value with const, or return it");
    }
    return this.#refuse(first, `a ${kindName(first, "Statement")} statement`, "a lambda is const, if and return");
  }
  /** Names of a branch end with it. */
  #branch(list: readonly ts.Statement[], whole: ts.Node): LambdaExpr {
    const outer = new Map(this.#scope);
    const value = this.#statements(list, whole);
    this.#scope.clear();
    for (const [name, meaning] of outer) this.#scope.set(name, meaning);
    return value;
  }

  #declare(statement: ts.VariableStatement): void {
    const { declarationList } = statement;
    if ((declarationList.flags & ts.NodeFlags.Const) === 0)
      this.#refuse(statement, "a variable that can change", "use const, and ?: to choose a value");
    for (const { name, initializer } of declarationList.declarations) {
      if (initializer === undefined) this.#refuse(name, "a constant without a value");
      const local: LambdaExpr = { kind: "local", index: this.#locals.push(this.#expression(initializer)) - 1 };
      if (ts.isIdentifier(name)) this.#scope.set(name.text, local);
      else if (ts.isObjectBindingPattern(name)) this.#bindFields(name, local);
      else this.#refuse(name, "an array pattern", "name each number with const");
    }
  }

  #expression(e: ts.Expression): LambdaExpr {
    if (
      ts.isParenthesizedExpression(e) ||
      ts.isAsExpression(e) ||
      ts.isNonNullExpression(e) ||
      ts.isSatisfiesExpression(e)
    )
      return this.#expression(e.expression);
    if (ts.isNumericLiteral(e)) return { kind: "number", value: Number(e.text.replaceAll("_", "")) };
    if (e.kind === K.TrueKeyword || e.kind === K.FalseKeyword)
      return { kind: "boolean", value: e.kind === K.TrueKeyword };
    if (ts.isIdentifier(e)) return this.#identifier(e);
    if (ts.isPropertyAccessExpression(e)) return this.#property(e);
    if (ts.isElementAccessExpression(e)) {
      if (this.#isFree(e)) return this.#capture(e);
      return {
        kind: "element",
        of: this.#expression(e.expression),
        index: this.#index(e.argumentExpression),
        place: this.#place(e),
      };
    }
    if (ts.isPrefixUnaryExpression(e)) return this.#prefixed(e);
    if (ts.isPostfixUnaryExpression(e)) return this.#refuse(e, "an assignment", "name each step with const");
    if (ts.isConditionalExpression(e))
      return {
        kind: "choose",
        if: this.#expression(e.condition),
        then: this.#expression(e.whenTrue),
        else: this.#expression(e.whenFalse),
      };
    if (ts.isBinaryExpression(e)) return this.#binary(e);
    if (ts.isCallExpression(e)) return this.#call(e);
    if (e.kind === K.ThisKeyword) return this.#capture(e);
    return this.#refuseExpression(e);
  }

  #identifier(e: ts.Identifier): LambdaExpr {
    const bound = this.#scope.get(e.text);
    if (bound !== undefined) return bound;
    if (e.text === "Infinity") return { kind: "number", value: Infinity };
    if (e.text === "undefined" || e.text === "NaN") return this.#refuse(e, `"${e.text}"`, "give a number");
    return this.#capture(e);
  }

  #property(e: ts.PropertyAccessExpression): LambdaExpr {
    if (e.questionDotToken !== undefined) this.#refuse(e, `"?."`, "a kernel has no undefined");
    if (ts.isIdentifier(e.expression) && e.expression.text === "Math" && !this.#scope.has("Math")) {
      const value: unknown = Reflect.get(Math, e.name.text);
      if (typeof value === "number") return { kind: "number", value };
    }
    if (this.#isFree(e)) return this.#capture(e);
    return { kind: "field", of: this.#expression(e.expression), name: e.name.text, place: this.#place(e) };
  }

  /** An index may also be the name of an axis: `q["h"]`, read as a field. */
  #index(e: ts.Expression): LambdaExpr {
    return ts.isStringLiteralLike(e) ? this.#capture(e) : this.#expression(e);
  }

  #prefixed(e: ts.PrefixUnaryExpression): LambdaExpr {
    switch (e.operator) {
      case K.MinusToken:
        return { kind: "unary", op: "-", of: this.#expression(e.operand) };
      case K.PlusToken:
        return { kind: "unary", op: "+", of: this.#expression(e.operand) };
      case K.ExclamationToken:
        return { kind: "unary", op: "!", of: this.#expression(e.operand) };
      case K.TildeToken:
        return this.#refuse(e, `"~"`, "Math.floor(x / n) and mod(x, n) take numbers apart");
      default:
        return this.#refuse(e, "an assignment", "name each step with const");
    }
  }

  #binary(e: ts.BinaryExpression): LambdaExpr {
    const sign = e.operatorToken.getText(this.#source);
    if (operators.has(sign))
      return {
        kind: "binary",
        op: sign as LambdaOperator,
        left: this.#expression(e.left),
        right: this.#expression(e.right),
      };
    if (sign === "==" || sign === "!=") return this.#refuse(e.operatorToken, `"${sign}"`, `write "${sign}="`);
    if (sign === "&" || sign === "|" || sign === "^" || sign === ">>>")
      return this.#refuse(e.operatorToken, `"${sign}"`, "Math.floor(x / n) and mod(x, n) take numbers apart");
    if (sign.endsWith("=")) return this.#refuse(e, "an assignment", "name each step with const");
    return this.#refuse(e.operatorToken, `"${sign}"`);
  }

  #call(e: ts.CallExpression): LambdaExpr {
    const { expression: callee } = e;
    if (e.questionDotToken !== undefined) this.#refuse(e, `"?."`, "a kernel has no undefined");
    for (const each of e.arguments)
      if (ts.isSpreadElement(each)) this.#refuse(each, "a spread argument", "write the arguments out");
    if (ts.isPropertyAccessExpression(callee)) {
      const name = callee.name.text;
      if (ts.isIdentifier(callee.expression) && callee.expression.text === "Math" && !this.#scope.has("Math"))
        return {
          kind: "math",
          name: this.#mathName(callee),
          arguments: e.arguments.map((each) => this.#expression(each)),
        };
      if (name === "at" || name === "of" || name === "element")
        return {
          kind: "read",
          method: name,
          of: this.#expression(callee.expression),
          arguments: e.arguments.map((each) => this.#expression(each)),
          place: this.#place(e),
        };
      if (callee.expression.kind === K.ThisKeyword || !this.#isFree(callee))
        this.#refuse(
          callee,
          callee.getText(this.#source),
          "make it a function: const f = (x: number) => ...",
          "unsupported-function",
        );
    }
    if (!this.#isFree(callee)) return this.#refuse(callee, callee.getText(this.#source), "", "unsupported-function");
    if (ts.isIdentifier(callee) ? globals.has(callee.text) : globals.has(rootOf(callee)))
      return this.#refuse(
        callee,
        callee.getText(this.#source),
        "a kernel calls functions of the model's own files, and Math",
        "unsupported-function",
      );
    return {
      kind: "call",
      callee: this.#capture(callee),
      arguments: e.arguments.map((each) => this.#expression(each)),
      place: this.#place(e),
    };
  }

  #mathName(callee: ts.PropertyAccessExpression): MathFunction {
    const name = callee.name.text;
    if (math.has(name)) return name as MathFunction;
    const hint =
      name === "random"
        ? "a kernel gives the same result on each run: hand random numbers in as an input"
        : didYouMean(name, math) || `Math has ${mathFunctions.join(", ")}`;
    return this.#refuse(callee, `Math.${name}`, hint, "unsupported-function");
  }

  /** Whether an expression names only what lies outside of the function: `size`, `this.config.heads`, `names[0]`. */
  #isFree(e: ts.Expression): boolean {
    if (e.kind === K.ThisKeyword || ts.isNumericLiteral(e) || ts.isStringLiteralLike(e)) return true;
    if (ts.isIdentifier(e)) return !this.#scope.has(e.text);
    if (ts.isElementAccessExpression(e)) return this.#isFree(e.expression) && this.#isFree(e.argumentExpression);
    if (
      ts.isPropertyAccessExpression(e) ||
      ts.isNonNullExpression(e) ||
      ts.isParenthesizedExpression(e) ||
      ts.isAsExpression(e)
    )
      return this.#isFree(e.expression);
    return false;
  }

  #capture(e: ts.Expression): LambdaExpr {
    const text = e.getText(this.#source);
    let index = this.#captureTexts.get(text);
    if (index === undefined) {
      index = this.#captures.push(e) - 1;
      this.#captureTexts.set(text, index);
    }
    return { kind: "capture", index, place: this.#place(e) };
  }

  #refuseExpression(e: ts.Expression): never {
    if (ts.isStringLiteralLike(e) || ts.isTemplateExpression(e))
      return this.#refuse(e, "a string", "a kernel computes with numbers");
    if (ts.isArrowFunction(e) || ts.isFunctionExpression(e))
      return this.#refuse(e, "a function within a lambda", "move it out: const f = (x: number) => ...");
    if (ts.isObjectLiteralExpression(e)) return this.#refuse(e, "an object", "name each number with const");
    if (ts.isArrayLiteralExpression(e)) return this.#refuse(e, "an array", "put it outside of the lambda and index it");
    if (ts.isAwaitExpression(e)) return this.#refuse(e, "await");
    return this.#refuse(e, `this ${kindName(e, "Expression")} expression`);
  }

  #refuse(node: ts.Node, what: string, hint = "", code: Refusal["code"] = "unsupported-syntax"): never {
    throw new Refused({ code, what, hint, place: this.#place(node) });
  }
  #place(node: ts.Node): SourcePlace {
    return placeIn(this.#source, this.#file, node);
  }
}

/** Functions of the language that no kernel can call, told apart from the author's own. */
const globals = new Set([
  "console",
  "Number",
  "String",
  "Boolean",
  "Date",
  "JSON",
  "Object",
  "Array",
  "BigInt",
  "parseInt",
  "parseFloat",
  "isNaN",
  "process",
  "performance",
]);
function rootOf(e: ts.Expression): string {
  if (ts.isIdentifier(e)) return e.text;
  return ts.isPropertyAccessExpression(e) || ts.isElementAccessExpression(e) ? rootOf(e.expression) : "";
}

const kindName = (node: ts.Node, ending: string): string =>
  (K[node.kind] ?? "")
    .replace(new RegExp(`${ending}$`), "")
    .replaceAll(/([a-z])([A-Z])/g, "$1 $2")
    .toLowerCase();
