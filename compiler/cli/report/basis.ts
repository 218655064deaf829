import type { ReportData } from "./data.ts";

/** What a time is called. */
export const timeNames: { readonly [B in ReportData["basis"]]: string } = {
  measured: "Time",
  counted: "Predicted",
  planned: "Floor",
};

/** What was profiled: "t=8, batch 4". */
export const sizeOf = ({ extents, batch }: Pick<ReportData, "extents" | "batch">): string =>
  `${extents === "" ? "" : `${extents}, `}batch ${batch}`;

/** Where the times of a report come from, so that nobody takes an estimate for a measurement. */
export function basisOf({
  basis,
  device,
  roof,
}: Pick<ReportData, "basis" | "device"> & { readonly roof: { readonly name: string } }): string {
  switch (basis) {
    case "measured":
      return `measured on ${device}`;
    case "counted":
      return `predicted for one ${roof.name} from exact counts, not measured`;
    case "planned":
      return `the least that one ${roof.name} needs, by the plan: nothing was run`;
  }
}
