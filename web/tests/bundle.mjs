// Proves that the committed bundle is what the source builds, byte for byte.

import { execFileSync } from "node:child_process";
import { mkdtempSync, readdirSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { gzipSync } from "node:zlib";

const LARGEST = 150_000;
const web = fileURLToPath(new URL("..", import.meta.url));
const built = mkdtempSync(join(tmpdir(), "viperf-bundle-"));
try {
  execFileSync(process.execPath, [join(web, "node_modules/vite/bin/vite.js"), "build", "--logLevel", "error"], {
    cwd: web, env: { ...process.env, VIPERF_BUNDLE: built }, stdio: ["ignore", "inherit", "inherit"],
  });
  const [is, should] = [join(web, "dist"), built].map((folder) =>
    readdirSync(folder).sort().map((name) => [name, readFileSync(join(folder, name))]));
  if (JSON.stringify(is) !== JSON.stringify(should)) {
    console.error("web/dist is not what web/src builds; `npm run build` in web/ makes it anew");
    process.exit(1);
  }
  const compressed = gzipSync(Buffer.concat(is.map(([, bytes]) => bytes))).length;
  if (compressed > LARGEST) {
    console.error(`the bundle has ${compressed} bytes compressed, ${LARGEST} at most`);
    process.exit(1);
  }
  if (is.some(([, bytes]) => /<\/script|<\/style|<!--/i.test(bytes.toString()))) {
    console.error("the bundle would end the element that holds it");
    process.exit(1);
  }
  console.log(`the bundle is what the source builds: ${compressed} bytes compressed`);
} finally {
  rmSync(built, { recursive: true, force: true });
}
