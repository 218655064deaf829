/** What a thread block may count on wherever the kernels of a build run. */
export type Target = {
  /** Shared memory that it may ask for, bytes. */
  readonly sharedBytes: number;
  /** The architecture of the build that offers no more. */
  readonly leastOn: string;
  /** Of the GPU: long runs of keys are split over all of them. */
  readonly multiprocessors: number;
};

/** KiB of shared memory a thread block, by compute capability: CUDA C++ Programming Guide, "Technical Specifications". */
const sharedKiB: { readonly [capability: string]: number } = {
  "80": 163,
  "86": 99,
  "87": 163,
  "89": 99,
  "90": 227,
  "100": 227,
  "103": 227,
  "110": 227,
  "120": 99,
  "121": 99,
};
/** What every GPU from compute capability 8.0 on offers: the driver compiles PTX for any later one. */
const everywhereKiB = 99;

/** The least that the architectures of a build offer: "sm_80", "sm_90a", "compute_90"; the emulated device plays any of them. */
export const targetOf = (architectures: readonly string[]): Target => {
  const targets = architectures.flatMap((name): Target[] => {
    const [, form, capability] = /^(sm|compute)_(\d+)/.exec(name) ?? [];
    if (capability === undefined) return [];
    const kibibytes = form === "sm" ? sharedKiB[capability] : undefined;
    return [
      { sharedBytes: (kibibytes ?? everywhereKiB) * 1024, leastOn: name, multiprocessors: usualTarget.multiprocessors },
    ];
  });
  return targets.length === 0
    ? usualTarget
    : targets.reduce((least, each) => (each.sharedBytes < least.sharedBytes ? each : least));
};

/** Of a build that names no architecture: for sm_80 and sm_90a, with the multiprocessors of H100 and H200. */
export const usualTarget: Target = { sharedBytes: 163 * 1024, leastOn: "sm_80", multiprocessors: 132 };
