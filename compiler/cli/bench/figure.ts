/** One measured number. */
export type Figure = {
  readonly what: string;
  readonly value: number;
  readonly unit: "s" | "ms" | "us" | "GFLOP/s" | "MB/s" | "x";
  /** What it should come to on two quiet cores: at most, or for rates at least. Null where nothing is set. */
  readonly goal: number | null;
  readonly note: string;
};

export const figure = (
  what: string,
  value: number,
  unit: Figure["unit"],
  more: { readonly goal?: number; readonly note?: string } = {},
): Figure => ({ what, value, unit, goal: more.goal ?? null, note: more.note ?? "" });

const isRate = (unit: Figure["unit"]): boolean => unit === "GFLOP/s" || unit === "MB/s" || unit === "x";

export const meetsGoal = ({ value, unit, goal }: Figure): boolean =>
  goal === null || (isRate(unit) ? value >= goal : value <= goal);

export const median = (values: readonly number[]): number => {
  const sorted = values.toSorted((a, b) => a - b);
  return sorted[Math.floor(sorted.length / 2)] ?? Number.NaN;
};
