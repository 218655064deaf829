import { expect, it } from "vitest";
import { contentKey } from "../../compiler/toolchain/cache.ts";
import {
  compileImages,
  type CompileProgress,
  type ImageTarget,
  type KernelSource,
} from "../../compiler/toolchain/compileImages.ts";
import { findNvcc } from "../../compiler/toolchain/findTools.ts";
import { parsePtxasReport } from "../../compiler/toolchain/ptxasReport.ts";

const nvcc = await findNvcc().catch((error: unknown) => {
  process.stdout.write(`skipped: ${error instanceof Error ? error.message : String(error)}\n`);
  return undefined;
});

/** A kernel, and the network that it is from. */
export type Candidate = KernelSource & { readonly from?: string };

/** Tests that each kernel compiles for an Ampere and a Hopper GPU without a spilled register or a note on performance. */
export function describeCompiles(
  what: string,
  kernels: readonly Candidate[] | ((tell: (text: string) => void) => Promise<readonly Candidate[]>),
  targets: readonly ImageTarget[] = ["sm_80", "sm_90a"],
): void {
  it.skipIf(nvcc === undefined)(`${what} compile for ${targets.join(" and ")} and spill nothing`, async () => {
    const tell = (text: string): void => void process.stdout.write(`${what}: ${text}\n`);
    const distinct = distinctKernels(typeof kernels === "function" ? await kernels(tell) : kernels);
    expect(distinct.size).toBeGreaterThan(0);
    tell(`${distinct.size} distinct kernels`);
    const images = await compileImages(together([...distinct.values()]), targets, { onProgress: progressOf(tell) });
    const reports = images.flatMap(({ target, log }) => reportsOf(log).map((report) => ({ target, ...report })));
    const wrong = reports.filter(({ ptxas }) => ptxas === undefined || ptxas.spillBytes > 0);
    expect(
      wrong.map(({ target, kernel, ptxas }) => `${distinct.get(kernel)?.from} ${target} ${JSON.stringify(ptxas)}`),
    ).toEqual([]);
    for (const target of targets)
      expect(new Set(reports.filter((each) => each.target === target).map(({ kernel }) => kernel))).toEqual(
        new Set(distinct.keys()),
      );
  });
}

/** Each kernel once, under a name made of its text: comments and names tell where one came from first. */
function distinctKernels(kernels: readonly Candidate[]): ReadonlyMap<string, Candidate> {
  const found = new Map<string, Candidate>();
  for (const { name, family, source, from = "" } of kernels) {
    const text = source.replaceAll(/^\/\/.*\n/gm, "");
    const renamed = (to: string): string => text.replaceAll(new RegExp(`\\b${name}\\b`, "g"), to);
    const key = `${family}_${contentKey(renamed("kernel")).slice(0, 12)}`;
    if (!found.has(key)) found.set(key, { name: key, family, source: renamed(key), from: `${from} ${name}`.trim() });
  }
  return found;
}

/**
 * The kernels in few texts: reading CUDA's own headers takes nvcc longer than most kernels do. Kernels of one text include
 * the same, as headers of two families may use a name twice; and which text a kernel is in depends on its own text and
 * hardly on the others, so that a change leaves most of the cache in use.
 */
function together(kernels: readonly Candidate[]): readonly KernelSource[] {
  const sorted = kernels.toSorted((a, b) => (a.name < b.name ? -1 : 1));
  const kinds = grouped(sorted, ({ family, source }) => `${family}_${contentKey(...includesOf(source)).slice(0, 4)}`);
  return [...kinds].flatMap(([kind, alike]) => {
    const texts = Math.ceil(alike.length / 16);
    return [...grouped(alike, ({ name }) => `${kind}_${parseInt(name.slice(-6), 16) % texts}`)].map(
      ([name, [first, ...others]]) => ({
        name,
        family: first.family,
        source: [...includesOf(first.source), ...[first, ...others].map(inNamespace)].join("\n"),
      }),
    );
  });
}

/** What is in the global scope of the kernel's own text is in the namespace here. */
function inNamespace({ name, source }: Candidate): string {
  const body = source.replaceAll(include, "").replaceAll(/(?<![\w>])::(?=\w)/g, `of_${name}::`);
  return `namespace of_${name} {\n${body}}\n`;
}

const includesOf = (source: string): readonly string[] => source.match(include) ?? [];
const include = /^#include .*$/gm;

function grouped<T>(items: readonly T[], keyOf: (item: T) => string): ReadonlyMap<string, readonly [T, ...T[]]> {
  const groups = new Map<string, [T, ...T[]]>();
  for (const item of items) {
    const group = groups.get(keyOf(item));
    if (group === undefined) groups.set(keyOf(item), [item]);
    else group.push(item);
  }
  return groups;
}

/** What ptxas says of each kernel of a text. */
function reportsOf(
  log: string,
): readonly { readonly kernel: string; readonly ptxas: ReturnType<typeof parsePtxasReport> }[] {
  return log
    .split("Compiling entry function '")
    .slice(1)
    .map((text) => ({ kernel: text.slice(0, text.indexOf("'")), ptxas: parsePtxasReport(text) }));
}

/** Says how far it is, ten times. */
function progressOf(tell: (text: string) => void): (progress: CompileProgress) => void {
  const start = performance.now();
  let cachedSoFar = 0;
  return ({ done, total, cached }) => {
    if (cached) cachedSoFar++;
    if (Math.floor((10 * done) / total) === Math.floor((10 * (done - 1)) / total)) return;
    const seconds = ((performance.now() - start) / 1000).toFixed(0);
    tell(`${done} of ${total} texts, ${cachedSoFar} from the cache, ${seconds} s`);
  };
}
