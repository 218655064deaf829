import { literal, select, variable } from "../../ir/scalarBuild.ts";
import { rangeOf } from "../../ir/scalarRange.ts";
import type { Scalar } from "../../ir/scalar.ts";
import { invariant } from "../diagnostics.ts";
import { rowBytes } from "../schedule/attention/tiles.ts";
import { bytesOf } from "../../ir/types.ts";
import { constantOf, tokenRanges, withoutConstant, type Part, type Role, type RowAccess } from "./attentionAccess.ts";
import {
  cudaElement,
  functionText,
  isTrue,
  mayLack,
  needOfToken,
  tokenName,
  tokenScope,
  tokenType,
  typeOfSide,
  type JobText,
  type SideName,
} from "./attentionText.ts";
import { floatLiteral, printCuda } from "./cudaScalar.ts";
import { fitsInt } from "./cudaTypes.ts";

/** How rows are moved between global and shared memory. */
export type RowsView = {
  readonly token: "query" | "key";
  readonly tokenType: "Query" | "Key";
  /** Row by row through `function`, which gives an address; else element by element. */
  readonly byRow: boolean;
  readonly rowBytes: number;
  readonly copy: string;
  readonly columns: number;
  readonly function: string;
  /** Whether the token has a row. */
  readonly live: string;
};

/** Prints what forms the addresses of a role. `partner`: elements from a row to its partner's, which is copied with it. */
export const rowsView = (text: JobText, access: RowAccess, columns: number, partner?: number): RowsView => {
  const { kernel } = text;
  const { role, granule } = access;
  const side: SideName = role === "q" || role === "out" ? "q" : "k";
  const width = bytesOf[kernel.precision];
  const parts = partner === undefined ? "" : `, 2, ${partner * width}`;
  const byRow = granule !== null;
  const live = byRow ? rowFunction(text, access, side) : elementFunction(text, access, side);
  return {
    token: tokenName(side),
    tokenType: tokenType(side),
    byRow,
    rowBytes: rowBytes(columns, kernel.precision),
    copy: `RowCopy<${columns * width}, ${granule ?? 0}${parts}>`,
    columns,
    function: `${role}_${byRow ? "row" : "element"}`,
    live,
  };
};

const isSplit = ({ plan }: JobText, role: Role): boolean => plan.valueParts > 1 && (role === "v" || role === "out");
const columnsOf = ({ kernel }: JobText, role: Role): number =>
  role === "v" || role === "out" ? kernel.valueDim : kernel.headDim;

const partOf = (access: RowAccess, kind: "grid" | "prefix"): Part => {
  const part = access[kind];
  invariant(part !== null, `the ${kind} tokens of ${access.role} have no place`);
  return part;
};

/** The pointer of the thread block that the rows of a part are counted from. */
const pointerOf = (text: JobText, access: RowAccess, kind: "grid" | "prefix", constant: number): string => {
  const { kernel, pointers } = text;
  const { role, grid } = access;
  const part = partOf(access, kind);
  const shares = grid === null || (grid.operand === part.operand && grid.headStep === part.headStep);
  const name = shares ? role : `${role}_prefix`;
  if (pointers.has(name)) return name;
  const stride = kernel.operands[part.operand]?.exampleStride ?? 0;
  const terms = [
    text.operandNames.get(part.operand) ?? "?",
    ...(kernel.batched && stride > 0 ? [`example * ${stride}`] : []),
    ...((part.headStep ?? 0) > 0 && kernel.heads > 1 ? [`head * ${part.headStep}`] : []),
    ...(constant === 0 ? [] : [String(constant)]),
    ...(access.granule !== null && isSplit(text, role) ? ["column"] : []),
  ];
  const type = `${role === "out" ? "" : "const "}${cudaElement[part.storage]}*`;
  pointers.set(name, { type, name, value: terms.join(" + ") });
  return name;
};

/** Prints `ROLE_row`; returns the condition that there is a row. */
const rowFunction = (text: JobText, access: RowAccess, side: SideName): string => {
  const { kernel, needs, functions } = text;
  const { role, grid, prefix } = access;
  const token = tokenName(side);
  const ranges = tokenRanges(typeOfSide(kernel, side), kernel.heads, columnsOf(text, role));
  const scope = tokenScope(text, side, columnsOf(text, role));
  const parts = [grid, prefix].flatMap((part) => (part === null ? [] : [part]));
  const constant = Math.min(...parts.map((part) => constantOf(part, ranges)));
  const at = (kind: "grid" | "prefix"): { readonly base: string; readonly offset: string } => {
    const base = pointerOf(text, access, kind, constant);
    const offset = withoutConstant(partOf(access, kind), constant, ranges);
    needOfToken(text, side, offset);
    return { base, offset: printCuda(offset, scope, fitsInt(rangeOf(offset, ranges)) ? "int" : "long") };
  };
  const lines: string[] = [];
  if (grid !== null && prefix !== null) {
    needs[side].add("isPrefix");
    const [ofGrid, ofPrefix] = [at("grid"), at("prefix")];
    if (ofGrid.base === ofPrefix.base)
      lines.push(`return block.${ofGrid.base} + (${token}.is_prefix ? ${ofPrefix.offset} : ${ofGrid.offset});`);
    else
      lines.push(
        `if (${token}.is_prefix) return block.${ofPrefix.base} + (${ofPrefix.offset});`,
        `return block.${ofGrid.base} + (${ofGrid.offset});`,
      );
  } else {
    const { base, offset } = at(grid === null ? "prefix" : "grid");
    lines.push(offset === "0" ? `return block.${base};` : `return block.${base} + (${offset});`);
  }
  const type = `${role === "out" ? "" : "const "}${cudaElement[kernel.precision]}*`;
  const parameters = `const Block& block, const ${tokenType(side)}& ${token}`;
  functions.push(functionText(`static DEV_FN ${type} ${role}_row(${parameters})`, lines));
  const valid = validOf(access);
  needOfToken(text, side, valid);
  const terms = mayLack(text, side) ? [`${token}.exists`] : [];
  if (!isTrue(valid)) terms.push(`(${printCuda(valid, scope, "bool")})`);
  return terms.join(" && ") || "true";
};

const validOf = ({ grid, prefix }: RowAccess): Scalar => {
  const ofGrid = (grid ?? prefix)?.valid ?? literal(1);
  return select(variable("isPrefix"), (prefix ?? grid)?.valid ?? literal(1), ofGrid);
};

/** Prints `ROLE_element`, which answers for tokens without a row by itself. */
const elementFunction = (text: JobText, access: RowAccess, side: SideName): string => {
  const { kernel, needs, functions } = text;
  const { role, grid, prefix } = access;
  const writes = role === "out";
  const token = tokenName(side);
  const columns = columnsOf(text, role);
  const scope = tokenScope(text, side, columns);
  const lines: string[] = [];
  if (isSplit(text, role)) {
    needs.block.add("column");
    lines.push("c += block.column;");
  }
  const gone = [
    ...(mayLack(text, side) ? [`!${token}.exists`] : []),
    ...(isSplit(text, role) ? [`c >= ${columns}`] : []),
  ];
  if (gone.length > 0) lines.push(`if (${gone.join(" || ")}) return${writes ? "" : " from_f32<Element>(0.0f)"};`);
  const statement = (kind: "grid" | "prefix"): string => {
    const part = partOf(access, kind);
    needOfToken(text, side, part.row);
    needOfToken(text, side, part.valid);
    const place = `block.${pointerOf(text, access, kind, 0)} + (${printCuda(part.row, scope, part.type)})`;
    const valid = isTrue(part.valid) ? null : printCuda(part.valid, scope, "bool");
    const same = part.storage === kernel.precision;
    if (writes) {
      const value = same ? "value" : `from_f32<${cudaElement[part.storage]}>(to_f32(value))`;
      return `${valid === null ? "" : `if (${valid}) `}st(${place}, ${value});`;
    }
    const value = same ? `ld_nc(${place})` : `from_f32<Element>(${asFloat(part, `ld_nc(${place})`)})`;
    return valid === null
      ? `return ${value};`
      : `return ${valid} ? ${value} : from_f32<Element>(${floatLiteral(part.fill)});`;
  };
  if (grid !== null && prefix !== null) {
    needs[side].add("isPrefix");
    lines.push(`if (${token}.is_prefix) {`, `  ${statement("prefix")}`, ...(writes ? ["  return;"] : []), "}");
    lines.push(statement("grid"));
  } else lines.push(statement(grid === null ? "prefix" : "grid"));
  const parameters = `const Block& block, const ${tokenType(side)}& ${token}, int c${writes ? ", Element value" : ""}`;
  functions.push(functionText(`static DEV_FN ${writes ? "void" : "Element"} ${role}_element(${parameters})`, lines));
  return "true";
};

/** An element as float32. */
export const asFloat = ({ storage }: Pick<Part, "storage">, value: string): string => {
  if (storage === "f32") return value;
  return storage === "i32" || storage === "u8" ? `(float)${value}` : `to_f32(${value})`;
};
