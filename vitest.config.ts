import { fileURLToPath } from "node:url";
import { defineConfig } from "vitest/config";

const here = (path: string) => fileURLToPath(new URL(path, import.meta.url));

export default defineConfig({
  resolve: { alias: { "fovea/runtime": here("runtime/index.ts"), fovea: here("compiler/dsl/index.ts") } },
  test: {
    include: ["test/**/*.test.ts"],
    exclude: ["test/gpu/**", "test/nvcc/**", "node_modules/**"],
    testTimeout: 60_000,
    maxWorkers: 2,
  },
});
