import { ts } from "ts-morph";
import { type Diagnostic, diagnostic } from "../diagnostics.ts";
import type { LambdaBody, LambdaSource } from "../dsl/lambdaSource.ts";
import { placeIn, readLambda } from "./readLambda.ts";

/** Which arguments of the library's functions are read from their source. */
const lambdaArguments: ReadonlyMap<string, number> = new Map([
  ["where", 0],
  ["score", 0],
  ["pointwise", 1],
  ["combine", 2],
]);
/** Fields of `attend`'s options that are. */
const lambdaOptions: ReadonlySet<string> = new Set(["score"]);
const marker = "__foveaWithSource";

export type MarkOptions = {
  /** The author's path, as errors will name it. */
  readonly file: string;
  /** Hears of each lambda that cannot become part of a kernel. */
  readonly report: (problem: Diagnostic) => void;
  /** What an import is to be called in the emitted file; undefined leaves it. */
  readonly resolve: (specifier: string) => string | undefined;
  /** What `import.meta.url` is to be; undefined leaves it. */
  readonly url?: string;
};

/**
 * Hands the source and the captures of each lambda to the library: `where(f)` becomes `where(withSource(f, {…}, () => […]))`,
 * and so do small functions at the top of a file, which lambdas may call. Syntax alone decides, file by file. Nodes keep
 * their places, so the emitted source map points into the author's file.
 */
export const markLambdas =
  (options: MarkOptions): ts.TransformerFactory<ts.SourceFile> =>
  (context) =>
  (source) => {
    const { factory } = context;
    const { file } = options;
    const imported = importedNames(source);
    const required = new Set<ts.Node>();
    const hoisted: ts.Statement[] = [];
    let marked = false;

    const mark = (
      target: ts.Expression,
      f: ts.FunctionLikeDeclaration,
      name: string,
      isRequired: boolean,
    ): ts.Expression => {
      marked = true;
      const reading = readLambda(f, source, file);
      if (reading.kind === "refused" && isRequired) options.report(asDiagnostic(reading.refusal));
      const body: LambdaBody =
        reading.kind === "refused"
          ? { kind: "refused", refusal: reading.refusal }
          : { kind: "expression", value: reading.value, locals: reading.locals };
      const captures = reading.kind === "refused" ? [] : reading.captures;
      const lambda: LambdaSource = {
        name,
        parameters: reading.kind === "refused" ? [] : reading.parameters,
        body,
        captures: captures.map((each) => each.getText(source)),
        place: placeIn(source, file, f),
      };
      const values = factory.createArrowFunction(
        undefined,
        undefined,
        [],
        undefined,
        undefined,
        factory.createArrayLiteralExpression([...captures]),
      );
      return factory.createCallExpression(factory.createIdentifier(marker), undefined, [
        target,
        literal(factory, lambda),
        values,
      ]);
    };

    const visit = (node: ts.Node): ts.Node => {
      if (ts.isCallExpression(node)) for (const lambda of lambdasOf(node, imported)) required.add(lambda);
      if (isFunction(node)) {
        if (required.has(node)) return mark(node, node, "", true);
        const { parent } = node;
        if (
          ts.isVariableDeclaration(parent) &&
          parent.initializer === node &&
          ts.isIdentifier(parent.name) &&
          isSmall(node)
        )
          return mark(ts.visitEachChild(node, visit, context), node, parent.name.text, false);
      }
      if (ts.isFunctionDeclaration(node) && node.name !== undefined && node.parent === source && isSmall(node))
        hoisted.push(
          factory.createExpressionStatement(
            mark(factory.createIdentifier(node.name.text), node, node.name.text, false),
          ),
        );
      if (
        options.url !== undefined &&
        ts.isPropertyAccessExpression(node) &&
        ts.isMetaProperty(node.expression) &&
        node.name.text === "url"
      )
        return factory.createStringLiteral(options.url);
      return redirect(node) ?? ts.visitEachChild(node, visit, context);
    };

    const redirect = (node: ts.Node): ts.Node | undefined => {
      if (ts.isImportDeclaration(node) && ts.isStringLiteral(node.moduleSpecifier)) {
        const to = options.resolve(node.moduleSpecifier.text);
        if (to !== undefined)
          return factory.updateImportDeclaration(
            node,
            node.modifiers,
            node.importClause,
            factory.createStringLiteral(to),
            node.attributes,
          );
      }
      if (
        ts.isExportDeclaration(node) &&
        node.moduleSpecifier !== undefined &&
        ts.isStringLiteral(node.moduleSpecifier)
      ) {
        const to = options.resolve(node.moduleSpecifier.text);
        if (to !== undefined)
          return factory.updateExportDeclaration(
            node,
            node.modifiers,
            node.isTypeOnly,
            node.exportClause,
            factory.createStringLiteral(to),
            node.attributes,
          );
      }
      return undefined;
    };

    const result = ts.visitEachChild(source, visit, context);
    if (!marked) return result;
    const specifier = factory.createImportSpecifier(
      false,
      factory.createIdentifier("withSource"),
      factory.createIdentifier(marker),
    );
    const importing = factory.createImportDeclaration(
      undefined,
      factory.createImportClause(undefined, undefined, factory.createNamedImports([specifier])),
      factory.createStringLiteral(options.resolve("fovea") ?? "fovea"),
    );
    return factory.updateSourceFile(result, [importing, ...hoisted, ...result.statements]);
  };

/** The functions among a call's arguments that the library reads. */
function lambdasOf(call: ts.CallExpression, imported: Imported): readonly ts.Node[] {
  const name = calledName(call.expression, imported);
  if (name === undefined) return [];
  const index = lambdaArguments.get(name);
  const lambda = index === undefined ? undefined : call.arguments[index];
  if (lambda !== undefined) return [lambda].filter(isFunction);
  if (name !== "attend") return [];
  return call.arguments.flatMap((options) =>
    ts.isObjectLiteralExpression(options)
      ? options.properties.flatMap((property) =>
          ts.isPropertyAssignment(property) && ts.isIdentifier(property.name) && lambdaOptions.has(property.name.text)
            ? [property.initializer].filter(isFunction)
            : [],
        )
      : [],
  );
}

/** Local names of what a file imports from the library, and of the library as a whole. */
type Imported = { readonly names: ReadonlyMap<string, string>; readonly namespaces: ReadonlySet<string> };
function importedNames(source: ts.SourceFile): Imported {
  const names = new Map<string, string>();
  const namespaces = new Set<string>();
  for (const statement of source.statements) {
    if (
      !ts.isImportDeclaration(statement) ||
      !ts.isStringLiteral(statement.moduleSpecifier) ||
      statement.moduleSpecifier.text !== "fovea"
    )
      continue;
    const bindings = statement.importClause?.namedBindings;
    if (bindings === undefined) continue;
    if (ts.isNamespaceImport(bindings)) namespaces.add(bindings.name.text);
    else for (const { name, propertyName } of bindings.elements) names.set(name.text, (propertyName ?? name).text);
  }
  return { names, namespaces };
}
function calledName(callee: ts.Expression, { names, namespaces }: Imported): string | undefined {
  if (ts.isIdentifier(callee)) return names.get(callee.text);
  const isOfLibrary =
    ts.isPropertyAccessExpression(callee) &&
    ts.isIdentifier(callee.expression) &&
    namespaces.has(callee.expression.text);
  return isOfLibrary ? callee.name.text : undefined;
}

const isFunction = (node: ts.Node): node is ts.ArrowFunction | ts.FunctionExpression =>
  ts.isArrowFunction(node) || ts.isFunctionExpression(node);

/** Whether a lambda may want to call it: parameters, a short body, no async. */
const isSmall = (f: ts.FunctionLikeDeclaration): boolean =>
  f.parameters.length > 0 &&
  f.body !== undefined &&
  (!ts.isBlock(f.body) || f.body.statements.length <= 12) &&
  !(ts.canHaveModifiers(f) && ts.getModifiers(f)?.some(({ kind }) => kind === ts.SyntaxKind.AsyncKeyword) === true);

function asDiagnostic({ code, what, hint, place }: Extract<LambdaBody, { kind: "refused" }>["refusal"]): Diagnostic {
  return code === "unsupported-function"
    ? diagnostic(code, { name: what }, { span: place, hint })
    : diagnostic(code, { what }, { span: place, hint });
}

/** Data as an expression of the language. */
function literal(factory: ts.NodeFactory, value: unknown): ts.Expression {
  switch (typeof value) {
    case "number":
      if (value === Infinity) return factory.createIdentifier("Infinity");
      return value < 0
        ? factory.createPrefixUnaryExpression(ts.SyntaxKind.MinusToken, factory.createNumericLiteral(-value))
        : factory.createNumericLiteral(value);
    case "boolean":
      return value ? factory.createTrue() : factory.createFalse();
    case "string":
      return factory.createStringLiteral(value);
    default:
      if (Array.isArray(value))
        return factory.createArrayLiteralExpression(value.map((each: unknown) => literal(factory, each)));
      return factory.createObjectLiteralExpression(
        Object.entries(value ?? {}).map(([name, field]: [string, unknown]) =>
          factory.createPropertyAssignment(name, literal(factory, field)),
        ),
      );
  }
}
