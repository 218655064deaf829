/** What a kernel's text calls the number of its thread block: CUDA's own name, or where it shares a launch a variable that counts its own. */
export type BlockName = "blockIdx.x" | "block";
