import { readFileSync } from "node:fs";
import * as fc from "fast-check";
import { describe, expect, test } from "vitest";
import { RuntimeError } from "../../runtime/errors.ts";
import { readFatbin } from "../../runtime/fatbin.ts";

// nvcc's fatbinary made it, of one kernel:
//   fatbinary --create=fill.fatbin -64 --compress=false --image3=kind=elf,sm=80,file=sm_80 \
//     --image3=kind=elf,sm=90a,file=sm_90a --image3=kind=ptx,sm=90,file=compute_90
const file = new Uint8Array(readFileSync(new URL("../golden/fatbin/fill.fatbin", import.meta.url)));

describe("a fatbin", () => {
  test("says which architectures it has code for, and where", () => {
    const images = readFatbin(file);
    expect(images.map(({ target }) => target)).toEqual(["sm_80", "sm_90a", "compute_90"]);
    const [first, second, third] = images.map(({ content }) => Buffer.from(content));
    for (const cubin of [first, second]) {
      expect(cubin?.subarray(0, 4).toString("latin1")).toBe("\x7fELF");
      expect(cubin?.includes(".text.fill")).toBe(true);
    }
    expect(third?.toString("latin1")).toContain(".target sm_90\n");
  });

  test("that is cut is refused, at any length", () => {
    for (let length = 0; length < file.length; length += 61)
      expect(() => readFatbin(file.subarray(0, length))).toThrow(/no fatbin: it (is cut|does not begin as one)/);
  });

  test("that was changed is read or refused, and nothing beyond its end is", () => {
    const change = fc.tuple(fc.nat({ max: 200 }), fc.nat({ max: 255 }));
    fc.assert(
      fc.property(fc.array(change, { minLength: 1, maxLength: 4 }), (changes) => {
        const hurt = Uint8Array.from(file);
        for (const [place, value] of changes) hurt[place] = value;
        try {
          for (const { content } of readFatbin(hurt)) expect(content.length).toBeLessThan(file.length);
        } catch (error) {
          if (!(error instanceof RuntimeError)) throw error;
        }
      }),
      { numRuns: 500 },
    );
  });
});
