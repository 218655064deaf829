import { defineConfig, type ViteUserConfig } from "vitest/config";
import base from "./vitest.config.ts";

/** Every kind of kernel compiles for every architecture, and spills nothing. Slow: run by `npm run test:nvcc`. */
const config: ViteUserConfig = defineConfig({
  ...base,
  test: { include: ["test/nvcc/**/*.test.ts"], testTimeout: 1_800_000, maxWorkers: 1 },
});
export default config;
