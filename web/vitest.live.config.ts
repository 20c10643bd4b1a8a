import { defineConfig } from "vitest/config";

// What needs a recording that goes on; tests/e2e starts it.
export default defineConfig({
  test: { include: ["tests/live/**/*.test.ts"], testTimeout: 300_000, hookTimeout: 180_000, expect: { poll: { timeout: 60_000 } } },
});
