import type { Precision } from "../../ir/types.ts";
import { emitMap } from "../../compiler/emit/map.ts";
import { emitRow } from "../../compiler/emit/row.ts";
import * as map from "../kernels/mapCases.ts";
import * as row from "../kernels/rowCases.ts";
import { describeCompiles } from "./compiles.ts";

// Kernels of f16 differ from those of bf16 in conversions alone.
const precisions: readonly Precision[] = ["f32", "bf16"];

describeCompiles(
  "map kernels",
  precisions.flatMap((precision) =>
    Object.values(map.cases).map((test, index) => {
      const name = `map_${precision}_${index}`;
      return { name, family: "map", source: emitMap(map.kernelOf(test, precision), { ...map.header, name }).source };
    }),
  ),
);
describeCompiles(
  "row kernels",
  precisions.flatMap((precision) =>
    Object.values(row.cases).map((test, index) => {
      const name = `row_${precision}_${index}`;
      return { name, family: "row", source: emitRow(row.kernelOf(test, precision), { ...row.header, name }).source };
    }),
  ),
);
