import { type Device, type DeviceChoice, listDevices, openDevice } from "../../runtime/device.ts";
import { buildEmulator } from "../toolchain/buildEmulator.ts";
import { hasNvcc } from "./images.ts";
import type { DeviceName } from "./options.ts";
import type { Terminal } from "./terminal.ts";

/**
 * Opens the device asked for; `auto` is a GPU where there is one that kernels can be had for, else the emulated device.
 * `compiled`: the program has its images already, so that no compiler is needed.
 */
export async function chooseDevice(
  name: Exclude<DeviceName, "evaluator">,
  options: { readonly compiled: boolean },
  terminal: Terminal,
): Promise<Device> {
  return openDevice(await choiceOf(name, options, terminal));
}

async function choiceOf(
  name: Exclude<DeviceName, "evaluator">,
  options: { readonly compiled: boolean },
  terminal: Terminal,
): Promise<DeviceChoice> {
  if (name === "cuda") return { kind: "cuda" };
  if (name === "auto") {
    const hasGpu = listDevices().devices.some(({ kind }) => kind === "cuda");
    if (hasGpu && (options.compiled || (await hasNvcc()))) return { kind: "cuda" };
  }
  return { kind: "emulated", library: await terminal.task("building the emulated device", () => buildEmulator()) };
}
