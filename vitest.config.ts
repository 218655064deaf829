import { fileURLToPath } from "node:url";
import { defineConfig, type ViteUserConfig } from "vitest/config";
import { fovea } from "./compiler/frontend/vite.ts";

const here = (path: string): string => fileURLToPath(new URL(path, import.meta.url));

/** Where CI wants the count of tests. */
const results = process.env["FOVEA_TEST_RESULTS"];

const config: ViteUserConfig = defineConfig({
  plugins: [fovea()],
  resolve: { alias: { "fovea/runtime": here("runtime/index.ts"), fovea: here("compiler/dsl/index.ts") } },
  test: {
    globalSetup: ["test/e2e/build.ts"],
    include: ["test/**/*.test.ts"],
    exclude: ["test/gpu/**", "test/nvcc/**", "node_modules/**"],
    // Ends what hangs. A machine that runs something else as well may be many times slower.
    testTimeout: 240_000,
    hookTimeout: 240_000,
    maxWorkers: 2,
    ...(results ? { reporters: ["default", "json"], outputFile: { json: results } } : {}),
  },
});
export default config;
