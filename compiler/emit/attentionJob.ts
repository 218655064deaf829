import { literal, select, variable } from "../../ir/scalarBuild.ts";
import { below, rangeOf, type Interval, type Ranges } from "../../ir/scalarRange.ts";
import { simplify } from "../../ir/scalarSimplify.ts";
import { variablesOf, walkScalar } from "../../ir/scalarWalk.ts";
import type { Scalar } from "../../ir/scalar.ts";
import { invariant } from "../diagnostics.ts";
import { pairRanges, type AttentionPlan, type Job, type Side } from "../schedule/attention/plan.ts";
import { partName } from "../schedule/attention/groups.ts";
import { rowBytes } from "../schedule/attention/tiles.ts";
import type { AttentionKernel } from "../schedule/kernels.ts";
import {
  constantOf,
  distance,
  rowAccess,
  tokenRanges,
  withoutConstant,
  type Part,
  type Role,
  type RowAccess,
} from "./attentionAccess.ts";
import { scheduleView, type ScheduleView } from "./attentionSchedule.ts";
import { printCudaLocals } from "./cudaLocals.ts";
import { floatLiteral, printCuda } from "./cudaScalar.ts";
import { fitsInt, type CudaScope, type CudaVariable } from "./cudaTypes.ts";

/** One job of an attention kernel: a struct that the templates' loops take as an argument. Fields are C++ text or numbers. */
export type JobView = {
  readonly name: string;
  readonly comment: string;
  readonly headDim: number;
  readonly valueDim: number;
  readonly querySlots: number;
  readonly keySlots: number;
  readonly slotsComment: string;
  readonly span: number;
  readonly hasScore: boolean;
  readonly scaledFirst: boolean;
  readonly scale: string;
  readonly log2Scale: string;
  /** Variables of the kernel that members are made of, then the members. */
  readonly locals: readonly BlockField[];
  readonly blockMembers: readonly BlockField[];
  readonly query: TokenView;
  readonly key: TokenView;
  readonly functions: readonly string[];
  readonly loadQueries: LoadView;
  readonly loadKeys: LoadView;
  readonly loadValues: LoadView | null;
  readonly store: LoadView;
  readonly keep: string;
  readonly score: string | null;
  readonly schedule: ScheduleView;
  readonly loop: "attend_resident" | "attend_stream";
  /** Thread blocks of an example. */
  readonly blocks: number;
};
/** A member of the struct Block and what the kernel gives it. */
export type BlockField = { readonly type: string; readonly name: string; readonly value: string };
export type TokenView = {
  readonly type: "Query" | "Key";
  readonly name: "query" | "key";
  readonly fields: readonly { readonly type: string; readonly name: string; readonly value: string }[];
  readonly statements: readonly string[];
  readonly usesBlock: boolean;
};
/** `row`: the call that gives a row's address or an element. `live`: whether there is one. */
export type LoadView = {
  readonly token: "query" | "key";
  readonly tokenType: "Query" | "Key";
  readonly byRow: boolean;
  readonly rowBytes: number;
  readonly copy: string;
  readonly columns: number;
  readonly function: string;
  readonly live: string;
};

export const cudaElement: { readonly [S in AttentionKernel["operands"][number]["storage"]]: string } = {
  f32: "float",
  f16: "f16",
  bf16: "bf16",
  i32: "int32_t",
  u8: "uint8_t",
};

const reserved: ReadonlySet<string> = new Set([
  "exists",
  "is_prefix",
  "prefix",
  "group",
  "float",
  "int",
  "half",
  "auto",
  "short",
]);
const fieldOf = (axis: string): string => (reserved.has(axis) ? `${axis}_axis` : axis);

export const jobView = (
  kernel: AttentionKernel,
  plan: AttentionPlan,
  job: Job,
  name: string,
  operandNames: ReadonlyMap<number, string>,
): JobView => {
  const printer = new JobPrinter(kernel, plan, job, operandNames);
  return printer.view(name);
};

class JobPrinter {
  readonly kernel: AttentionKernel;
  readonly plan: AttentionPlan;
  readonly job: Job;
  readonly operandNames: ReadonlyMap<number, string>;
  readonly element: string;
  /** What is read of the thread block, of the query and of the key, found while printing. */
  readonly blockReads: Set<string> = new Set();
  readonly reads: { readonly q: Set<string>; readonly k: Set<string> } = { q: new Set(), k: new Set() };
  readonly pointers: Map<string, BlockField> = new Map();
  readonly functions: string[] = [];

  constructor(kernel: AttentionKernel, plan: AttentionPlan, job: Job, operandNames: ReadonlyMap<number, string>) {
    this.kernel = kernel;
    this.plan = plan;
    this.job = job;
    this.operandNames = operandNames;
    this.element = cudaElement[kernel.precision];
  }

  view(name: string): JobView {
    const { kernel, plan, job } = this;
    const { tiles } = job;
    const access = this.accesses();
    const shared =
      access.v === null
        ? undefined
        : distance(access.k, access.v, tokenRanges(kernel.key, kernel.heads, kernel.headDim));
    const together =
      shared !== undefined &&
      rowBytes(kernel.headDim, kernel.precision) === rowBytes(plan.valueColumns, kernel.precision) &&
      kernel.headDim === plan.valueColumns &&
      plan.valueParts === 1;
    const loadKeys = this.load(access.k, kernel.headDim, together ? shared : undefined);
    const loadValues = together ? null : this.load(access.v, plan.valueColumns);
    const loadQueries = this.load(access.q, kernel.headDim);
    const store = this.load(access.out, plan.valueColumns);
    const hasScore = !(kernel.score.kind === "variable" && kernel.score.name === "s");
    const keep = this.keep();
    const score = hasScore ? this.score() : null;
    const schedule = scheduleView(job, (expr, ranges) => this.uniform(expr, ranges));
    const scaledFirst = hasScore || kernel.scale <= 0 || kernel.normalize !== "softmax";
    const query = this.token("q", job.query);
    const key = this.token("k", job.key);
    if (tiles.kind === "stream") this.blockReads.add("tile");
    return {
      name,
      comment: jobComment(job),
      headDim: kernel.headDim,
      valueDim: plan.valueColumns,
      querySlots: job.query.layout.units * job.query.layout.unitSlots,
      keySlots: job.key.layout.units * job.key.layout.unitSlots,
      slotsComment: slotsComment(job),
      span: tiles.span,
      hasScore,
      scaledFirst,
      scale: floatLiteral(kernel.scale),
      log2Scale: floatLiteral((scaledFirst ? 1 : kernel.scale) * Math.LOG2E),
      ...this.blockFields(),
      query,
      key,
      functions: this.functions,
      loadQueries,
      loadKeys,
      loadValues,
      store,
      keep,
      score,
      schedule,
      loop: tiles.kind === "resident" ? "attend_resident" : "attend_stream",
      blocks: this.digits().reduce((product, { count }) => product * count, 1),
    };
  }

  accesses(): { readonly q: RowAccess; readonly k: RowAccess; readonly v: RowAccess; readonly out: RowAccess } {
    const { kernel, plan, job } = this;
    const used = ({ tokens }: Side): { readonly grid: boolean; readonly prefix: boolean } => ({
      grid: tokens.count > tokens.prefixCount || tokens.count === 0,
      prefix: tokens.prefixCount > 0,
    });
    const step = kernel.valueDim % plan.valueColumns === 0 ? plan.valueColumns : "ragged";
    const queries = { type: kernel.query, columns: kernel.headDim };
    const keys = { type: kernel.key, columns: kernel.headDim };
    return {
      q: rowAccess(kernel, "q", queries, 0, used(job.query)),
      k: rowAccess(kernel, "k", keys, 0, used(job.key)),
      v: rowAccess(kernel, "v", { ...keys, columns: kernel.valueDim }, step, used(job.key)),
      out: rowAccess(kernel, "out", { ...queries, columns: kernel.valueDim }, step, used(job.query)),
    };
  }

  /** The variables of an access: coordinates of the token, `head`, `c`. */
  tokenScope(side: "q" | "k", columns: number): CudaScope {
    const { kernel } = this;
    const type = side === "q" ? kernel.query : kernel.key;
    const token = side === "q" ? "query" : "key";
    const variables: { [name: string]: CudaVariable } = {
      prefix: { type: "int", text: `${token}.prefix`, min: 0, max: Math.max(0, type.prefix.count - 1) },
      head: { type: "int", text: "block.head", min: 0, max: kernel.heads - 1 },
      c: { type: "int", text: "c", min: 0, max: columns - 1 },
    };
    for (const { axis, size } of type.axes)
      variables[axis] = { type: "int", text: `${token}.${fieldOf(axis)}`, min: 0, max: size - 1 };
    return { variables };
  }

  note(side: "q" | "k", expr: Scalar): void {
    for (const name of variablesOf(expr)) {
      if (name === "head") this.blockReads.add("head");
      else if (name !== "c") this.reads[side].add(name);
    }
  }

  /** Prints what forms the addresses of a role, and says how its rows are moved. */
  load(access: RowAccess, columns: number, shared?: number): LoadView {
    const { kernel, plan } = this;
    const { role } = access;
    const side = role === "q" || role === "out" ? "q" : "k";
    const token = side === "q" ? "query" : "key";
    const tokenType = side === "q" ? "Query" : "Key";
    const whole = role === "v" || role === "out" ? kernel.valueDim : kernel.headDim;
    const bytes = columns * (kernel.precision === "f32" ? 4 : 2);
    const padded = rowBytes(columns, kernel.precision);
    const byRow = access.granule !== null;
    const function_ = byRow ? `${role}_row` : `${role}_element`;
    const live = byRow ? this.rowFunction(access, side, whole) : "";
    if (!byRow) this.elementFunction(access, side, whole);
    const parts = shared === undefined ? "" : `, 2, ${shared * (kernel.precision === "f32" ? 4 : 2)}`;
    invariant(plan.valueColumns > 0, "an attention without values");
    return {
      token,
      tokenType,
      byRow,
      rowBytes: padded,
      copy: `RowCopy<${bytes}, ${access.granule ?? 0}${parts}>`,
      columns,
      function: function_,
      live,
    };
  }

  /** The pointer that a part's rows are counted from. */
  pointer(role: Role, kind: "grid" | "prefix", access: RowAccess, constant: number): string {
    const part = access[kind];
    invariant(part !== null, "a part that is not there is read");
    const other = access.grid;
    const shares =
      kind === "grid" || other === null || (other.operand === part.operand && other.headStep === part.headStep);
    const name = shares ? role : `${role}_prefix`;
    if (this.pointers.has(name)) return name;
    const operand = this.kernel.operands[part.operand];
    const terms = [this.operandNames.get(part.operand) ?? "?"];
    if (this.kernel.batched && operand !== undefined && operand.exampleStride > 0)
      terms.push(`example * ${operand.exampleStride}`);
    if (part.headStep !== null && part.headStep !== 0 && this.kernel.heads > 1)
      terms.push(part.headStep === 1 ? "head" : `head * ${part.headStep}`);
    if (constant !== 0) terms.push(String(constant));
    if (access.granule !== null && this.plan.valueParts > 1 && (role === "v" || role === "out")) terms.push("column");
    this.pointers.set(name, {
      type: `${role === "out" ? "" : "const "}${cudaElement[part.storage]}*`,
      name,
      value: terms.join(" + "),
    });
    return name;
  }

  /** Prints `ROLE_row`; returns the condition that a row is there. */
  rowFunction(access: RowAccess, side: "q" | "k", columns: number): string {
    const { role } = access;
    const type = side === "q" ? this.kernel.query : this.kernel.key;
    const token = side === "q" ? "query" : "key";
    const ranges = tokenRanges(type, this.kernel.heads, columns);
    const scope = this.tokenScope(side, columns);
    const constant =
      access.grid === null
        ? access.prefix === null
          ? 0
          : constantOf(access.prefix, ranges)
        : constantOf(access.grid, ranges);
    const at = (kind: "grid" | "prefix"): { readonly base: string; readonly offset: Scalar; readonly text: string } => {
      const part = access[kind];
      invariant(part !== null, "a part that is not there is read");
      const base = this.pointer(role, kind, access, constant);
      const offset = withoutConstant(part, base === role ? constant : constantOf(part, ranges), ranges);
      this.note(side, offset);
      this.note(side, part.valid);
      const as = fitsInt(rangeOf(offset, ranges)) ? "int" : "long";
      return { base, offset, text: printCuda(offset, scope, as) };
    };
    const pointerType = `${role === "out" ? "" : "const "}${this.element}*`;
    const lines: string[] = [];
    const both = access.grid !== null && access.prefix !== null;
    if (both) this.reads[side].add("isPrefix");
    if (both) {
      const [prefix, grid] = [at("prefix"), at("grid")];
      if (prefix.base === grid.base)
        lines.push(`return block.${grid.base} + (${token}.is_prefix ? ${prefix.text} : ${grid.text});`);
      else
        lines.push(
          `if (${token}.is_prefix) return block.${prefix.base} + (${prefix.text});`,
          `return block.${grid.base} + (${grid.text});`,
        );
    } else {
      const { base, text } = at(access.grid === null ? "prefix" : "grid");
      lines.push(`return block.${base} + (${text});`);
    }
    const tokenType = side === "q" ? "Query" : "Key";
    this.functions.push(
      functionText(`static DEV_FN ${pointerType} ${role}_row(const Block& block, const ${tokenType}& ${token})`, lines),
    );
    return this.live(access, side, scope);
  }

  /** Whether the token exists and its row does. */
  live(access: RowAccess, side: "q" | "k", scope: CudaScope): string {
    const token = side === "q" ? "query" : "key";
    const valid = (part: Part | null): Scalar => (part === null ? literal(1) : part.valid);
    const prefix = access.prefix === null ? valid(access.grid) : valid(access.prefix);
    const grid = access.grid === null ? valid(access.prefix) : valid(access.grid);
    const both = select(variable("isPrefix"), prefix, grid);
    const terms = this.exists(side) ? [`${token}.exists`] : [];
    if (both.kind === "number" && both.value === 1) return terms.join("") || "true";
    if (variablesOf(both).has("isPrefix")) this.reads[side].add("isPrefix");
    const text = printCuda(
      both,
      { variables: { ...scope.variables, isPrefix: { type: "bool", text: `${token}.is_prefix` } } },
      "bool",
    );
    return [...terms, `(${text})`].join(" && ");
  }

  /** Whether some slot of the side may be without a token. */
  exists(side: "q" | "k"): boolean {
    const { exists } = (side === "q" ? this.job.query : this.job.key).slot;
    const always = exists.kind === "number" && exists.value === 1;
    if (!always) this.reads[side].add("exists");
    return !always;
  }

  elementFunction(access: RowAccess, side: "q" | "k", columns: number): void {
    const { role } = access;
    const token = side === "q" ? "query" : "key";
    const scope = this.tokenScope(side, columns);
    const parted = this.plan.valueParts > 1 && (role === "v" || role === "out");
    const lines: string[] = [];
    if (parted) {
      this.blockReads.add("column");
      lines.push("c += block.column;");
    }
    const gone = [...(this.exists(side) ? [`!${token}.exists`] : []), ...(parted ? [`c >= ${columns}`] : [])];
    if (gone.length > 0)
      lines.push(`if (${gone.join(" || ")}) return${role === "out" ? "" : " from_f32<Element>(0.0f)"};`);
    const statement = (kind: "grid" | "prefix"): string => {
      const part = access[kind];
      invariant(part !== null, "a part that is not there is read");
      this.note(side, part.row);
      this.note(side, part.valid);
      const place = `block.${this.pointer(role, kind, access, 0)} + (${printCuda(part.row, scope, part.type)})`;
      const always = part.valid.kind === "number" && part.valid.value === 1;
      const valid = always ? "" : printCuda(part.valid, scope, "bool");
      const same = part.storage === this.kernel.precision;
      if (role === "out") {
        const value = same ? "value" : `from_f32<${cudaElement[part.storage]}>(to_f32(value))`;
        return `${always ? "" : `if (${valid}) `}st(${place}, ${value});`;
      }
      const number =
        part.storage === "i32" || part.storage === "u8" ? `(float)ld_nc(${place})` : `to_f32(ld_nc(${place}))`;
      const value = same ? `ld_nc(${place})` : `from_f32<Element>(${number})`;
      return always
        ? `return ${value};`
        : `return ${valid} ? ${value} : from_f32<Element>(${floatLiteral(part.fill)});`;
    };
    if (access.grid !== null && access.prefix !== null) {
      this.reads[side].add("isPrefix");
      const prefix = statement("prefix");
      lines.push(
        `if (${token}.is_prefix) {`,
        ...(role === "out" ? [`  ${prefix}`, "  return;"] : [`  ${prefix}`]),
        "}",
        statement("grid"),
      );
    } else lines.push(statement(access.grid === null ? "prefix" : "grid"));
    const tokenType = side === "q" ? "Query" : "Key";
    const parameters = `const Block& block, const ${tokenType}& ${token}, int c${role === "out" ? ", Element value" : ""}`;
    this.functions.push(
      functionText(`static DEV_FN ${role === "out" ? "void" : "Element"} ${role}_element(${parameters})`, lines),
    );
  }

  pairScope(): CudaScope {
    const { kernel, job } = this;
    const ranges = pairRanges(job.query.tokens, job.key.tokens);
    const variables: { [name: string]: CudaVariable } = {
      s: { type: "float", text: "s" },
      head: { type: "int", text: "block.head", min: 0, max: kernel.heads - 1 },
    };
    for (const [name, { min, max }] of Object.entries(ranges)) {
      const [side, field = ""] = splitName(name);
      const token = side === "q" ? "query" : "key";
      if (field === "isPrefix") variables[name] = { type: "bool", text: `${token}.is_prefix` };
      else variables[name] = { type: "int", text: `${token}.${fieldOf(field)}`, min, max };
    }
    for (const [side, type] of [
      ["q", kernel.query],
      ["k", kernel.key],
    ] as const) {
      const token = side === "q" ? "query" : "key";
      variables[`${side}.prefix`] ??= {
        type: "int",
        text: `${token}.prefix`,
        min: 0,
        max: Math.max(0, type.prefix.count - 1),
      };
    }
    const tables = kernel.tables.map((_, index) => ({
      type: "float" as const,
      element: (at: readonly string[]): string => `table${index}(${["block", ...at].join(", ")})`,
    }));
    return { variables, tables };
  }

  notePair(expr: Scalar): void {
    for (const name of variablesOf(expr)) {
      const [side, field] = splitName(name);
      if (name === "head") this.blockReads.add("head");
      else if (field !== undefined) this.reads[side === "q" ? "q" : "k"].add(field);
    }
  }

  keep(): string {
    const { job } = this;
    const terms: string[] = [];
    if (this.exists("k")) terms.push("key.exists");
    if (job.guardsQueries && this.exists("q")) terms.push("query.exists");
    if (job.groupsPerBlock > 1) {
      this.reads.q.add("group");
      this.reads.k.add("group");
      terms.push("query.group == key.group");
    }
    const always = job.keep.kind === "number" && job.keep.value === 1;
    if (!always) {
      this.notePair(job.keep);
      const text = printCuda(job.keep, this.pairScope(), "bool");
      terms.push(terms.length > 0 && job.keep.kind === "binary" && job.keep.op === "or" ? `(${text})` : text);
    }
    return terms.join(" && ") || "true";
  }

  score(): string {
    const { kernel, job } = this;
    const ranges = pairRanges(job.query.tokens, job.key.tokens);
    const score = simplify(kernel.score, { ...ranges, head: below(kernel.heads) });
    this.notePair(score);
    const extents = new Map<number, Interval[]>();
    walkScalar(score, (part) => {
      if (part.kind !== "load") return;
      const known = extents.get(part.table) ?? [];
      const found = part.index.map((index, i) =>
        hull(known[i], rangeOf(index, { ...ranges, head: below(kernel.heads) })),
      );
      extents.set(part.table, found);
    });
    for (const [table, indexRanges] of extents) this.tableFunction(table, indexRanges);
    return printCuda(score, this.pairScope(), "float");
  }

  tableFunction(table: number, indexRanges: readonly Interval[]): void {
    const access = this.kernel.tables[table];
    invariant(access !== undefined, `table ${table} of ${this.kernel.tables.length} is read`);
    const operand = this.kernel.operands[access.operand];
    invariant(operand !== undefined, `operand ${access.operand} of ${this.kernel.operands.length} is read`);
    const name = `table${table}`;
    const variables = Object.fromEntries(
      indexRanges.map(({ min, max }, i): [string, CudaVariable] => [
        `i${i}`,
        { type: "int", text: `i${i}`, min: Math.max(min, 0), max: Math.min(max, operand.exampleSize - 1) },
      ]),
    );
    const own = Object.fromEntries(
      indexRanges.map(({ min, max }, i) => [
        `i${i}`,
        { min: Math.max(min, 0), max: Math.min(max, operand.exampleSize - 1) },
      ]),
    );
    const offset = simplify(access.offset, own);
    const valid = simplify(access.valid, own);
    const stride = this.kernel.batched && operand.exampleStride > 0 ? ` + example * ${operand.exampleStride}` : "";
    this.pointers.set(`${name}_values`, {
      type: `const ${cudaElement[operand.storage]}*`,
      name: `${name}_values`,
      value: `${this.operandNames.get(access.operand) ?? "?"}${stride}`,
    });
    const place = `ld_nc(block.${name}_values + (${printCuda(offset, { variables }, fitsInt(rangeOf(offset, own)) ? "int" : "long")}))`;
    const number =
      operand.storage === "i32" || operand.storage === "u8"
        ? `(float)${place}`
        : operand.storage === "f32"
          ? place
          : `to_f32(${place})`;
    const always = valid.kind === "number" && valid.value === 1;
    const value = always
      ? number
      : `${printCuda(valid, { variables }, "bool")} ? ${number} : ${floatLiteral(access.fill)}`;
    const parameters = ["const Block& block", ...indexRanges.map((_, i) => `int i${i}`)].join(", ");
    this.functions.push(functionText(`static DEV_FN float ${name}(${parameters})`, [`return ${value};`]));
  }

  /** What a slot's token is; only what is read of it. */
  token(side: "q" | "k", { slot, tokens }: Side): TokenView {
    const reads = this.reads[side];
    const wanted: { readonly name: string; readonly type: "bool" | "int"; readonly value: Scalar }[] = [];
    if (reads.has("exists")) wanted.push({ name: "exists", type: "bool", value: slot.exists });
    if (reads.has("isPrefix")) wanted.push({ name: "is_prefix", type: "bool", value: slot.isPrefix });
    if (reads.has("group")) wanted.push({ name: "group", type: "int", value: slot.group });
    if (reads.has("prefix") && !tokens.axes.some(({ axis }) => axis === "prefix"))
      wanted.push({ name: "prefix", type: "int", value: slot.prefix });
    for (const { axis } of tokens.axes)
      if (reads.has(axis)) wanted.push({ name: fieldOf(axis), type: "int", value: slot.at[axis] ?? literal(0) });
    const before = new Set(this.blockReads);
    for (const { value } of wanted)
      for (const name of variablesOf(value)) if (name !== "slot") this.blockReads.add(name);
    const { statements, values } = printCudaLocals(
      wanted.map(({ value, type }) => ({ scalar: value, as: type })),
      this.slotScope(slot.ranges),
      side === "q" ? "at" : "at",
    );
    return {
      type: side === "q" ? "Query" : "Key",
      name: side === "q" ? "query" : "key",
      fields: wanted.map(({ name, type }, i) => ({ type, name, value: values[i] ?? "0" })),
      statements,
      usesBlock:
        before.size < this.blockReads.size ||
        wanted.some(({ value }) => [...variablesOf(value)].some((name) => name !== "slot")),
    };
  }

  blockVariable(name: string): string {
    const axis = this.job.groups.axes.find((each) => partName(each.axis) === name);
    if (axis === undefined) return name;
    const kinds = { same: axis.axis, window: `window_${axis.axis}`, residue: `phase_${axis.axis}` };
    return fieldOf(kinds[axis.part.kind]);
  }

  slotScope(ranges: Ranges): CudaScope {
    const variables: { [name: string]: CudaVariable } = {};
    for (const [name, { min, max }] of Object.entries(ranges))
      variables[name] = { type: "int", text: name === "slot" ? "slot" : `block.${this.blockVariable(name)}`, min, max };
    return { variables };
  }

  /** An expression of the thread block's own variables, `tile`, `i` and `block`. */
  uniform(expr: Scalar, ranges: Ranges): string {
    for (const name of variablesOf(expr)) if (name.startsWith("part.")) this.blockReads.add(name);
    const variables = { ...this.slotScope(this.job.query.slot.ranges).variables };
    for (const [name, { min, max }] of Object.entries(ranges)) variables[name] = { type: "int", text: name, min, max };
    return printCuda(expr, { variables }, "int");
  }

  /** How the number of a thread block within its example is made up, fastest first. */
  digits(): readonly { readonly name: string; readonly count: number }[] {
    const { job, kernel, plan } = this;
    const head = { name: "head", count: kernel.heads };
    const part = { name: "part", count: plan.valueParts };
    const tile = { name: "tile", count: job.queryTiles };
    const first = { name: "first", count: job.groupBlocks };
    // Heads of a token lie side by side in memory; tiles of a group read the same keys.
    return job.tiles.kind === "resident" ? [head, part, first] : [tile, part, head, first];
  }

  blockFields(): Pick<JobView, "locals" | "blockMembers"> {
    const { job, plan } = this;
    const digits = this.digits();
    const digit = (name: string): string => {
      let step = 1;
      for (const [i, each] of digits.entries()) {
        if (each.name === name) {
          if (each.count === 1) return "0";
          const rest = digits.slice(i + 1).every(({ count }) => count === 1);
          const shifted = step === 1 ? "index" : `index / ${step}`;
          return rest ? shifted : `${shifted} % ${each.count}`;
        }
        step *= each.count;
      }
      return "0";
    };
    const reads = this.blockReads;
    const locals: BlockField[] = [];
    const order = ["q", "q_prefix", "k", "k_prefix", "v", "v_prefix", "out", "out_prefix"];
    const place = ({ name }: BlockField): number => (order.includes(name) ? order.indexOf(name) : order.length);
    const pointers = [...this.pointers.values()].toSorted((a, b) => place(a) - place(b));
    const textReads = (word: string): boolean => pointers.some(({ value }) => new RegExp(`\\b${word}\\b`).test(value));
    if (textReads("head") || reads.has("head")) locals.push({ type: "const int", name: "head", value: digit("head") });
    if (textReads("column") || reads.has("column"))
      locals.push({
        type: "const int",
        name: "column",
        value: plan.valueParts === 1 ? "0" : `(${digit("part")}) * ${plan.valueColumns}`,
      });
    const parts = job.groups.axes.filter(({ axis }) => reads.has(partName(axis)));
    const needsFirst = reads.has("first") || parts.length > 0;
    if (needsFirst) {
      const text = digit("first");
      locals.push({
        type: "const int",
        name: "first",
        value: job.groupsPerBlock === 1 ? text : text === "0" ? "0" : `(${text}) * ${job.groupsPerBlock}`,
      });
    }
    const fields: BlockField[] = [...pointers];
    for (const name of ["head", "column", "first"])
      if (reads.has(name)) fields.push({ type: "int", name, value: name });
    let step = 1;
    for (const { axis, count } of job.groups.axes.toReversed()) {
      if (reads.has(partName(axis))) {
        const shifted = step === 1 ? "first" : `first / ${step}`;
        const last = step * count >= job.groups.count;
        fields.push({
          type: "int",
          name: this.blockVariable(partName(axis)),
          value: last ? shifted : `${shifted} % ${count}`,
        });
      }
      step *= count;
    }
    if (reads.has("tile")) fields.push({ type: "int", name: "tile", value: digit("tile") });
    return { locals, blockMembers: fields };
  }
}

const splitName = (name: string): readonly [side: string, field?: string] => {
  const dot = name.indexOf(".");
  return dot < 0 ? [name] : [name.slice(0, dot), name.slice(dot + 1)];
};

const hull = (a: Interval | undefined, b: Interval): Interval =>
  a === undefined ? b : { min: Math.min(a.min, b.min), max: Math.max(a.max, b.max) };

const functionText = (signature: string, lines: readonly string[]): string =>
  lines.length === 1 && signature.length + (lines[0]?.length ?? 0) < 116
    ? `${signature} { ${lines[0]} }`
    : `${signature} {\n${lines.map((line) => `  ${line}`).join("\n")}\n}`;

const jobComment = ({ queries, groups }: Job): string => {
  const who =
    queries === "all" ? "All queries" : queries === "grid" ? "The grid's queries" : "The queries of prefix tokens";
  if (groups.axes.length === 0) return `${who}, in one group.`;
  const parts = groups.axes.map(({ axis, part }) =>
    part.kind === "same"
      ? `one ${axis}`
      : part.kind === "window"
        ? `a window of ${part.size} on ${axis}`
        : `the ${axis} congruent modulo ${part.stride}`,
  );
  return `${who}; tokens of a group share ${parts.join(", ")}.`;
};

const slotsComment = ({ query, key, groupsPerBlock }: Job): string => {
  const tokens =
    query.tokens.count === key.tokens.count
      ? `${query.tokens.count} tokens`
      : `${query.tokens.count} queries and ${key.tokens.count} keys`;
  return groupsPerBlock === 1 ? `${tokens} in steps of 16` : `${groupsPerBlock} groups of ${tokens}`;
};
