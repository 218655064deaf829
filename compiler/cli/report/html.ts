import { readFileSync } from "node:fs";
import { join } from "node:path";
import { build } from "esbuild";
import { packageRoot } from "../../packageRoot.ts";
import type { ReportData } from "./data.ts";

/** The report as one file that needs nothing else: the page's policy forbids it any request. */
export async function reportPage(data: ReportData): Promise<string> {
  const folder = join(packageRoot(), "compiler/cli/report/page");
  const { outputFiles } = await build({
    entryPoints: [join(folder, "main.ts")],
    bundle: true,
    minify: true,
    write: false,
    format: "iife",
    target: "es2022",
    legalComments: "none",
    logLevel: "silent",
    tsconfig: join(folder, "tsconfig.json"),
  });
  const script = outputFiles[0]?.text ?? "";
  const style = readFileSync(join(folder, "page.css"), "utf8");
  return `<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width">
<meta name="color-scheme" content="light dark">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; script-src 'unsafe-inline'; style-src 'unsafe-inline'; img-src data:">
<title>${escaped(data.name)}: where the time goes</title>
<style>
${style}</style>
</head>
<body>
<noscript>This report draws itself with a script of its own; it asks no network for anything.</noscript>
<script type="application/json" id="data">${inScript(JSON.stringify(data))}</script>
<script>${script.replaceAll("</script", "<\\/script")}</script>
</body>
</html>
`;
}

const escaped = (text: string): string =>
  text.replaceAll("&", "&amp;").replaceAll("<", "&lt;").replaceAll('"', "&quot;");

/** JSON stays JSON, and cannot end the element it stands in. */
const inScript = (json: string): string => json.replaceAll("<", "\\u003c");
