// What the tests of the console share: the real server with a state of its own, Chromium, and waiting.
import { spawn, spawnSync } from "node:child_process";
import { existsSync, mkdtempSync, rmSync, cpSync, writeFileSync } from "node:fs";
import { createRequire } from "node:module";
import { loadavg, cpus, tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";

const ROOT = fileURLToPath(new URL("../../", import.meta.url));
const require = createRequire(join(ROOT, "web/package.json"));
const { chromium } = require("playwright-core");
export const AXE = require.resolve("axe-core/axe.min.js");
export const NAMESPACE = "console.tests";

const FLAGS = ["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking", "--disable-component-update", "--disable-sync"];

/** Chromium of the machine, else the one that `OPERON_CHROMIUM` names, else what @sparticuz/chromium unpacks. */
async function executable() {
  const wanted = process.env.OPERON_CHROMIUM;
  if (wanted) {
    if (existsSync(wanted)) return wanted;
    throw new Error(`OPERON_CHROMIUM names ${wanted}, which is not there`);
  }
  for (const name of ["chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome"]) {
    const found = spawnSync("sh", ["-c", `command -v ${name}`], { encoding: "utf8" }).stdout.trim();
    if (found) return found;
  }
  const mac = "/Applications/Google Chrome.app/Contents/MacOS/Google Chrome";
  if (existsSync(mac)) return mac;
  try {
    const { default: carried } = await import(require.resolve("@sparticuz/chromium"));
    return await carried.executablePath();
  } catch (error) {
    throw new Error(`no Chromium: install one (Debian: apt install chromium), or name it with OPERON_CHROMIUM (${error.message})`);
  }
}

export async function browser() {
  return chromium.launch({ executablePath: await executable(), args: FLAGS });
}

/** Starts `operon server` over a copy of the test flows; `stop` ends it and takes its state away. */
export async function server(more = {}) {
  const binary = process.env.OPERON_BINARY ?? join(ROOT, "target/debug/operon");
  if (!existsSync(binary)) throw new Error(`${binary} is not there; build it with \`cargo build -p operon\`, after \`make web\``);
  const directory = mkdtempSync(join(tmpdir(), "operon-console-"));
  const flows = join(directory, "flows");
  cpSync(join(ROOT, "tests/browser/flows"), flows, { recursive: true });
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

/** A page that is signed in, and keeps what went wrong in it: errors, CSP reports, bytes that came. */
export async function signIn(browserNow, serverNow, options = {}) {
  const context = await browserNow.newContext({ viewport: { width: 1280, height: 800 }, reducedMotion: "reduce", ...options });
  const page = await context.newPage();
  const wrong = [];
  page.on("pageerror", (error) => wrong.push(`error: ${error.message}`));
  page.on("console", (message) => { if (message.type() === "error" && !/Failed to load resource/.test(message.text())) wrong.push(`console: ${message.text()}`); });
  await page.addInitScript(() => {
    globalThis.cspReports = [];
    document.addEventListener("securitypolicyviolation", (event) => globalThis.cspReports.push(`${event.violatedDirective} ${event.blockedURI} ${event.sourceFile ?? ""}`));
  });
  await page.goto(`${serverNow.base}/?token=${serverNow.token}`);
  await page.getByRole("heading", { name: "Overview", exact: true }).waitFor();
  return { context, page, wrong, open: (path) => page.goto(serverNow.base + path) };
}

export async function eventually(look, what, ms = 60_000) {
  const end = performance.now() + ms;
  for (;;) {
    const found = await look();
    if (found) return found;
    if (performance.now() > end) throw new Error(`still not: ${what}`);
    await new Promise((resolve) => { setTimeout(resolve, 50); });
  }
}

/**
 * A figure with its limit. On a machine that is busy with something else it says nothing about the console: then
 * it is printed, and must only stay below ten times the limit.
 */
export function budget(t, name, value, limit, unit) {
  const busy = loadavg()[0] / cpus().length > 1.2;
  t.diagnostic(`${name}: ${Math.round(value * 10) / 10} ${unit} (limit ${limit} ${unit}${busy ? "; the machine is busy" : ""})`);
  const most = busy ? limit * 10 : limit;
  if (value > most) throw new Error(`${name}: ${value} ${unit}, more than ${most} ${unit}`);
}
