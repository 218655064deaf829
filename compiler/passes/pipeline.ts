import type { Graph } from "../../ir/graph.ts";
import type { Stage } from "../compiled.ts";
import { absorbProjections } from "./absorbProjections.ts";
import { distributeProducts } from "./distributeProducts.ts";
import { foldConstantTerms } from "./foldConstantTerms.ts";
import { foldLinears } from "./foldLinears.ts";
import { foldNorms } from "./foldNorms.ts";
import { foldScales } from "./foldScales.ts";
import { fusePointwise } from "./fusePointwise.ts";
import { hoistMeans } from "./hoistMeans.ts";
import { hoistTokenViews } from "./hoistTokenViews.ts";
import { joinLinears } from "./joinLinears.ts";
import type { Pass } from "./rewrite.ts";
import { simplifyViews } from "./simplifyViews.ts";
import { sinkRepeats } from "./sinkRepeats.ts";
import { sinkUnpacks } from "./sinkUnpacks.ts";
import { splitConstantTokens } from "./splitConstantTokens.ts";

/** In order. The reason for a place is written beside it. */
const passes: readonly Pass[] = [
  simplifyViews, // so that the matchers below meet no view of a view
  splitConstantTokens, // before the means and repeats, which then see plain grids
  simplifyViews, // the tokens that were just put together are taken apart again by their readers
  hoistTokenViews, // before norms are folded: it moves views through them
  sinkRepeats, // before means are hoisted: a mean of a repeat is nothing at all
  hoistMeans, // leaves product after product where a mean stood between
  distributeProducts, // before foldLinears: it moves products next to each other
  sinkUnpacks, // behind distributeProducts, whose sums it leaves to their readers
  foldScales, // before foldLinears, which wants a bias alone behind a product
  absorbProjections, // before foldLinears, which would fold the value weights into what follows
  foldLinears, // needs the bias alone between two products
  foldNorms, // after foldLinears, which would not see through a normalisation
  fusePointwise, // after the folds, which look for single affine maps
  foldConstantTerms, // the folds have left biases beside biases
  joinLinears, // last: it looks for products with one bias each
];

/** Runs all passes; the graph after each is kept for those who want to look. */
export const runPasses = (graph: Graph): { readonly graph: Graph; readonly stages: readonly Stage[] } => {
  const stages: Stage[] = [{ name: "traced", graph, ms: 0 }];
  let current = graph;
  for (const pass of passes) {
    const start = performance.now();
    current = pass.run(current);
    stages.push({ name: pass.name, graph: current, ms: performance.now() - start });
  }
  return { graph: current, stages };
};
