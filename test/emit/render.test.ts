import { mkdtempSync, readFileSync, readdirSync, rmSync, writeFileSync } from "node:fs";
import { join, relative } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { renderTemplate, templateFolder } from "../../compiler/emit/render.ts";

// Templates are found below templates/ alone, so the cases live in a folder of their own there while the tests run.
let folder: string;
beforeAll(() => {
  folder = mkdtempSync(join(templateFolder(), ".test-"));
});
afterAll(() => rmSync(folder, { recursive: true }));

const nameOf = (file: string): string => relative(templateFolder(), join(folder, file));
function render(text: string, view: object): string {
  const file = `case${Math.floor(Math.random() * 1e9)}.njk`;
  writeFileSync(join(folder, file), text);
  return renderTemplate(nameOf(file), view);
}

describe("renderTemplate", () => {
  it("passes the view as kernel and escapes nothing", () => {
    expect(render("a < {{ kernel.text }}\n", { text: "<b> && c" })).toBe("a < <b> && c\n");
  });

  it("refuses a field that the view lacks, in text, conditions and loops, and says where it is read", () => {
    for (const use of [
      "{{ kernel.nope }}",
      "{% if kernel.nope %}x{% endif %}",
      "{% for x in kernel.nope %}{% endfor %}",
    ]) {
      expect(() => render(`first\n${use}\n`, { yes: 1 })).toThrow(
        /^internal: .*the field kernel\.nope, .* templates\/\.test-.*:2$/,
      );
    }
    expect(() => render("{{ kernel.tile.nope }}", { tile: { rows: 1 } })).toThrow("kernel.tile.nope");
    expect(() => render("{% for t in kernel.tiles %}{{ t.nope }}{% endfor %}", { tiles: [{ rows: 1 }] })).toThrow(
      "kernel.tiles.0.nope",
    );
  });

  it("names the imported template that reads the missing field", () => {
    writeFileSync(join(folder, "macros.njk"), "{% macro load(kernel) %}\nx\n{{ kernel.nope }}\n{% endmacro %}\n");
    expect(() => render(`{% import "${nameOf("macros.njk")}" as m %}\n\n{{ m.load(kernel) }}`, {})).toThrow(
      /macros\.njk:3/,
    );
  });

  it("reports an unknown variable and a syntax error as internal errors with the template's name", () => {
    expect(() => render("{{ nope }}", {})).toThrow(/^internal: templates\/\.test-/);
    expect(() => render("{% if %}", {})).toThrow(/^internal: templates\/\.test-/);
    expect(() => renderTemplate("nope.njk", {})).toThrow("internal: templates/nope.njk");
  });

  it("takes null for absent in conditions", () => {
    expect(render("{% if kernel.norm %}yes{% else %}no{% endif %}", { norm: null })).toBe("no");
  });

  it("indents blocks without trailing spaces", () => {
    expect(render("  {{ kernel.body | block(2) }}\n", { body: "a;\n\n  b;\n" })).toBe("  a;\n\n    b;\n");
  });

  it("keeps lists usable by filters", () => {
    expect(render('{{ kernel.names | join(", ") }}', { names: ["a", "b"] })).toBe("a, b");
  });
});

describe("every template", () => {
  it("has spaces inside its braces, where nunjucks would eat C++ initialisers", () => {
    const wrong = readdirSync(templateFolder(), { recursive: true, encoding: "utf8" })
      .filter((file) => file.endsWith(".njk") && !file.startsWith(".test-"))
      .flatMap((file) => {
        const lines = readFileSync(join(templateFolder(), file), "utf8").split("\n");
        return lines.flatMap((line, index) =>
          /\{\{(?!-? )|(?<![ }])\}\}/.test(line) ? [`${file}:${index + 1}: ${line}`] : [],
        );
      });
    expect(wrong).toEqual([]);
  });
});
