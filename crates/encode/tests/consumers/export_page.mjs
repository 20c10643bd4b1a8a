// Opens a page that viperf wrote and saves its own exports, as its reader would.
//
//     node export_page.mjs NODE_MODULES PAGE FOLDER CHROMIUM
//
// Prints, as one line of JSON, the files' names by format. Ends with code 77 when a package is not there.
import fs from "node:fs";
import { createRequire } from "node:module";
import path from "node:path";

const [modules, file, folder, chromium] = process.argv.slice(2);
if (!fs.existsSync(path.join(modules, "playwright-core"))) {
  console.error(`playwright-core is not in ${modules}`);
  process.exit(77);
}
const require = createRequire(path.join(modules, "none.js"));
const browser = await require("playwright-core").chromium.launch({ executablePath: chromium, args: ["--no-sandbox"] });
try {
  const context = await browser.newContext({ acceptDownloads: true });
  context.setDefaultTimeout(120_000);
  const page = await context.newPage();
  await page.goto(`file://${file}`);
  await page.waitForSelector("html[data-state=ready]");
  const saved = {};
  for (const format of ["pprof", "speedscope", "folded"]) {
    const download = page.waitForEvent("download");
    await page.click("#export-menu summary");
    await page.click(`[data-export=${format}]`);
    const made = await download;
    saved[format] = path.join(folder, made.suggestedFilename());
    await made.saveAs(saved[format]);
  }
  console.log(JSON.stringify(saved));
} finally {
  await browser.close();
}
