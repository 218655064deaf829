/** Numbers for people: three digits that matter, with a unit. */

export const bytes = (count: number): string => scaled(count, 1024, ["B", "KiB", "MiB", "GiB", "TiB"]);
export const operations = (count: number): string =>
  scaled(count, 1000, ["FLOP", "kFLOP", "MFLOP", "GFLOP", "TFLOP", "PFLOP"]);
export const milliseconds = (time: number): string =>
  time >= 10_000 ? `${digits(time / 1000)} s` : time >= 1 ? `${digits(time)} ms` : `${digits(time * 1000)} us`;
export const percent = (share: number): string => `${(100 * share).toFixed(1)} %`;

/** Errors and tolerances: 1.3e-5. */
export const small = (value: number): string => (value === 0 ? "0" : value.toExponential(1));

function scaled(count: number, step: number, units: readonly string[]): string {
  let unit = 0;
  let value = count;
  while (value >= step && unit < units.length - 1) {
    value /= step;
    unit++;
  }
  return `${unit === 0 ? String(Math.round(value)) : digits(value)} ${units[unit]}`;
}

const digits = (value: number): string =>
  value >= 100 ? value.toFixed(0) : value >= 10 ? value.toFixed(1) : value.toFixed(2);
