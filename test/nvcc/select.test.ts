import { emitKernel } from "../../compiler/emit/emitKernel.ts";
import { cases, header, kernelOf } from "../kernels/selectCases.ts";
import { describeCompiles } from "./compiles.ts";

describeCompiles(
  "selecting kernels",
  Object.keys(cases).map((differs, index) => {
    const name = `select_${index}`;
    const kernel = kernelOf(differs);
    return { name, family: kernel.kind, source: emitKernel(kernel, { ...header, name }).source };
  }),
);
