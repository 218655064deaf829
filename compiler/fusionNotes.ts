import type { Graph, Node } from "../ir/graph.ts";
import type { FusionNote } from "./compiled.ts";
import type { Roles } from "./schedule/lower/roles.ts";
import { usesOf, type Uses } from "./schedule/lower/uses.ts";
import { isViewOp } from "./schedule/view.ts";

/** For each value that could have joined another's kernel: whether it did, and why. */
export const fusionNotes = (graph: Graph, roles: Roles): readonly FusionNote[] => {
  const uses = usesOf(graph);
  return graph.nodes.flatMap((node) => {
    const note = noteOf(node, roles, uses);
    return note ? [{ span: node.span, path: node.path, ...note }] : [];
  });
};

type Said = Pick<FusionNote, "fused" | "what" | "because">;

const noteOf = (node: Node, roles: Roles, uses: Uses): Said | null => {
  const role = roles.of(node.id);
  const readers = uses.get(node.id) ?? [];
  const [reader] = readers;
  if (roles.isInlined(node.id) && reader !== undefined && reader !== "output")
    return {
      fused: true,
      what: "pointwise op",
      because:
        reader.by.op === "sample"
          ? "the sampling that alone reads it computes it point by point"
          : `the ${reader.by.op === "reduce" ? "reduction" : "rounding"} that alone reads it computes it element by element`,
    };
  if (roles.isPrologue(node.id))
    return { fused: true, what: "pointwise op", because: "only products read it: they compute it as they load" };
  if (roles.isInMab(node.id))
    return {
      fused: true,
      what: node.op === "pointwise" ? "pointwise op" : node.op,
      because:
        "the kernel of the block around its attention computes it in registers: weights and keys fit beside its rows",
    };
  if (roles.isAveraged(node.id))
    return { fused: true, what: "pooling", because: "one product alone reads it: it averages as it loads" };
  if (roles.isInPerceptron(node.id))
    return {
      fused: true,
      what: node.op === "normalize" ? "normalisation" : node.op === "linear" ? "product" : "pointwise op",
      because: "its rows are made of little and come to few results: one kernel computes them from end to end",
    };
  if (node.op === "pointwise" && role.kind === "fused")
    return {
      fused: true,
      what: "pointwise op",
      because: "it alone reads the product in front of it: it is that kernel's epilogue",
    };
  if (node.op === "pointwise" && role.kind === "kernel")
    return { fused: false, what: "pointwise op", because: whyAlone(node, roles, uses) };
  if (node.op === "normalize" && role.kind === "fused")
    return { fused: true, what: "normalisation", because: "only products read it: they normalise as they load" };
  if (node.op === "normalize" && role.kind === "kernel") {
    const other = readers.find((use) => use === "output" || use.by.op !== "linear");
    return {
      fused: false,
      what: "normalisation",
      because:
        other === "output"
          ? "its result is wanted as it stands"
          : `it is also read by ${other === undefined ? "nothing" : other.by.op}`,
    };
  }
  if (role.kind === "view" && isViewOp(node.op))
    return { fused: true, what: node.op, because: "an address map: its readers compute where its elements lie" };
  return null;
};

const whyAlone = (node: Node, roles: Roles, uses: Uses): string => {
  for (const id of node.inputs) {
    const input = roles.node(id);
    if (!["linear", "conv", "normalize", "softmax"].includes(input.op)) continue;
    const readers = uses.get(id)?.length ?? 0;
    if (readers > 1) return `${input.op} at line ${input.span.line} is read ${readers} times`;
    return `${input.op} at line ${input.span.line} has other tokens or channels`;
  }
  return "no product or normalisation stands in front of it";
};
