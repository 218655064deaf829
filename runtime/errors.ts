/** A mistake in how the runtime is used, or a file it cannot take: the message says what is wrong and what to do. */
export class RuntimeError extends Error {
  override readonly name: string = "RuntimeError";
}

/** A call of the CUDA driver that failed. `sticky`: the context is lost and every later call fails the same way. */
export class CudaError extends RuntimeError {
  override readonly name: string = "CudaError";
  readonly call: string;
  readonly status: number;
  readonly code: string;
  readonly sticky: boolean;
  readonly #failure: CudaFailure;

  constructor(failure: CudaFailure, options?: ErrorOptions) {
    const { call, status, code, description, hint } = failure;
    const said = description === "" || description === code ? "" : `\n  ${description.replaceAll("\n", "\n  ")}`;
    const advice = hint ?? hints[status];
    super(`${call} failed: ${code} (${status})${said}${advice === undefined ? "" : `\n  hint: ${advice}`}`, options);
    this.#failure = failure;
    this.call = call;
    this.status = status;
    this.code = code;
    this.sticky = stickyStatus.has(status);
  }

  /** The same failure, saying also what it happened to. */
  of(what: string): CudaError {
    return new CudaError({ ...this.#failure, description: `${what}\n${this.#failure.description}` }, { cause: this });
  }
}

export type CudaFailure = {
  readonly call: string;
  readonly status: number;
  /** "CUDA_ERROR_NO_BINARY_FOR_GPU" */
  readonly code: string;
  /** What the driver, or the emulated device's last report, says of it; may have several lines. */
  readonly description: string;
  /** What to do about it, where the caller knows more than the status says. */
  readonly hint?: string;
};

export const cudaStatus = {
  success: 0,
  invalidValue: 1,
  outOfMemory: 2,
  invalidContext: 201,
  noBinaryForGpu: 209,
  contextIsDestroyed: 709,
} as const;

/** After one of these the context is unusable: memory, modules and streams are gone with it. */
const stickyStatus: ReadonlySet<number> = new Set([214, 220, 700, 702, 710, 714, 715, 716, 717, 718, 719]);

const hints: { readonly [status: number]: string } = {
  2: "run a smaller batch, or free other programs on this device",
  3: "cuInit has not run: open the device through openDevice()",
  35: "the driver is older than the program's images: update the driver",
  100: "the driver is installed but sees no GPU: look at nvidia-smi and CUDA_VISIBLE_DEVICES",
  101: "listDevices() says which devices there are",
  200: "the image is damaged, or made for another kind of device",
  201: "the device was closed",
  209: "the image is for another architecture: build for this device's (listDevices() says which), or with PTX",
  218: "the PTX was refused: build with a cubin for this device",
  222: "the driver is older than the toolkit that made the PTX: build a cubin for this device, or update the driver",
  700: "a kernel read or wrote outside of its arrays; run with { checkSteps: true } to learn which, or on the emulated device to learn where",
  701: "a kernel asks for more registers or shared memory than a block may have on this device",
  702: "a kernel ran longer than the display driver allows",
  715: "the image does not suit this device, or is damaged",
  716: "a kernel made a misaligned access; run with { checkSteps: true } to learn which",
  719: "a kernel failed; run with { checkSteps: true } to learn which, or on the emulated device to learn where",
  802: "another process holds the device: wait for it, or choose another device",
  803: "the driver library and the kernel module differ in version: restart the machine or reinstall the driver",
  999: "the driver is in a bad state: look at nvidia-smi",
};
