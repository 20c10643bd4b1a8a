// Opens viperf's files with packages from npm and prints, as one line of JSON, what they count.
//
//     node read_node.mjs speedscope|pprof-format|firefox NODE_MODULES FILE NEEDLE [CHROMIUM]
//
// speedscope is its own page in Chromium, whose export says what it has understood; firefox is the Firefox Profiler's own
// code. Ends with code 77 when a package is not there.
import { execFileSync, spawn } from "node:child_process";
import fs from "node:fs";
import http from "node:http";
import { createRequire } from "node:module";
import os from "node:os";
import path from "node:path";
import zlib from "node:zlib";

const [what, modules, file, needle, chromium] = process.argv.slice(2);
const require = createRequire(path.join(modules, "none.js"));

function need(name) {
  const folder = path.join(modules, name);
  if (!fs.existsSync(folder)) {
    console.error(`${name} is not in ${modules}`);
    process.exit(77);
  }
  return folder;
}

function readPprof() {
  need("pprof-format");
  const { Profile } = require("pprof-format");
  const profile = Profile.decode(zlib.gunzipSync(fs.readFileSync(file)));
  const text = (number) => profile.stringTable.strings[Number(number)];
  const functions = new Map(profile.function.map((row) => [Number(row.id), row]));
  const locations = new Map(profile.location.map((row) => [Number(row.id), row]));
  const names = (id) =>
    locations.get(Number(id)).line.map((line) => text(functions.get(Number(line.functionId)).name));
  let [samples, total, needleSamples] = [0, 0, 0];
  for (const sample of profile.sample) {
    samples += Number(sample.value[0]);
    total += Number(sample.value[1]);
    if (sample.locationId.some((id) => names(id).includes(needle))) {
      needleSamples += Number(sample.value[0]);
    }
  }
  const types = profile.sampleType.map((type) => `${text(type.type)}/${text(type.unit)}`);
  return { samples, total, needle_samples: needleSamples, types: types.join(" ") };
}

async function readFirefox() {
  const program = path.join(need("@firefox-devtools/profiler-cli"), "dist/profiler-cli.js");
  // It keeps its sessions in a folder.
  const home = fs.mkdtempSync(path.join(os.tmpdir(), "viperf-firefox-"));
  const env = { ...process.env, HOME: home, PROFILER_CLI_SESSION_DIR: home };
  const run = (...words) => {
    const command = [program, ...words, "--json", "--session", "viperf"];
    const options = { env, encoding: "utf8", stdio: "pipe", maxBuffer: 1 << 28 };
    return JSON.parse(execFileSync(process.execPath, command, options));
  };
  const daemon = new Daemon(program, env);
  try {
    const { threads } = await daemon.whenReady(() => run("thread", "list", "--limit", "0"));
    let [samples, needleSamples, markers, cpuMs] = [0, 0, 0, 0];
    for (const { threadHandle } of threads) {
      run("thread", "select", threadHandle);
      const info = run("thread", "info");
      samples += info.sampleCount;
      markers += info.markerCount;
      const found = run("thread", "functions", "--include-idle", "--search", needle);
      for (const row of found.functions) needleSamples += row.totalSamples;
    }
    for (const thread of threads) cpuMs += thread.cpuMs;
    return { samples, needle_samples: needleSamples, markers, threads: threads.length, cpu_ms: cpuMs };
  } finally {
    daemon.end();
    fs.rmSync(home, { recursive: true, force: true });
  }
}

// profiler-cli's process that holds the profile, started by itself: `load` gives it up after half a second, which a busy
// machine does not have.
class Daemon {
  constructor(program, env) {
    this.words = [program, "--daemon", file, "--session", "viperf"];
    this.env = env;
    this.start();
  }

  start() {
    // What it says goes into its log as soon as it has one.
    const log = fs.openSync(this.path("viperf.log"), "a");
    this.process = spawn(process.execPath, this.words, { env: this.env, stdio: ["ignore", log, log] });
    fs.closeSync(log);
  }

  path(name) {
    return path.join(this.env.PROFILER_CLI_SESSION_DIR, name);
  }

  said() {
    return fs.readFileSync(this.path("viperf.log"), "utf8");
  }

  // The answer to a question that fails until the profile is loaded. A daemon that ends before, or whose session a client
  // has cleared away because it did not answer at once, is started again, twice.
  async whenReady(ask) {
    let starts = 1;
    for (let left = 300; ; left -= 1) {
      try {
        return ask();
      } catch (error) {
        if (left === 0) throw new Error(`${error.message}\nthe daemon said: ${this.said()}`);
        await new Promise((done) => setTimeout(done, 300));
      }
      if (this.isLost() && starts < 3) {
        starts += 1;
        this.end();
        fs.rmSync(this.path("viperf.log"));
        this.start();
      }
    }
  }

  isLost() {
    const hasEnded = this.process.exitCode !== null || this.process.signalCode !== null;
    return hasEnded || (this.said().includes("Daemon ready") && !fs.existsSync(this.path("viperf.json")));
  }

  end() {
    this.process.kill();
  }
}

async function readSpeedscope() {
  const root = path.join(need("speedscope"), "dist/release");
  need("playwright-core");
  const types = { ".html": "text/html", ".js": "text/javascript", ".css": "text/css", ".wasm": "application/wasm" };
  const server = http.createServer((request, response) => {
    const name = decodeURIComponent(request.url.split("?")[0]);
    const wanted = name === "/profile" ? file : path.join(root, path.normalize(name));
    fs.readFile(wanted, (error, bytes) => {
      response.writeHead(error ? 404 : 200, {
        "content-type": types[path.extname(wanted)] ?? "application/octet-stream",
      });
      response.end(error ? "" : bytes);
    });
  });
  await new Promise((done) => server.listen(0, "127.0.0.1", done));
  const base = `http://127.0.0.1:${server.address().port}`;
  const browser = await require("playwright-core").chromium.launch({
    executablePath: chromium,
    args: ["--no-sandbox"],
  });
  try {
    const page = await browser.newPage();
    const errors = [];
    page.on("pageerror", (error) => errors.push(error.message));
    await page.goto(`${base}/index.html#profileURL=${encodeURIComponent(`${base}/profile`)}&title=t`);
    const download = page.waitForEvent("download", { timeout: 120_000 });
    await page.getByText("Export", { exact: false }).first().click({ timeout: 120_000 });
    const exported = JSON.parse(fs.readFileSync(await (await download).path(), "utf8"));
    return { ...countExported(exported), errors: errors.length };
  } finally {
    await browser.close();
    server.close();
  }
}

function countExported({ shared, profiles }) {
  const isNeedle = shared.frames.map((frame) => frame.name.includes(needle));
  const rows = profiles.map((profile) => {
    let [total, needleTotal] = [0, 0];
    if (profile.type === "sampled") {
      profile.samples.forEach((stack, place) => {
        total += profile.weights[place];
        if (stack.some((frame) => isNeedle[frame])) needleTotal += profile.weights[place];
      });
      return { name: profile.name, total, needle: needleTotal };
    }
    let [depth, last, open] = [0, profile.startValue, 0];
    for (const { type, frame, at } of profile.events) {
      if (depth > 0) total += at - last;
      if (open > 0) needleTotal += at - last;
      last = at;
      const step = type === "O" ? 1 : -1;
      depth += step;
      if (isNeedle[frame]) open += step;
    }
    return { name: profile.name, total, needle: needleTotal };
  });
  return { profiles: rows };
}

const readers = { speedscope: readSpeedscope, "pprof-format": readPprof, firefox: readFirefox };
console.log(JSON.stringify(await readers[what]()));
