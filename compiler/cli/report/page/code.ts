import highlight from "highlight.js/lib/core";
import cpp from "highlight.js/lib/languages/cpp";
import typescript from "highlight.js/lib/languages/typescript";
import { milliseconds } from "../../units.ts";
import type { ReportData } from "../data.ts";
import { element, section } from "./dom.ts";
import type { Selection } from "./state.ts";

highlight.registerLanguage("cpp", cpp);
highlight.registerLanguage("typescript", typescript);

/** The author's lines beside the kernel that one of them became. */
export function code(data: ReportData, selection: Selection): HTMLElement {
  const kernels = new Map(data.kernels.map((kernel) => [kernel.name, kernel]));
  const texts = new Map(data.files.map(({ file, text }) => [file, text]));
  const [authorName, kernelName] = [element("h3"), element("h3")];
  const author = element("div", { class: "code", tabindex: "0", role: "region", "aria-label": "the model's source" });
  const kernel = element("div", { class: "code", tabindex: "0", role: "region", "aria-label": "the generated kernel" });
  const choice = element(
    "select",
    { "aria-label": "launch", onchange: () => selection.choose(Number(choice.value)) },
    ...data.launches.map(({ kernel: name, path }, index) =>
      element("option", { value: index }, `${index}  ${name}  ${path}`),
    ),
  );
  const shown = { file: "", kernel: "" };

  const showFile = (file: string): void => {
    if (shown.file === file) return;
    shown.file = file;
    authorName.textContent = file;
    const text = texts.get(file);
    if (text === undefined) {
      author.replaceChildren(element("p", {}, "The file was not there when this report was written."));
      return;
    }
    const lines = linesOf(text, "typescript");
    for (const [line, launches] of launchesByLine(data, file)) {
      const place = lines[line - 1];
      if (place === undefined) continue;
      const time = launches.reduce((sum, index) => sum + (data.launches[index]?.milliseconds ?? 0), 0);
      const next = (): void =>
        selection.choose(launches[(launches.indexOf(selection.launch()) + 1) % launches.length] ?? 0);
      place.classList.add("makes");
      place.addEventListener("click", next);
      place.prepend(
        element(
          "button",
          {
            type: "button",
            class: "badge",
            title: `${launches.length} launches, ${milliseconds(time)}: press for the next one`,
            "aria-label": `line ${line}: ${launches.length} launches, ${milliseconds(time)}`,
          },
          milliseconds(time),
        ),
      );
    }
    author.replaceChildren(...lines);
  };
  const showKernel = (name: string): void => {
    if (shown.kernel === name) return;
    shown.kernel = name;
    kernelName.textContent = `${name}.cu`;
    const lines = linesOf(kernels.get(name)?.text ?? "", "cpp");
    for (const line of lines) line.addEventListener("click", () => flash(selection.launch()));
    kernel.replaceChildren(...lines);
    kernel.scrollTop = 0;
  };
  const flash = (chosen: number): void => {
    const launch = data.launches[chosen];
    const line = author.children[(launch?.line ?? 0) - 1];
    if (!(line instanceof HTMLElement)) return;
    author.scrollTop = line.offsetTop - author.clientHeight / 3;
    line.classList.remove("flash");
    requestAnimationFrame(() => line.classList.add("flash"));
  };
  selection.listen((chosen) => {
    const launch = data.launches[chosen];
    if (launch === undefined) return;
    choice.value = String(chosen);
    showFile(launch.file);
    showKernel(launch.kernel);
    for (const [index, line] of [...author.children].entries())
      line.classList.toggle("chosen", index === launch.line - 1);
    flash(chosen);
  });
  return section(
    "code",
    "Code",
    "Press a line of the model for the kernel it became, or a line of the kernel for the line it came from.",
    element("div", { class: "tools" }, choice),
    element("div", { class: "panes" }, element("div", {}, authorName, author), element("div", {}, kernelName, kernel)),
  );
}

function launchesByLine({ launches }: ReportData, file: string): Map<number, number[]> {
  const lines = new Map<number, number[]>();
  for (const [index, launch] of launches.entries())
    if (launch.file === file) lines.set(launch.line, [...(lines.get(launch.line) ?? []), index]);
  return lines;
}

/** Highlighted lines. What spans several lines is closed at the end of each and opened again on the next. */
function linesOf(text: string, language: "cpp" | "typescript"): HTMLElement[] {
  const { value } = highlight.highlight(text.trimEnd(), { language });
  let open: string[] = [];
  return value.split("\n").map((line) => {
    const before = open.join("");
    for (const [tag] of line.matchAll(/<span[^>]*>|<\/span>/g))
      open = tag === "</span>" ? open.slice(0, -1) : [...open, tag];
    const made = element("div", { class: "line" });
    const content = element("code");
    content.innerHTML = `${before}${line}${"</span>".repeat(open.length)}`;
    made.append(content);
    return made;
  });
}
