import type { Kernel } from "../ir/program.ts";
import type { DeviceInfo } from "./device.ts";
import { RuntimeError } from "./errors.ts";

/** A compiled image of a kernel: the target it was made for and its path within the artefact. */
export type Image = { readonly target: string; readonly path: string };

/**
 * The image of a kernel that suits a device: made for exactly this architecture with its special instructions (sm_90a),
 * else the newest binary of the same major version (or family: sm_100f) that is not newer than the device, else the newest
 * PTX.
 */
export const chooseImage = (kernel: Kernel, device: DeviceInfo): Image => {
  let best: { readonly image: Image; readonly rank: number } | null = null;
  for (const [target, path] of Object.entries(kernel.images)) {
    const rank = rankTarget(target, device);
    if (rank !== null && (best === null || rank > best.rank)) best = { image: { target, path }, rank };
  }
  if (best !== null) return best.image;
  const built = Object.keys(kernel.images);
  throw new RuntimeError(
    `kernel "${kernel.name}" has no image for "${device.name}" (${architectureOf(device)}): ` +
      (built.length === 0 ? "it was not compiled" : `it was built for ${built.join(", ")}`) +
      `\n  hint: build it with --arch ${architectureOf(device)}`,
  );
};

/** What to build for: "sm_90a", "sm_80", "emulated". */
export const architectureOf = (device: DeviceInfo): string => {
  if (device.kind === "emulated") return "emulated";
  const { major, minor } = device.computeCapability;
  return `sm_${major}${minor}${major >= 9 ? "a" : ""}`;
};

/** Higher suits better; null does not run at all. Unknown targets do not run. */
const rankTarget = (target: string, device: DeviceInfo): number | null => {
  if (target === "emulated") return device.kind === "emulated" ? 0 : null;
  const parsed = /^(sm|compute)_(\d+)(\d)([af]?)$/.exec(target);
  if (parsed === null || device.kind === "emulated") return null;
  const [, form, majorText, minorText, special] = parsed;
  const [major, minor] = [Number(majorText), Number(minorText)];
  const own = device.computeCapability;
  const isBinary = form === "sm";
  const runs =
    special === "a"
      ? major === own.major && minor === own.minor
      : isBinary
        ? major === own.major && minor <= own.minor
        : major < own.major || (major === own.major && minor <= own.minor);
  if (!runs) return null;
  return (isBinary ? 10_000 : 0) + (major * 10 + minor) * 10 + (special === "" ? 0 : 1);
};
