import { defineConfig } from "vitest/config";

// One script and one style sheet with fixed names: `crates/encode` embeds them, and the page names them by their hashes.
export default defineConfig({
  build: {
    outDir: process.env.VIPERF_BUNDLE ?? "dist",
    emptyOutDir: true,
    target: "es2022",
    modulePreload: false,
    reportCompressedSize: false,
    rolldownOptions: {
      input: "src/main.ts",
      output: { entryFileNames: "page.js", assetFileNames: "page.[ext]", codeSplitting: false },
    },
  },
  test: { include: ["tests/unit/**/*.test.ts"] },
});
