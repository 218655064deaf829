import { readFileSync } from "node:fs";
import { z } from "zod";
import { CommandError } from "../failure.ts";
import type { Earlier } from "./data.ts";

const amount = z.number().nonnegative();
const earlier = z.object({
  name: z.string(),
  precision: z.string(),
  device: z.string(),
  extents: z.string(),
  batch: z.number().positive(),
  basis: z.enum(["measured", "counted", "planned"]),
  milliseconds: amount,
  roof: z.object({ name: z.string() }),
  launches: z.array(
    z.object({
      kernel: z.string(),
      path: z.string(),
      milliseconds: amount,
      flops: amount,
      readBytes: amount,
      writeBytes: amount,
    }),
  ),
});

/** What an earlier report says of its launches. */
export function readReport(file: string): Earlier {
  let text: string;
  try {
    text = readFileSync(file, "utf8");
  } catch {
    throw new CommandError(`the report "${file}" cannot be read`);
  }
  const json = /<script type="application\/json" id="data">(.*?)<\/script>/s.exec(text)?.[1];
  const found = earlier.safeParse(json === undefined ? null : parsed(json));
  if (!found.success)
    throw new CommandError(
      `"${file}" is not a report of this version of fovea`,
      "write one with fovea profile MODEL --report FILE.html",
    );
  return found.data;
}

function parsed(json: string): unknown {
  try {
    return JSON.parse(json);
  } catch {
    return null;
  }
}
