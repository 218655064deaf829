import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeEach, expect, it } from "vitest";
import { writeText, writeWhole } from "../../compiler/cli/writeWhole.ts";

const root = mkdtempSync(join(tmpdir(), "fovea-whole-"));
const at = (...path: readonly string[]): string => join(root, ...path);
beforeEach(() => {
  rmSync(root, { recursive: true });
  mkdirSync(root);
});
afterAll(() => rmSync(root, { recursive: true }));

/** Writes a part, and then there is no room. */
function fillDisk(draft: string): void {
  writeFileSync(draft, "half");
  // As fs reports it.
  throw Object.assign(new Error("ENOSPC: no space left on device, write"), { code: "ENOSPC", syscall: "write" });
}

it("leaves what was there, and nothing else, where the disk is full", () => {
  writeText(at("out"), "before");
  expect(() => writeWhole(at("out"), fillDisk)).toThrow(`"${at("out")}" could not be written: the disk is full`);
  expect(() => writeWhole(at("new"), fillDisk)).toThrow("the disk is full");
  expect(readdirSync(root)).toEqual(["out"]);
  expect(readFileSync(at("out"), "utf8")).toBe("before");
});

it("names the place that cannot be", () => {
  expect(() => writeText(at("nowhere", "out"), "")).toThrow(
    `"${at("nowhere", "out")}" could not be written: its folder`,
  );
  mkdirSync(at("folder"));
  expect(() => writeText(at("folder"), "")).toThrow("it is a folder");
  expect(readdirSync(root)).toEqual(["folder"]);
});

it("writes through links and into devices, and passes other errors on", () => {
  writeText(at("target"), "old");
  symlinkSync(at("target"), at("link"));
  writeText(at("link"), "new");
  expect(readFileSync(at("target"), "utf8")).toBe("new");
  writeText("/dev/null", "nobody reads this");
  expect(existsSync("/dev/null")).toBe(true);
  expect(readFileSync("/dev/null", "utf8")).toBe("");
  const mistake = (): never => {
    throw new TypeError("a mistake");
  };
  expect(() => writeWhole(at("other"), mistake)).toThrow(TypeError);
});
