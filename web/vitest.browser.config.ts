import { defineConfig } from "vitest/config";

// Pages in Chromium. A busy machine needs seconds for what takes a moment.
export default defineConfig({
  test: { include: ["tests/browser/**/*.test.ts"], testTimeout: 180_000, hookTimeout: 180_000, fileParallelism: false, expect: { poll: { timeout: 60_000 } } },
});
