import { listDevices, type DeviceList } from "../../runtime/device.ts";
import { buildEmulator } from "../toolchain/buildEmulator.ts";
import { exitCodes } from "./failure.ts";
import { bytes } from "./figures.ts";
import { messageOf } from "./report.ts";
import { table, type Terminal } from "./terminal.ts";

/** Lists what this machine can run programs on, and what is missing for the rest. */
export async function devices(
  options: { readonly json: boolean; readonly emulator: boolean },
  terminal: Terminal,
): Promise<number> {
  if (options.emulator) {
    const library = await terminal.task("building the emulated device", () => buildEmulator());
    terminal.print(options.json ? JSON.stringify({ library }) : library);
    return exitCodes.success;
  }
  const list = await findDevices(terminal);
  terminal.print(options.json ? JSON.stringify(list, null, 2) : printDevices(list, terminal));
  return exitCodes.success;
}

/** Builds the emulated device where it was not built before. */
async function findDevices(terminal: Terminal): Promise<DeviceList> {
  try {
    const emulatorLibrary = await terminal.task("building the emulated device", () => buildEmulator());
    return listDevices({ emulatorLibrary });
  } catch (error) {
    const list = listDevices();
    return { ...list, missing: [...list.missing, { kind: "emulated", because: messageOf(error) }] };
  }
}

function printDevices({ devices: found, missing }: DeviceList, { paint }: Terminal): string {
  const rows = found.map(
    ({ kind, index, name, computeCapability: { major, minor }, memoryBytes, multiprocessors, precisions }) => [
      kind,
      String(index),
      name,
      `sm_${major}${minor}`,
      bytes(memoryBytes),
      String(multiprocessors),
      precisions.join(" "),
    ],
  );
  const columns = [
    { head: "device" },
    { head: "index" },
    { head: "name" },
    { head: "architecture" },
    { head: "memory", align: "right" },
    { head: "multiprocessors", align: "right" },
    { head: "precisions" },
  ] as const;
  const absent = missing.map(({ kind, because }) => `${paint.yellow(`no ${kind} device`)}: ${because}`);
  return [...(rows.length > 0 ? [table(columns, rows, paint)] : []), ...absent].join("\n");
}
