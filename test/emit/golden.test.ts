import { expect, it } from "vitest";
import { emitMap } from "../../compiler/emit/map.ts";
import { emitRow } from "../../compiler/emit/row.ts";
import * as map from "../kernels/mapCases.ts";
import * as row from "../kernels/rowCases.ts";

// Whole kernels, reviewed as code; `vitest -u` writes them anew.
it.each([
  ["pointwise", "a pointwise op on rows of whole vectors, with a bias and a number for each row"],
  ["mean", "a mean over tokens, far from zero"],
  ["pool", "pooling the maximum, with padding"],
] as const)("the map kernel %s is as reviewed", async (name, test) => {
  const kernel = map.kernelOf(map.cases[test] ?? expect.fail(`no case "${test}"`), "bf16");
  await expect(emitMap(kernel, { ...map.header, name }).source).toMatchFileSnapshot(`../golden/emit/map_${name}.cu`);
});

it.each([
  ["norm", "affine parameters, a residual, and two results"],
  ["softmax", "a softmax of rows that see nothing, or little"],
  ["long_norm", "rows too long for registers"],
] as const)("the row kernel %s is as reviewed", async (name, test) => {
  const kernel = row.kernelOf(row.cases[test] ?? expect.fail(`no case "${test}"`), "bf16");
  await expect(emitRow(kernel, { ...row.header, name }).source).toMatchFileSnapshot(`../golden/emit/row_${name}.cu`);
});
