import { defineConfig } from "vitest/config";

// Figures, not tests: `npm run bench`.
export default defineConfig({
  test: { include: ["tests/bench/**/*.test.ts"], testTimeout: 1_800_000, hookTimeout: 600_000, fileParallelism: false },
});
