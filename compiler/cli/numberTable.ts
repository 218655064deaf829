import { readFileSync } from "node:fs";
import { CommandError } from "./failure.ts";

/** A text of numbers: a row a line, as spreadsheets and numpy.savetxt write it. */
export type NumberTable = { readonly rows: number; readonly columns: number; readonly values: readonly number[] };

export const isNumberTable = (file: string): boolean => /\.(csv|tsv)$/i.test(file);

/** Reads rows of numbers that commas, semicolons or blanks set apart. A first line of names, empty lines and # comments are left out. */
export function readNumberTable(file: string): NumberTable {
  let text: string;
  try {
    text = readFileSync(file, "utf8");
  } catch {
    throw new CommandError(`"${file}" cannot be read`);
  }
  const lines = text
    .split(/\r?\n/)
    .map((line, index) => ({ number: index + 1, cells: cellsOf(line) }))
    .filter(({ cells }) => cells.length > 0);
  const [first] = lines;
  const isHeading = first !== undefined && first.cells.every((cell) => Number.isNaN(Number(cell)));
  const rows = isHeading ? lines.slice(1) : lines;
  const columns = rows[0]?.cells.length ?? 0;
  const values = rows.flatMap(({ number, cells }) => {
    if (cells.length !== columns)
      throw new CommandError(
        `"${file}" has ${cells.length} numbers in line ${number}, and ${columns} in the lines before it`,
      );
    return cells.map((cell) => {
      const value = Number(cell);
      if (cell === "" || Number.isNaN(value))
        throw new CommandError(`"${file}" has "${cell}" in line ${number}, where a number belongs`);
      return value;
    });
  });
  if (rows.length === 0) throw new CommandError(`"${file}" has no numbers`, "it is a row of numbers a line: 0.5,-1.25");
  return { rows: rows.length, columns, values };
}

const cellsOf = (line: string): readonly string[] => {
  const text = line.replace(/#.*/, "").trim();
  return text === "" ? [] : text.split(/\s*[,;]\s*|\s+/);
};
