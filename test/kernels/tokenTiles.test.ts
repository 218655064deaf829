import { describe, expect, it } from "vitest";
import { tokenTiles } from "../../compiler/schedule/attention/tokenTiles.ts";
import { rowsOf } from "../../ir/types.ts";
import { attentionKernel, pairTest } from "./attentionCase.ts";
import { patternCases } from "./attentionPatterns.ts";

describe("the tile that a query and a key share", () => {
  it.each(Object.entries(patternCases))("is met where one sees the other: %s", (_, test) => {
    const kernel = attentionKernel({ ...test, precision: "bf16" });
    const jobs = tokenTiles(kernel);
    const sees = pairTest(kernel);
    for (let query = 0; query < rowsOf(kernel.query); query++) {
      const own = jobs.filter(({ queries }) => (queries[query] ?? -1) >= 0);
      expect(own.length).toBeLessThanOrEqual(1);
      const met = new Set<number>();
      for (const { met: meetings, blockSlots, queries, keys, irregular } of own) {
        const place = queries[query] ?? -1;
        const block = Math.floor(place / meetings.length);
        for (const [slot, key] of (keys[block] ?? []).entries()) {
          const meeting = meetings[place % meetings.length]?.[Math.floor(slot / blockSlots)];
          if (key < 0 || meeting === "skipped") continue;
          met.add(key);
          if (meeting === "full" && irregular[block] !== true && !sees(query, key))
            expect.fail(`${query} does not see ${key} of a tile that is full`);
        }
      }
      for (let key = 0; key < rowsOf(kernel.key); key++)
        if (sees(query, key) && !met.has(key)) expect.fail(`${query} sees ${key}, whose tile it does not meet`);
    }
  });
});
