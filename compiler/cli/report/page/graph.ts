import { Graph, layout } from "@dagrejs/dagre";
import { bytes, milliseconds, percent } from "../../units.ts";
import type { FlowEnd, ReportData } from "../data.ts";
import { drawn, element, pressed, roving, section } from "./dom.ts";
import { familyClass, type Selection } from "./state.ts";
import { launchesIn, type Module, type Tree } from "./tree.ts";

const boxWidth = 216;
const boxHeight = 44;
/** Room for a frame's name, above what the layout gives it. */
const frameTop = 10;
/** Modules open from the outermost on while no more boxes than this are to be seen. */
const boxesAtFirst = 24;

type Box = { readonly id: string; readonly tree: Tree; readonly parent: string | null };

/** The network as its fused groups: a module is one box, or a frame around its parts. */
export function graph(data: ReportData, tree: Module, selection: Selection): HTMLElement {
  const open = openAtFirst(tree);
  const frame = element("div", { class: "graph", tabindex: "-1" });
  const renew = roving(frame, "[role=button]");
  const draw = (): void => {
    frame.replaceChildren(picture(data, tree, open, selection, toggle));
    renew();
    mark(selection.launch());
  };
  const toggle = (path: string): void => {
    if (!open.delete(path)) open.add(path);
    draw();
    frame.querySelector<SVGElement>(`[data-path="${CSS.escape(path)}"]`)?.focus();
  };
  const mark = (chosen: number): void => {
    for (const each of frame.querySelectorAll<SVGElement>("[data-launches]")) {
      const holds = each.dataset["launches"]?.split(" ").includes(String(chosen)) === true;
      each.classList.toggle("chosen", holds);
      if (holds) reveal(frame, each);
    }
  };
  const all = (wanted: boolean): void => {
    open.clear();
    for (const each of modulesOf(tree)) if (wanted || each === tree) open.add(each.path);
    draw();
  };
  draw();
  selection.listen(mark);
  return section(
    "network",
    "Network",
    "A box is one launch, or a closed module. Lines are values in memory.",
    element(
      "div",
      { class: "tools" },
      element("button", { type: "button", onclick: () => all(true) }, "Open all"),
      element("button", { type: "button", onclick: () => all(false) }, "Close all"),
    ),
    frame,
  );
}

/** Scrolls the frame alone, never the page. */
function reveal(frame: HTMLElement, box: SVGElement): void {
  const [outer, inner] = [frame.getBoundingClientRect(), box.getBoundingClientRect()];
  if (inner.top < outer.top || inner.bottom > outer.bottom)
    frame.scrollTop += inner.top - outer.top - (outer.height - inner.height) / 2;
}

const modulesOf = (tree: Tree): Module[] => (tree.kind === "launch" ? [] : [tree, ...tree.children.flatMap(modulesOf)]);

function openAtFirst(tree: Module): Set<string> {
  const open = new Set([tree.path]);
  const queue: Module[] = [tree];
  let boxes = tree.children.length;
  for (let module = queue.shift(); module !== undefined; module = queue.shift()) {
    for (const child of module.children) {
      if (child.kind === "launch" || boxes + child.children.length - 1 > boxesAtFirst) continue;
      boxes += child.children.length - 1;
      open.add(child.path);
      queue.push(child);
    }
  }
  return open;
}

function boxesOf(tree: Tree, open: ReadonlySet<string>, parent: string | null): Box[] {
  const id = tree.kind === "launch" ? `#${tree.index}` : tree.path;
  const self: Box = { id, tree, parent };
  if (tree.kind === "launch" || !open.has(tree.path)) return [self];
  return [self, ...tree.children.flatMap((child) => boxesOf(child, open, id))];
}

function picture(
  data: ReportData,
  tree: Module,
  open: ReadonlySet<string>,
  selection: Selection,
  toggle: (path: string) => void,
): SVGElement {
  const boxes = boxesOf(tree, open, null).slice(1);
  const isFrame = ({ tree: each }: Box): boolean => each.kind === "module" && open.has(each.path);
  const owner = new Map<number, string>();
  for (const box of boxes) if (!isFrame(box)) for (const index of launchesIn(box.tree)) owner.set(index, box.id);
  const end = (of: FlowEnd): string | undefined => (typeof of === "number" ? owner.get(of) : `:${of.port}`);

  const plan = new Graph({ compound: true });
  plan.setGraph({ rankdir: "TB", nodesep: 24, ranksep: 30, marginx: 16, marginy: 16 });
  plan.setDefaultEdgeLabel(() => ({}));
  for (const box of boxes) plan.setNode(box.id, isFrame(box) ? {} : { width: boxWidth, height: boxHeight });
  for (const { id, parent } of boxes) if (parent !== null && parent !== tree.path) plan.setParent(id, parent);
  const weights = new Map<string, number>();
  for (const { from, to, bytes: size } of data.flows) {
    const [a, b] = [end(from), end(to)];
    if (a === undefined || b === undefined || a === b) continue;
    for (const [port, of] of [
      [a, from],
      [b, to],
    ] as const)
      if (typeof of !== "number" && !plan.hasNode(port)) plan.setNode(port, { width: 150, height: 30 });
    plan.setEdge(a, b);
    weights.set(`${a} ${b}`, (weights.get(`${a} ${b}`) ?? 0) + size);
  }
  layout(plan);

  const { width = 0, height = 0 } = plan.graph();
  const drawing = drawn("svg", {
    width,
    height,
    // A little too wide is drawn smaller; wider than that scrolls.
    style: `max-width: 100%; min-width: ${0.72 * width}px; height: auto`,
    viewBox: `0 0 ${width} ${height}`,
    role: "group",
    "aria-label": "launches and what flows between them",
  });
  drawing.append(
    drawn(
      "marker",
      { id: "arrow", viewBox: "0 0 8 8", refX: 7, refY: 4, markerWidth: 7, markerHeight: 7, orient: "auto" },
      drawn("path", { d: "M0,0.5 L8,4 L0,7.5 z" }),
    ),
  );
  for (const box of boxes.filter(isFrame)) {
    const at = plan.node(box.id);
    if (box.tree.kind !== "module") continue;
    const { path, name } = box.tree;
    drawing.append(
      drawn(
        "g",
        {
          class: "frame",
          role: "button",
          "data-path": path,
          "aria-expanded": "true",
          "aria-label": `${path}, open`,
          transform: `translate(${at.x - at.width / 2},${at.y - at.height / 2})`,
          ...pressed(() => toggle(path)),
        },
        drawn("rect", { y: -frameTop, width: at.width, height: at.height + frameTop, rx: 8 }),
        drawn("text", { x: 10, y: 14 - frameTop }, `− ${name}`),
        drawn("title", {}, `${path}: press to close`),
      ),
    );
  }
  for (const edge of plan.edges()) {
    const size = weights.get(`${edge.v} ${edge.w}`) ?? 0;
    const { points } = plan.edge(edge);
    drawing.append(
      drawn(
        "path",
        { class: "flow", d: smooth(points ?? []), "marker-end": "url(#arrow)" },
        drawn("title", {}, bytes(size)),
      ),
    );
  }
  for (const port of plan.nodes().filter((id: string) => id.startsWith(":"))) {
    const { x, y, width: w, height: h } = plan.node(port);
    drawing.append(
      drawn(
        "g",
        { class: "port", transform: `translate(${x - w / 2},${y - h / 2})` },
        drawn("rect", { width: w, height: h, rx: h / 2 }),
        drawn("text", { x: w / 2, y: h / 2 + 4, "text-anchor": "middle" }, port.slice(1)),
      ),
    );
  }
  for (const box of boxes.filter((each) => !isFrame(each))) {
    const at = plan.node(box.id);
    drawing.append(boxDrawing(data, box.tree, at, selection, toggle));
  }
  return drawing;
}

function boxDrawing(
  data: ReportData,
  tree: Tree,
  { x, y }: { readonly x: number; readonly y: number },
  selection: Selection,
  toggle: (path: string) => void,
): SVGElement {
  const indices = launchesIn(tree);
  const time = indices.reduce((sum, index) => sum + (data.launches[index]?.milliseconds ?? 0), 0);
  const share = time / data.milliseconds;
  const launch = tree.kind === "launch" ? data.launches[tree.index] : undefined;
  const lower =
    launch === undefined
      ? `${indices.length} launches, ${milliseconds(time)}, ${percent(share)}`
      : `${launch.family}, ${milliseconds(time)}, ${percent(share)}`;
  const name = tree.kind === "launch" ? tree.name : `+ ${tree.name}`;
  return drawn(
    "g",
    {
      class: `box ${launch === undefined ? "closed" : familyClass(launch.family)}`,
      role: "button",
      "data-launches": indices.join(" "),
      ...(tree.kind === "module" ? { "data-path": tree.path, "aria-expanded": "false" } : {}),
      "aria-label": `${name}, ${lower}`,
      transform: `translate(${x - boxWidth / 2},${y - boxHeight / 2})`,
      ...pressed(() => (tree.kind === "launch" ? selection.choose(tree.index) : toggle(tree.path))),
    },
    drawn("rect", { width: boxWidth, height: boxHeight, rx: 6 }),
    drawn("rect", { class: "share", y: boxHeight - 4, width: Math.max(2, boxWidth * share), height: 4 }),
    drawn("text", { x: 10, y: 18, class: "name" }, shortened(name)),
    drawn("text", { x: 10, y: 34, class: "lower" }, lower),
    drawn("title", {}, launch === undefined ? `${name}: press to open` : `${launch.kernel}\n${launch.formula}`),
  );
}

const shortened = (name: string): string => (name.length > 28 ? `${name.slice(0, 27)}…` : name);

type Point = { readonly x: number; readonly y: number };

/** Through the middles of the legs, rounded at the bends. */
function smooth(points: readonly Point[]): string {
  const [first, ...rest] = points;
  const last = points.at(-1);
  if (first === undefined || last === undefined) return "";
  const bends = rest.slice(0, -1).map((bend, index) => {
    const next = rest[index + 1] ?? last;
    const isLast = index === rest.length - 2;
    return `Q${bend.x},${bend.y} ${isLast ? next.x : (bend.x + next.x) / 2},${isLast ? next.y : (bend.y + next.y) / 2}`;
  });
  return `M${first.x},${first.y} ${bends.join(" ")}${bends.length === 0 ? `L${last.x},${last.y}` : ""}`;
}
