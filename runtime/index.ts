/** fovea's runtime: compiled programs on a GPU or on the emulated device. Importing it needs neither. */
export { listDevices, openDevice, type Device, type DeviceChoice } from "./device.ts";
export { openCheckpoint, CheckpointError, type Checkpoint } from "./checkpoint.ts";
export { resizeWeights } from "./resizeWeights.ts";
export { inflateWeights, type InflateOptions } from "./inflateWeights.ts";
export { WeightsFileError } from "./tensorFile.ts";
export { openSafetensors, writeSafetensors, SafetensorsError } from "./safetensors.ts";
export { loadExecutable, type Executable, type LoadOptions, type RunOptions } from "./executable.ts";
export { type DeviceTensor, type HostTensor, type Inputs } from "./tensors.ts";
export type { LoopEnd } from "../ir/program.ts";
export { type Profile, type ProfileOptions } from "./profile.ts";
export { ArtefactFileError } from "./artefact.ts";
export { CudaError, RuntimeError } from "./errors.ts";
