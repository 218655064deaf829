/** Tests run on the emulated device, or with FOVEA_TEST_DEVICE=cuda on the machine's GPU. */
export const onGpu: boolean = process.env["FOVEA_TEST_DEVICE"] === "cuda";
