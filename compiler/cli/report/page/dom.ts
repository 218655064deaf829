type Attributes = { readonly [name: string]: string | number | boolean | ((event: Event) => void) };
type Child = Node | string;

/** An element with attributes (`on…` are listeners) and children. */
export function element<Tag extends keyof HTMLElementTagNameMap>(
  tag: Tag,
  attributes: Attributes = {},
  ...children: readonly Child[]
): HTMLElementTagNameMap[Tag] {
  return filled(document.createElement(tag), attributes, children);
}

export function drawn<Tag extends keyof SVGElementTagNameMap>(
  tag: Tag,
  attributes: Attributes = {},
  ...children: readonly Child[]
): SVGElementTagNameMap[Tag] {
  return filled(document.createElementNS("http://www.w3.org/2000/svg", tag), attributes, children);
}

function filled<E extends Element>(made: E, attributes: Attributes, children: readonly Child[]): E {
  for (const [name, value] of Object.entries(attributes)) {
    if (typeof value === "function") made.addEventListener(name.slice(2), value);
    else if (value !== false) made.setAttribute(name, value === true ? "" : String(value));
  }
  made.append(...children);
  return made;
}

export function section(id: string, title: string, hint: string, ...children: readonly Child[]): HTMLElement {
  return element(
    "section",
    { id, "aria-labelledby": `${id}-title` },
    element("header", {}, element("h2", { id: `${id}-title` }, title), element("p", {}, hint)),
    ...children,
  );
}

/** Acts on a click, and on Enter and the space bar as buttons do. */
export const pressed = (act: () => void): Attributes => ({
  onclick: act,
  onkeydown: (event) => {
    if (!(event instanceof KeyboardEvent) || (event.key !== "Enter" && event.key !== " ")) return;
    event.preventDefault();
    act();
  },
});

/** One stop of the tab key for all: arrows go from one to the next. To be told whenever the container has new ones. */
export function roving(container: Element, selector: string): () => void {
  const all = (): (HTMLElement | SVGElement)[] => [...container.querySelectorAll<HTMLElement | SVGElement>(selector)];
  container.addEventListener("keydown", (event) => {
    if (!(event instanceof KeyboardEvent)) return;
    const step = { ArrowRight: 1, ArrowDown: 1, ArrowLeft: -1, ArrowUp: -1 }[event.key];
    const list = all();
    const at = list.findIndex((each) => each === document.activeElement);
    const next = step === undefined || at < 0 ? undefined : list[at + step];
    if (next === undefined) return;
    event.preventDefault();
    for (const each of list) each.setAttribute("tabindex", each === next ? "0" : "-1");
    next.focus();
  });
  return () => {
    for (const [index, each] of all().entries()) each.setAttribute("tabindex", index === 0 ? "0" : "-1");
  };
}
