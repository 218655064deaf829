import * as Plot from "@observablehq/plot";
import { parseHTML } from "linkedom";
import type { NumberArray, NumberArrays } from "./arrays.ts";
import { CommandError } from "./failure.ts";

/** Sets of points in the plane, the cluster of each, and, where the network says so, each cluster's Gaussian. */
export type Clusters = {
  readonly sets: number;
  readonly points: NumberArray;
  readonly labels: NumberArray;
  /** Means and standard deviations of both coordinates: [sets, clusters, 4]. */
  readonly gaussians: NumberArray | null;
};

/**
 * What of a run is a clustering: an input of points [sets, n, 2], and whole numbers [sets, n] that come out for them.
 * Gaussians are an output `theta` [sets, clusters, 4], or `mu` and `sigma` [sets, clusters, 2].
 */
export function clustersOf(inputs: NumberArrays, outputs: NumberArrays): Clusters {
  for (const points of inputs.values()) {
    const [sets = 0, n = 0, coordinates] = points.shape;
    if (points.shape.length !== 3 || coordinates !== 2) continue;
    for (const labels of outputs.values()) {
      if (!(labels.values instanceof Int32Array) || labels.shape.join() !== [sets, n].join()) continue;
      return { sets, points, labels, gaussians: gaussiansOf(sets, outputs) };
    }
  }
  throw new CommandError(
    "this network's results are no clusters that could be drawn",
    "--plot wants points [sets, n, 2] as an input, and whole numbers [sets, n] as an output: models/deepAmortizedClustering.ts --entry ClusterLoop",
  );
}

function gaussiansOf(sets: number, outputs: NumberArrays): NumberArray | null {
  const of = (name: string, width: number): NumberArray | null => {
    const found = outputs.get(name);
    return found?.shape.length === 3 && found.shape[0] === sets && found.shape[2] === width ? found : null;
  };
  const [both, mu, sigma] = [of("theta", 4), of("mu", 2), of("sigma", 2)];
  if (both !== null || mu === null || sigma === null) return both;
  const values = Float32Array.from({ length: 2 * mu.values.length }, (_, i) => {
    const [row, column] = [Math.floor(i / 4), i % 4];
    return (column < 2 ? mu.values[2 * row + column] : sigma.values[2 * row + column - 2]) ?? Number.NaN;
  });
  return { shape: [sets, mu.shape[1] ?? 0, 4], values };
}

/** An SVG: a panel a set, a colour a cluster, and lines at one and two standard deviations of its Gaussian. */
export function clusterPlot(clusters: Clusters): string {
  const dots = dotsOf(clusters);
  const rings = ringsOf(clusters, new Set(dots.map(({ set, cluster }) => `${set} ${cluster}`)));
  const numbers = [...new Set(dots.map(({ cluster }) => cluster))].toSorted((a, b) => a - b);
  const several = clusters.sets > 1;
  const fx = several ? { fx: "set" } : {};
  const [columns, panel] = [clusters.sets, 280];
  const drawing = Plot.plot({
    document: parseHTML("<!doctype html><html><body></body></html>").document,
    width: 60 + columns * panel,
    height: panel + 60,
    marginLeft: 40,
    x: { label: null, ticks: 5 },
    y: { label: null, ticks: 5 },
    fx: { label: null, padding: 0.04 },
    color: { type: "categorical", scheme: "Observable10", domain: numbers },
    inset: 14,
    marks: [
      Plot.frame({ stroke: "#ccc" }),
      Plot.line(rings, { x: "x", y: "y", z: "ring", ...fx, stroke: "cluster", strokeWidth: 1.2, strokeOpacity: 0.8 }),
      Plot.dot(dots, { x: "x", y: "y", ...fx, fill: "cluster", r: 2.4, fillOpacity: 0.8 }),
    ],
  });
  // An SVG of its own, which browsers do not take for HTML.
  drawing.setAttribute("xmlns", "http://www.w3.org/2000/svg");
  drawing.setAttribute("style", "background: white; color: #333");
  return `${drawing.outerHTML}\n`;
}

type Dot = { readonly set: string; readonly x: number; readonly y: number; readonly cluster: number };

const nameOf = ({ sets, labels }: Clusters, set: number): string => {
  const n = labels.shape[1] ?? 0;
  const found = new Set(labels.values.subarray(set * n, (set + 1) * n)).size;
  return sets === 1 ? "" : `set ${set + 1}: ${found === 1 ? "one cluster" : `${found} clusters`}`;
};

/** Clusters are numbered from one. */
function dotsOf(clusters: Clusters): readonly Dot[] {
  const { points, labels } = clusters;
  const n = labels.shape[1] ?? 0;
  const names = Array.from({ length: clusters.sets }, (_, set) => nameOf(clusters, set));
  return Array.from(labels.values, (label, i) => ({
    set: names[Math.floor(i / n)] ?? "",
    x: points.values[2 * i] ?? Number.NaN,
    y: points.values[2 * i + 1] ?? Number.NaN,
    cluster: label + 1,
  }));
}

/** Ellipses of the clusters that have points. */
function ringsOf(clusters: Clusters, found: ReadonlySet<string>): readonly (Dot & { readonly ring: string })[] {
  const { gaussians, sets } = clusters;
  const steps = gaussians?.shape[1] ?? 0;
  return Array.from({ length: sets * steps }, (_, i) => i).flatMap((i) => {
    const [set, cluster] = [nameOf(clusters, Math.floor(i / steps)), (i % steps) + 1];
    const [muX = 0, muY = 0, sigmaX = 0, sigmaY = 0] = gaussians?.values.subarray(4 * i, 4 * i + 4) ?? [];
    if (!found.has(`${set} ${cluster}`)) return [];
    return [1, 2].flatMap((deviations) =>
      Array.from({ length: 49 }, (_step, step) => {
        const angle = (2 * Math.PI * step) / 48;
        return {
          set,
          cluster,
          ring: `${i} ${deviations}`,
          x: muX + deviations * sigmaX * Math.cos(angle),
          y: muY + deviations * sigmaY * Math.sin(angle),
        };
      }),
    );
  });
}
