import type { LaunchData } from "../data.ts";

/** The author's modules, with the launches that they make, in the order of the first of them. */
export type Tree = Module | Launch;
export type Module = {
  readonly kind: "module";
  readonly name: string;
  readonly path: string;
  readonly children: readonly Tree[];
};
export type Launch = { readonly kind: "launch"; readonly name: string; readonly index: number };

export function moduleTree(network: string, launches: readonly LaunchData[]): Module {
  const within = (path: string): ((index: number) => boolean) => {
    return (index) => `${launches[index]?.path}.`.startsWith(`${path}.`);
  };
  const build = (path: string, indices: readonly number[]): Module => {
    const children = new Map<string, Tree>();
    for (const index of indices) {
      const launch = launches[index];
      if (launch === undefined) continue;
      if (launch.path === path) {
        children.set(`#${index}`, { kind: "launch", name: launch.kernel, index });
        continue;
      }
      const rest = path === "" ? launch.path : launch.path.slice(path.length + 1);
      const name = rest.split(".")[0] ?? "";
      const below = path === "" ? name : `${path}.${name}`;
      if (!children.has(name)) children.set(name, simple(build(below, indices.filter(within(below)))));
    }
    return { kind: "module", name: path.split(".").at(-1) ?? path, path, children: [...children.values()] };
  };
  const all = build("", [...launches.keys()]);
  // A network whose modules all lie in one is that one; others have several, and launches of their own.
  const [only, second] = all.children;
  return only?.kind === "module" && second === undefined ? only : { ...all, name: network };
}

/** A module of one launch is that launch, under the module's name. */
function simple(module: Module): Tree {
  const [only, second] = module.children;
  return only?.kind === "launch" && second === undefined ? { ...only, name: module.name } : module;
}

export const launchesIn = (tree: Tree): number[] =>
  tree.kind === "launch" ? [tree.index] : tree.children.flatMap(launchesIn);
