// What the tests of the console share: the real server with a state of its own, Chromium, and waiting.
import assert from "node:assert/strict";
import { spawn, spawnSync } from "node:child_process";
import { cpSync, existsSync, mkdirSync, mkdtempSync, readFileSync, renameSync, rmSync, writeFileSync } from "node:fs";
import { createRequire } from "node:module";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath, pathToFileURL } from "node:url";

export const ROOT = fileURLToPath(new URL("../../", import.meta.url));
const require = createRequire(join(ROOT, "web/package.json"));
const { chromium } = require("playwright-core");
export const AXE = require.resolve("axe-core/axe.min.js");
export const NAMESPACE = "console.tests";

const FLAGS = ["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking", "--disable-component-update", "--disable-sync"];

/** How long anything is waited for that must come: long enough for a machine that does much else. */
const PATIENCE_MS = 180_000;

/** Chromium of the machine, else the one that `OPERON_CHROMIUM` names, else the one that npm brought. */
async function executable() {
  const wanted = process.env.OPERON_CHROMIUM;
  if (wanted) {
    if (existsSync(wanted)) return { executablePath: wanted };
    throw new Error(`OPERON_CHROMIUM names ${wanted}, which is not there`);
  }
  for (const name of ["chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome"]) {
    const found = spawnSync("sh", ["-c", `command -v ${name}`], { encoding: "utf8" }).stdout.trim();
    if (found) return { executablePath: found };
  }
  const mac = "/Applications/Google Chrome.app/Contents/MacOS/Google Chrome";
  if (existsSync(mac)) return { executablePath: mac };
  return carried();
}

/**
 * The Chromium in the package @sparticuz/chromium, with the libraries and fonts that come with it: it needs nothing of
 * the machine but Linux on x86-64. Unpacked once, into .tools, and whole or not at all.
 */
async function carried() {
  const remedy = "install one (Debian: apt install chromium), or name it with OPERON_CHROMIUM";
  if (process.platform !== "linux" || process.arch !== "x64") throw new Error(`no Chromium found, and none can be brought to ${process.platform} on ${process.arch}: ${remedy}`);
  const entry = require.resolve("@sparticuz/chromium");
  const { version } = JSON.parse(readFileSync(new URL("../../package.json", pathToFileURL(entry)), "utf8"));
  const place = join(ROOT, ".tools", `chromium-${version}`);
  if (!existsSync(place)) {
    const making = `${place}.${process.pid}`;
    mkdirSync(making, { recursive: true });
    // It unpacks into the directory for temporary files, and its libraries only where it thinks to be in a function.
    const kept = { ...process.env };
    Object.assign(process.env, { TMPDIR: making, AWS_EXECUTION_ENV: "AWS_Lambda_nodejs22.x" });
    try {
      const { default: found } = await import(pathToFileURL(entry).href);
      await found.executablePath();
      renameSync(making, place);
    } catch (error) {
      rmSync(making, { recursive: true, force: true });
      if (!existsSync(place)) throw new Error(`no Chromium found, and the one that npm brought does not unpack: ${remedy}`, { cause: error });
    } finally {
      for (const name of Object.keys(process.env)) if (!(name in kept)) delete process.env[name];
      Object.assign(process.env, kept);
    }
  }
  // Its own configuration looks for fonts where a function has them, and writes where the tests run. Whole paths, and a
  // checkout may have been moved since: so it is written each time.
  const at = place.replaceAll("&", "&amp;").replaceAll("<", "&lt;");
  const fonts = `<?xml version="1.0"?>\n<!DOCTYPE fontconfig SYSTEM "fonts.dtd">\n<fontconfig><dir>${at}/fonts</dir><cachedir>${at}/cache</cachedir></fontconfig>\n`;
  writeFileSync(join(place, "fonts/fonts.conf"), fonts);
  return { executablePath: join(place, "chromium"), env: { ...process.env, LD_LIBRARY_PATH: join(place, "al2023/lib"), FONTCONFIG_PATH: join(place, "fonts") } };
}

/** Starts Chromium; `own` takes the one that npm brought, whatever the machine has. */
export async function browser({ own = false } = {}) {
  return chromium.launch({ ...(own ? await carried() : await executable()), args: FLAGS, timeout: PATIENCE_MS });
}

/**
 * Starts `operon server` over a copy of the test flows, with `more` files in it, or over a directory that `fill` fills;
 * `stop` ends it and takes its state away.
 */
export async function server({ more = {}, fill } = {}) {
  const binary = process.env.OPERON_BINARY ?? join(ROOT, "target/debug/operon");
  if (!existsSync(binary)) throw new Error(`${binary} is not there; build it with \`cargo build -p operon\`, after \`make web\``);
  const directory = mkdtempSync(join(tmpdir(), "operon-console-"));
  const flows = join(directory, "flows");
  if (fill) fill(flows);
  else cpSync(join(ROOT, "tests/browser/flows"), flows, { recursive: true });
  for (const [name, text] of Object.entries(more)) writeFileSync(join(flows, name), text);
  const start = async (listen) => {
    const child = spawn(binary, ["server", "--listen", listen, "--state", join(directory, "state"), "--flows", flows], { stdio: ["ignore", "pipe", "pipe"] });
    let told = "";
    child.stderr.on("data", (chunk) => { told += chunk; });
    const address = await new Promise((resolve, reject) => {
      let text = "";
      child.stdout.on("data", (chunk) => {
        text += chunk;
        const found = /(http:\/\/[^/\s]+)\/\?token=(\S+)/.exec(text);
        if (found) resolve({ base: found[1], token: found[2] });
      });
      child.on("exit", (code) => reject(new Error(`operon server ended with ${code}: ${told}`)));
    });
    return { child, ...address };
  };
  let now = await start("127.0.0.1:0");
  const end = (child) => new Promise((resolve) => { if (child.exitCode !== null) resolve(); else { child.on("exit", resolve); child.kill("SIGTERM"); } });
  const self = {
    directory,
    get base() { return now.base; },
    get token() { return now.token; },
    /** A path that no file has yet; `open` makes it. */
    gate(name) { const path = join(directory, `gate-${name}`); return { path, open: () => writeFileSync(path, "") }; },
    async api(method, path, body, headers = {}) {
      const response = await fetch(`${now.base}/api/v1${path}`, { method, headers: { Authorization: `Bearer ${now.token}`, "Content-Type": "application/json", ...headers }, body: body === undefined ? undefined : JSON.stringify(body) });
      const text = await response.text();
      if (!response.ok) throw new Error(`${method} ${path}: ${response.status} ${text}`);
      return text ? JSON.parse(text) : null;
    },
    async run(flow, inputs = {}, labels = {}) { return (await self.api("POST", "/executions", { namespace: NAMESPACE, flow, inputs, labels })).id; },
    /** Waits until an execution is in one of these states. */
    async until(id, ...states) {
      return eventually(async () => {
        const found = await self.api("GET", `/executions/${id}`);
        return states.includes(found.state) ? found : null;
      }, `execution ${id} in ${states}`);
    },
    async stop() { await end(now.child); rmSync(directory, { recursive: true, force: true }); },
  };
  return self;
}

/** A page of somebody new, which keeps what went wrong in it: errors, CSP reports. */
export async function visitor(browserNow, options = {}) {
  const context = await browserNow.newContext({ viewport: { width: 1280, height: 800 }, reducedMotion: "reduce", ...options });
  context.setDefaultTimeout(PATIENCE_MS);
  const page = await context.newPage();
  const wrong = [];
  page.on("pageerror", (error) => wrong.push(`error: ${error.message}`));
  page.on("console", (message) => { if (message.type() === "error" && !/Failed to load resource/.test(message.text())) wrong.push(`console: ${message.text()}`); });
  await page.addInitScript(() => {
    globalThis.cspReports = [];
    document.addEventListener("securitypolicyviolation", (event) => globalThis.cspReports.push(`${event.violatedDirective} ${event.blockedURI} ${event.sourceFile ?? ""}`));
  });
  return { context, page, wrong };
}

/** Ends a visit: nothing went wrong in it, and nothing was blocked. */
export async function leave({ context, page, wrong }) {
  const reports = await page.evaluate(() => globalThis.cspReports ?? []);
  await context.close();
  assert.deepEqual(reports, []);
  assert.deepEqual(wrong, []);
}

/** A page that is signed in. */
export async function signIn(browserNow, serverNow, options = {}) {
  const { context, page, wrong } = await visitor(browserNow, options);
  await page.goto(`${serverNow.base}/?token=${serverNow.token}`);
  await page.getByRole("heading", { name: "Overview", exact: true }).waitFor();
  return { context, page, wrong, open: (path) => page.goto(serverNow.base + path) };
}

export async function eventually(look, what, ms = PATIENCE_MS) {
  const end = performance.now() + ms;
  for (;;) {
    const found = await look();
    if (found) return found;
    if (performance.now() > end) throw new Error(`still not: ${what}`);
    await new Promise((resolve) => { setTimeout(resolve, 100); });
  }
}

/**
 * A figure of time with its limit. It is always printed. The limit itself is held where somebody measures on purpose
 * (`make test-browser`); in `make test`, on whatever machine and beside whatever else, only ten times the limit.
 */
export function budget(t, name, value, limit, unit) {
  t.diagnostic(`${name}: ${Math.round(value * 10) / 10} ${unit} (limit ${limit} ${unit})`);
  const most = process.env.OPERON_MEASURE === "1" ? limit : limit * 10;
  // Not the other way round: what was not measured is no number, and must fail.
  if (!(value <= most)) throw new Error(`${name}: ${value} ${unit}, more than ${most} ${unit}`);
}
