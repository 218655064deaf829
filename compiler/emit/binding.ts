import { contractOf, printContract, printExtents } from "../../ir/contract.ts";
import type { Programs } from "../../ir/manifest.ts";
import type { Port, PortSize, Program } from "../../ir/program.ts";
import type { StorageType } from "../../ir/types.ts";
import { packageVersion } from "../packageRoot.ts";
import { renderTemplate } from "./render.ts";

/** What templates/binding.d.mts.njk and binding.mjs.njk print. */
type BindingView = {
  readonly name: string;
  readonly version: string;
  readonly precision: string;
  /** "batch 1..32, t = 8 or 16" */
  readonly contract: string;
  /** One for each combination of the symbolic axes' extents; one alone where there are none. */
  readonly signatures: readonly SignatureView[];
  readonly parameters: readonly { readonly key: string; readonly shape: string }[];
};
type SignatureView = {
  /** "t=8", as a literal. */
  readonly key: string;
  readonly inputs: readonly PortView[];
  readonly outputs: readonly PortView[];
};
type PortView = { readonly key: string; readonly type: string; readonly comment: string };

/** The artefact's typed loader: index.mjs and index.d.mts, by path. */
export function emitBinding(programs: Programs): ReadonlyMap<string, string> {
  const view = bindingView(programs);
  return new Map([
    ["index.mjs", renderTemplate("binding.mjs.njk", view)],
    ["index.d.mts", renderTemplate("binding.d.mts.njk", view)],
  ]);
}

function bindingView(programs: Programs): BindingView {
  const [first] = programs;
  return {
    name: first.name,
    version: packageVersion(),
    precision: first.precision,
    contract: printContract(contractOf(programs)),
    signatures: programs.map((program) => ({
      key: JSON.stringify(printExtents(program.extents)),
      inputs: program.inputs.map((port) => portView(port, program)),
      outputs: [...program.outputs, ...program.kept].map((port) => portView(port, program)),
    })),
    parameters: first.parameters.map(({ name, shape }) => ({
      key: JSON.stringify(name),
      shape: `readonly [${shape.join(", ")}]`,
    })),
  };
}

const portView = ({ name, storage, shape, upTo }: Port, { batch }: Program): PortView => ({
  key: JSON.stringify(name),
  type: `Tensor<readonly [${shape.map((size, index) => (index === upTo?.dimension ? "number" : sizeType(size, batch))).join(", ")}], ${arrays[storage]}>`,
  comment: `${storage} [${shape.map(sizeText).join(", ")}]${upTo === null ? "" : `; of each ${upTo.extent} along dimension ${upTo.dimension} as many as \`${upTo.count}\` says`}`,
});

/** A literal where one batch alone is served. */
function sizeType(size: PortSize, { min, max }: Program["batch"]): string {
  if (typeof size === "number") return String(size);
  return min === max ? String(size.batchTimes * min) : "number";
}

function sizeText(size: PortSize): string {
  if (typeof size === "number") return String(size);
  return size.batchTimes === 1 ? "batch" : `${size.batchTimes} * batch`;
}

const arrays: { readonly [S in StorageType]: string } = {
  f32: "Float32Array",
  f16: "Float32Array",
  bf16: "Float32Array",
  i32: "Int32Array",
  u8: "Uint8Array",
};
