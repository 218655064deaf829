import { hierarchy, type HierarchyRectangularNode, partition } from "d3-hierarchy";
import { milliseconds, percent } from "../../units.ts";
import type { ReportData } from "../data.ts";
import { element, roving, section } from "./dom.ts";
import { familyClass, type Selection } from "./state.ts";
import { type Tree } from "./tree.ts";

const rowHeight = 26;

/** Time by module: a module lies above its parts, as wide as its share. A press on a module makes it the whole width. */
export function flame(data: ReportData, tree: Tree, selection: Selection): HTMLElement {
  const root = partition<Tree>()(
    hierarchy<Tree>(tree, (each) => (each.kind === "module" ? each.children : [])).sum((each) =>
      each.kind === "launch" ? (data.launches[each.index]?.milliseconds ?? 0) : 0,
    ),
  );
  const chart = element("div", { class: "flame", role: "group", "aria-label": "time by module" });
  const renew = roving(chart, "button");
  const draw = (focus: HierarchyRectangularNode<Tree>): void => {
    const width = focus.x1 - focus.x0;
    const shown = [...focus.ancestors().toReversed(), ...focus.descendants().slice(1)];
    chart.replaceChildren(
      ...shown.map((node) => {
        const above = node.depth < focus.depth;
        const left = above ? 0 : (node.x0 - focus.x0) / width;
        const share = above ? 1 : (node.x1 - node.x0) / width;
        const { data: each } = node;
        const launch = each.kind === "launch" ? data.launches[each.index] : undefined;
        const said = `${each.name}, ${milliseconds(node.value ?? 0)}, ${percent((node.value ?? 0) / data.milliseconds)}`;
        return element(
          "button",
          {
            type: "button",
            class: launch === undefined ? "module" : familyClass(launch.family),
            "data-launch": each.kind === "launch" ? each.index : "",
            style: `left:${100 * left}%;width:${100 * share}%;top:${node.depth * rowHeight}px`,
            title: launch === undefined ? said : `${said}\n${launch.kernel}\n${launch.formula}`,
            "aria-label": said,
            onclick: () => {
              if (each.kind === "launch") return selection.choose(each.index);
              draw(node === focus && node.parent !== null ? node.parent : node);
              chart.querySelector("button")?.focus();
            },
          },
          element("span", {}, each.name),
        );
      }),
    );
    mark(selection.launch());
    renew();
  };
  const mark = (chosen: number): void => {
    for (const each of chart.querySelectorAll<HTMLElement>("button"))
      each.classList.toggle("chosen", each.dataset["launch"] === String(chosen));
  };
  chart.style.height = `${(root.height + 1) * rowHeight}px`;
  draw(root);
  selection.listen(mark);
  return section("time", "Time by module", "Press a module to look into it, and again to come back.", chart);
}
