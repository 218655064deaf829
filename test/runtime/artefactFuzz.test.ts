import { createHash } from "node:crypto";
import { cpSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import * as fc from "fast-check";
import { afterAll, expect, it, vi } from "vitest";
import { packArtefact, type PackedArtefact, writeArtefact } from "../../compiler/artefact.ts";
import type { KernelImage } from "../../compiler/toolchain/compileImages.ts";
import type { Programs } from "../../ir/manifest.ts";
import { splitManifest } from "../../ir/programText.ts";
import { ArtefactFileError, readArtefact } from "../../runtime/artefact.ts";
import { RuntimeError } from "../../runtime/errors.ts";
import { prepareWeights } from "../../runtime/weights.ts";
import { tiny, tinyCheckpoint } from "./programs.ts";

// Artefacts that were damaged, cut, mixed with others or written by another version: each is refused with an error that
// says which, or is what was built. FOVEA_ARTEFACT_FUZZ=10000 tries more.

const runs = Number(process.env["FOVEA_ARTEFACT_FUZZ"] ?? 300);
vi.setConfig({ testTimeout: 60_000 + runs * 200 });
const scratch = mkdtempSync(join(tmpdir(), "fovea-fuzz-"));
afterAll(() => rmSync(scratch, { recursive: true }));

const packed = (text: string): PackedArtefact => {
  const image = (kernel: string, target: "sm_90a" | "emulated"): KernelImage => {
    const content = Buffer.from(`${target} of ${kernel}, ${text} `.repeat(9));
    return { kernel, target, image: content, ptxas: null, log: "" };
  };
  const images = tiny.kernels.flatMap(({ name }) => [image(name, "sm_90a"), image(name, "emulated")]);
  const programs: Programs = [
    { ...tiny, name: text, extents: { t: 3 } },
    { ...tiny, name: text, extents: { t: 6 } },
  ];
  return packArtefact(
    { programs, sources: new Map(tiny.kernels.map(({ source }) => [source, `${text} ${source}`])) },
    images,
  );
};
const [ours, others] = [packed("ours"), packed("others")];
const at = (name: string): string => join(scratch, name);
for (const place of ["folder", "file.fovea"]) await writeArtefact(ours, at(place));
await writeArtefact(others, at("others"));
const paths = ["manifest.json", ...ours.files.keys()];
const original = new Map(paths.map((path) => [path, readFileSync(join(at("folder"), path))]));
const oneFile = readFileSync(at("file.fovea"));

/** Everything that an artefact holds, or why it was refused. */
function contentsOf(place: string): string {
  try {
    const { programs, read } = readArtefact(place);
    const files = Object.keys(programs[0].checksums).map((path) => Buffer.from(read(path)).toString("hex"));
    return JSON.stringify([programs, files]);
  } catch (error) {
    if (!(error instanceof ArtefactFileError)) throw error;
    return `${error.problem}: ${error.message}`;
  }
}
const whole = contentsOf(at("folder"));
const refusals = /^(missing|foreign|version|truncated|damaged): the artefact "[^"]+" .+/;

/** Does `harm` to a copy, which is either found out or has changed nothing; gives what was found. */
function afterHarm(place: string, harm: (place: string) => void): string {
  const copy = at(`harmed-${place}`);
  rmSync(copy, { recursive: true, force: true });
  cpSync(at(place), copy, { recursive: true });
  harm(copy);
  const start = performance.now();
  const found = contentsOf(copy);
  expect(performance.now() - start).toBeLessThan(5_000);
  if (found !== whole) expect(found).toMatch(refusals);
  return found;
}

const anyNumber = fc.nat({ max: 2 ** 31 - 1 });
/** What happens to bytes: some change, a run is zeroed, the end is cut off, more is added, a part is doubled. */
type Change = (content: Uint8Array) => Uint8Array;
const harmToBytes: fc.Arbitrary<Change> = fc.oneof(
  fc
    .array(fc.tuple(anyNumber, fc.nat({ max: 255 })), { minLength: 1, maxLength: 4 })
    .map((changes): Change => (content) => {
      const hurt = Uint8Array.from(content);
      for (const [place, value] of changes) hurt[place % hurt.length] = value;
      return hurt;
    }),
  fc.tuple(anyNumber, fc.nat({ max: 600 })).map(
    ([place, count]): Change =>
      (content) =>
        Uint8Array.from(content).fill(0, place % content.length, (place % content.length) + count),
  ),
  anyNumber.map(
    (length): Change =>
      (content) =>
        content.slice(0, length % content.length),
  ),
  fc.uint8Array({ minLength: 1, maxLength: 20 }).map(
    (more): Change =>
      (content) =>
        Buffer.concat([content, more]),
  ),
  fc.tuple(anyNumber, anyNumber).map(([from, to]): Change => (content) => {
    const [a, b] = [from % content.length, to % content.length];
    return Buffer.concat([content.subarray(0, a), content.subarray(Math.min(a, b))]);
  }),
);

it(`finds ${runs} kinds of damage to a folder`, () => {
  const path = fc.constantFrom(...paths);
  const harm: fc.Arbitrary<(place: string) => void> = fc.oneof(
    fc.tuple(path, harmToBytes).map(
      ([file, change]) =>
        (place: string) =>
          writeFileSync(join(place, file), change(original.get(file) ?? new Uint8Array())),
    ),
    fc.tuple(path, path).map(([one, other]) => (place: string) => {
      writeFileSync(join(place, one), original.get(other) ?? "");
      writeFileSync(join(place, other), original.get(one) ?? "");
    }),
    path.map((file) => (place: string) => cpSync(join(at("others"), file), join(place, file))),
    fc.tuple(path, fc.boolean()).map(([file, isFolder]) => (place: string) => {
      rmSync(join(place, file));
      if (isFolder) mkdirSync(join(place, file));
    }),
  );
  fc.assert(
    fc.property(harm, (change) => void afterHarm("folder", change)),
    { numRuns: Math.ceil(runs * 0.4) },
  );
  expect(afterHarm("folder", () => {})).toBe(whole);
});

it("finds damage to the form of one file", () => {
  fc.assert(
    fc.property(
      harmToBytes,
      (change) => void afterHarm("file.fovea", (place) => writeFileSync(place, change(oneFile))),
    ),
    { numRuns: Math.ceil(runs * 0.3) },
  );
  expect(afterHarm("file.fovea", () => {})).toBe(whole);
});

type Json = null | boolean | number | string | Json[] | { [field: string]: Json };
/** Everything within a value that can be something else. */
function* placesIn(value: Json): Generator<readonly [holder: Json[] | { [field: string]: Json }, key: string]> {
  if (typeof value !== "object" || value === null) return;
  for (const [key, part] of Object.entries(value)) {
    yield [value, key];
    yield* placesIn(part);
  }
}
const manifest = original.get("manifest.json")?.toString() ?? "";
const placeCount = [...placesIn(JSON.parse(manifest) as Json)].length;
const replacement: fc.Arbitrary<Json | undefined> = fc.oneof(
  fc.constantFrom<Json | undefined>(
    undefined,
    null,
    true,
    "",
    "linear",
    "../../etc/passwd",
    [],
    {},
    -1,
    0,
    0.5,
    3,
    2 ** 40,
    1e300,
  ),
  fc.constantFrom<Json>({ number: "NaN" }, { kind: "batch" }, { batchTimes: 1e9 }, [[[]]], {
    space: "input",
    index: 7,
  }),
);
/** The manifest with one thing changed. */
function edited(place: number, to: Json | undefined): string {
  const json = JSON.parse(manifest) as Json;
  const [holder, key] = [...placesIn(json)][place % placeCount] ?? [];
  if (holder !== undefined && key !== undefined) {
    if (to === undefined && !Array.isArray(holder)) delete holder[key];
    else Object.assign(holder, { [key]: to ?? null });
  }
  return `${JSON.stringify(json, null, 1)}\n`;
}
/** With the digest of what it says now, as whoever meant it would write it. */
function signed(text: string): string {
  const parts = splitManifest(text);
  if (parts === null) return text;
  return text.replace(parts.digest, createHash("sha256").update(parts.text).digest("hex"));
}

it("finds every change of the manifest by its digest", () => {
  const change = fc.tuple(anyNumber, replacement).map(([place, to]) => edited(place, to));
  fc.assert(
    fc.property(change, (text) => {
      fc.pre(text !== manifest);
      const found = afterHarm("folder", (folder) => writeFileSync(join(folder, "manifest.json"), text));
      expect(found).not.toBe(whole);
    }),
    { numRuns: Math.ceil(runs * 0.15) },
  );
});

it("takes no manifest of another program that would read or write where nothing is, whoever signed it", () => {
  const change = fc.tuple(anyNumber, replacement).map(([place, to]) => signed(edited(place, to)));
  fc.assert(
    fc.property(change, (text) => {
      const place = at("signed");
      rmSync(place, { recursive: true, force: true });
      cpSync(at("folder"), place, { recursive: true });
      writeFileSync(join(place, "manifest.json"), text);
      try {
        const { programs, read } = readArtefact(place);
        for (const { kernels, weights, memory } of programs) {
          for (const { source } of kernels) read(source);
          for (const { weight, bytes } of prepareWeights(weights, tinyCheckpoint))
            expect(weight.offset + bytes.length).toBeLessThanOrEqual(memory.weights);
        }
      } catch (error) {
        if (!(error instanceof RuntimeError)) throw error;
      }
    }),
    { numRuns: Math.ceil(runs * 0.15) },
  );
});

it.each([
  ["of the version before", (text: string) => text.replace('"format": 3', '"format": 2'), /^version: .* has format 2 /],
  ["of a later one", (text: string) => text.replace('"format": 3', '"format": 17'), /^version: .*build it again/s],
  ["of something else", () => '{ "name": "left-pad" }', /^foreign: .* is none of fovea/],
  ["of nothing", () => "", /^damaged: .* is not JSON/],
])("names a manifest %s", (_, change, said) => {
  expect(afterHarm("folder", (place) => writeFileSync(join(place, "manifest.json"), change(manifest)))).toMatch(said);
});
