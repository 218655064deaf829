import type { LaunchData, ReportData } from "../data.ts";

/** The launch that all parts of the page show; they hear of another one. */
export type Selection = {
  readonly launch: () => number;
  readonly choose: (launch: number) => void;
  readonly listen: (hear: (launch: number) => void) => void;
};

export function createSelection({ launches }: ReportData): Selection {
  const slowest = launches.reduce((best, each, index) => {
    return each.milliseconds > (launches[best]?.milliseconds ?? 0) ? index : best;
  }, 0);
  let chosen = slowest;
  const hearers: ((launch: number) => void)[] = [];
  return {
    launch: () => chosen,
    choose: (launch) => {
      if (launch < 0 || launch >= launches.length) return;
      chosen = launch;
      for (const hear of hearers) hear(launch);
    },
    listen: (hear) => {
      hearers.push(hear);
      hear(chosen);
    },
  };
}

/** A style of each family of kernels, the same everywhere. */
export const familyClass = (family: string): string => `family-${families.includes(family) ? family : "other"}`;
export const familyColour = (family: string): string => `var(--${familyClass(family)})`;
export const families: readonly string[] = ["gemm", "attention", "mab", "map", "row", "sample", "select"];

/** What a launch moved: counted where it was, otherwise what the mathematics needs. */
export const movedBytes = ({ counted, readBytes, writeBytes }: LaunchData): number =>
  counted?.memoryBytes ?? readBytes + writeBytes;
