import type { BlockCount } from "../../ir/program.ts";
import type { EmittedKernel, GemmKernel, KernelFamily, KernelHeader, ProductsKernel } from "../schedule/kernels.ts";
import { gemmTemplate, productBlocks } from "./gemm.ts";
import { gemmView, type PlannedGemm } from "./gemmView.ts";
import { headerComment } from "./headerComment.ts";
import { renderTemplate } from "./render.ts";

/** What templates/gemm/products.cu.njk prints. Fields are C++ text unless they are numbers. */
type ProductsView = {
  readonly header: string;
  readonly name: string;
  readonly includes: readonly string[];
  readonly threads: number;
  readonly minBlocks: number;
  readonly parameters: readonly string[];
  readonly parts: readonly {
    readonly name: string;
    readonly comment: readonly string[];
    readonly source: string;
    /** How many blocks it takes. */
    readonly blocks: string;
    readonly arguments: string;
  }[];
};

/** Several products in one launch: each is what it would be alone, but for the number of threads, which they share. */
export const emitProducts: KernelFamily<ProductsKernel> = (
  kernel: ProductsKernel,
  header: KernelHeader,
): EmittedKernel => {
  const threads = threadsFor(kernel.products, header);
  const parts = kernel.products.map((product, number) => {
    const planned = gemmView(product, { ...header, name: `product_${number}` }, { threads });
    return { product, planned, blocks: productBlocks(product, planned.tiles) };
  });
  const shared = Math.max(...parts.map(({ planned }) => planned.tiles.sharedBytes));
  const notes = parts.map(({ planned }, number) => `Product ${number}: ${planned.tiles.notes.join(" ")}`);
  const formulas = header.origin.formula.split("\n");
  const batched = kernel.products.some(({ space }) => space.batched);
  const view: ProductsView = {
    header: headerComment(header, ["The blocks of one product stand behind those of another.", ...notes]),
    name: header.name,
    includes: includesOf(parts.map(({ planned }) => planned)),
    threads,
    minBlocks: Math.min(...parts.map(({ planned }) => planned.tiles.minBlocks)),
    parameters: [
      ...parts.flatMap(({ planned }, number) => pointers(planned).map((declaration) => `${declaration}${number}`)),
      ...(batched ? ["int batch"] : []),
    ],
    parts: parts.map(({ product, planned, blocks }, number) => ({
      name: planned.view.name,
      comment: formulas.length === parts.length ? formulas.slice(number, number + 1) : [],
      source: renderTemplate(gemmTemplate(product), planned.view),
      blocks: blocksText(blocks),
      arguments: [
        "smem",
        "block",
        ...pointers(planned).map((declaration) => `${nameIn(declaration)}${number}`),
        ...(product.space.batched ? ["batch"] : []),
      ].join(", "),
    })),
  };
  const one: BlockCount = { factor: 1, fixed: 1, perExample: 0, divisor: 1 };
  return {
    source: renderTemplate("gemm/products.cu.njk", view),
    threads,
    sharedBytes: shared,
    grid: [parts.map(({ blocks }) => blocks).reduceRight((plus, first) => ({ ...first, plus })), one, one],
    parameters: [
      ...parts.flatMap(({ planned }, number) =>
        planned.parameters.flatMap((parameter) =>
          parameter.kind === "batch" ? [] : [parameter.kind === "weight" ? { ...parameter, of: number } : parameter],
        ),
      ),
      ...(batched ? [{ kind: "batch" } as const] : []),
    ],
    notes,
  };
};

/** What the product that works most would take, where all can; else what every product can take. */
const threadsFor = (products: readonly GemmKernel[], header: KernelHeader): number => {
  const work = ({ space, columns, taps, channels }: GemmKernel): number => space.rows * columns * taps * channels;
  const [largest] = products.toSorted((a, b) => work(b) - work(a));
  const wanted = largest === undefined ? 128 : gemmView(largest, header).tiles.threads;
  const narrow = products.some(({ precision }) => precision === "f32");
  return narrow ? Math.min(wanted, 128) : wanted;
};

const pointers = ({ view }: PlannedGemm): readonly string[] =>
  view.parameters.filter((declaration) => declaration !== "int batch");
const nameIn = (declaration: string): string => declaration.split(" ").at(-1) ?? declaration;

const includesOf = (parts: readonly PlannedGemm[]): readonly string[] => {
  const multiply = parts.map(({ view }) =>
    view.element === "float" ? `gemm/${view.multiply}.cuh` : "gemm/fragments.cuh",
  );
  const statistics = parts.some(({ view }) => view.norm !== null) ? ["gemm/statistics.cuh"] : [];
  return [...new Set(multiply), "gemm/values.cuh", ...statistics, "lib/math.cuh"];
};

export const blocksText = ({ factor, fixed, perExample, divisor }: BlockCount): string => {
  if (perExample === 0) return String(factor * Math.ceil(fixed / divisor));
  return `(batch * ${perExample} + ${divisor - 1}) / ${divisor}${factor === 1 ? "" : ` * ${factor}`}`;
};
