import { distance } from "fastest-levenshtein";

const units = ["KiB", "MiB", "GiB", "TiB", "PiB"] as const;

/** "1.5 GiB" */
export const formatBytes = (bytes: number): string => {
  if (bytes < 1024) return `${bytes} bytes`;
  let value = bytes / 1024;
  let unit = 0;
  while (value >= 1024 && unit < units.length - 1) {
    value /= 1024;
    unit++;
  }
  return `${value >= 100 ? Math.round(value) : value.toFixed(1)} ${units[unit] ?? ""}`;
};

/** "[2, 3]", with "b" for a size of the batch. */
export const formatShape = (shape: readonly (number | string)[]): string => `[${shape.join(", ")}]`;

/** ', did you mean "norm1"?', or nothing where no name is near. */
export const didYouMean = (name: string, known: readonly string[]): string => {
  const nearest = nearestName(name, known);
  return nearest === null ? "" : `; did you mean "${nearest}"?`;
};

/** The known name that most resembles `name`, if it is close enough to be meant. */
export const nearestName = (name: string, known: readonly string[]): string | null => {
  let nearest: string | null = null;
  let least = Math.max(2, Math.floor(name.length * 0.4)) + 1;
  for (const candidate of known) {
    if (Math.abs(candidate.length - name.length) >= least) continue;
    const far = distance(name, candidate);
    if (far < least) [nearest, least] = [candidate, far];
  }
  return nearest;
};
