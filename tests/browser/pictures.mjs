// Pictures of the console, of real executions on the real server:
//   node tests/browser/pictures.mjs DIRECTORY               those of the README and the guide
//   node tests/browser/pictures.mjs DIRECTORY all [NAMES]   every page, in both themes and on a phone, to be looked at;
//                                                           NAMES is a pattern: of some pages only
// Times, ids and durations differ from one time to the next; what is shown does not.
import { copyFileSync, cpSync, mkdirSync, readFileSync, readdirSync } from "node:fs";
import { join } from "node:path";
import { browser, server, signIn, ROOT } from "./harness.mjs";

const NAMESPACE = "genomics";
const [out, which, names = ""] = process.argv.slice(2);
if (!out) throw new Error("say where to: node tests/browser/pictures.mjs DIRECTORY [all]");

// The flow's scripts call `python3`: the one that `tests/find-python` found comes first, as in `make demo`.
process.env.PATH = `${join(ROOT, ".tools/bin")}:${process.env.PATH}`;

/** The demo's flows with what they read, and some more over the same data. */
function flows(directory) {
  cpSync(join(ROOT, "flows/demo"), directory, { recursive: true });
  const more = join(ROOT, "tests/browser/pictures");
  for (const name of readdirSync(more)) if (which === "all" || name !== "assign-lineages.yaml") copyFileSync(join(more, name), join(directory, name));
}

const operon = await server({ fill: flows });
const chromium = await browser();
try {
  const files = Object.fromEntries(await Promise.all(["sequences.fasta", "references.fasta", "nomenclature.json"].map(async (name) => [name.split(".")[0], await upload(name)])));
  const run = async (flow, inputs = {}, labels = {}) => (await operon.api("POST", "/executions", { namespace: NAMESPACE, flow, inputs: { sequences: files.sequences, ...inputs }, labels })).id;
  const over = (id) => operon.until(id, "SUCCESS", "FAILED", "WARNING", "PAUSED");
  for (let count = 0; count < 3; count += 1) await over(await run("screen-records", { max_n_percent: 100 }));
  const good = await run("pathoplexus-processing", files);
  await over(good);
  const failed = await run("screen-records", { batch_size: 8 }, { batch: "2026-11" });
  const ended = await over(failed);
  if (ended.state !== "FAILED") throw new Error(`the execution to be shown as failed is ${ended.state}`);
  const paused = await run("release");
  await over(paused);
  mkdirSync(out, { recursive: true });
  if (which === "all") await every({ good, failed, paused, ...(await crowded()) });
  else await few({ failed, run });
} finally {
  await chromium.close();
  await operon.stop();
}

/** Brings a file of the demo to the server. */
async function upload(name) {
  const body = readFileSync(join(ROOT, "flows/demo/data", name));
  const response = await fetch(`${operon.base}/api/v1/artifacts?name=${name}`, { method: "POST", headers: { Authorization: `Bearer ${operon.token}`, "Content-Type": "application/octet-stream" }, body });
  if (!response.ok) throw new Error(`${name}: ${await response.text()}`);
  return (await response.json()).uri;
}

async function few({ failed, run }) {
  await shoot("console-execution", "light", 1280, 960, `/executions/${failed}`, (page) => page.locator(".log-lines[data-ended=true] .log-line").first().waitFor());
  const live = await run("screen-records", { batch_size: 1, max_n_percent: 100 });
  await shoot("console-overview", "dark", 1280, 580, "/?hours=1", (page) => page.locator(`a[href="/executions/${live}"]`).waitFor());
}

/** Slots of several keys that are taken and waited for, a trigger that is off, and a second revision. */
async function crowded() {
  const gate = operon.gate("lineages").path;
  const assign = (organism) => operon.api("POST", "/executions", { namespace: NAMESPACE, flow: "assign-lineages", inputs: { organism, gate } });
  for (const organism of ["mpox", "mpox", "west-nile-virus", "ebola-zaire"]) await operon.until((await assign(organism)).id, "RUNNING");
  for (const organism of ["mpox", "mpox", "mpox"]) await operon.until((await assign(organism)).id, "QUEUED");
  await operon.api("POST", `/triggers/${NAMESPACE}/release/weekly/disable`);
  const nightly = `/triggers/${NAMESPACE}/screen-records/nightly/backfill`;
  await operon.api("POST", nightly, { fromMs: Date.parse("2026-01-01"), toMs: Date.parse("2026-03-01") });
  await operon.api("POST", `${nightly}/pause`);
  const source = readFileSync(join(ROOT, "tests/browser/pictures/screen-records.yaml"), "utf8");
  const changed = source.replace("concurrencyLimit: 3", "concurrencyLimit: 6").replace("    message: every batch is good", "    message: \"every batch of {{ execution.startDate }} is good\"\n    level: INFO");
  const response = await fetch(`${operon.base}/api/v1/flows/${NAMESPACE}/screen-records`, { method: "PUT", headers: { Authorization: `Bearer ${operon.token}`, "If-Match": "1" }, body: changed });
  if (!response.ok) throw new Error(await response.text());
  return { waiting: (await operon.api("GET", "/executions?state=QUEUED&limit=1")).items[0].id };
}

async function every({ good, failed, paused, waiting }) {
  const flow = `/flows/${NAMESPACE}/screen-records`;
  const keyed = `/flows/${NAMESPACE}/assign-lineages`;
  const pages = {
    overview: "/", "overview-hour": "/?hours=1", executions: "/executions", "executions-failed": "/executions?state=FAILED", "executions-none": "/executions?q=nothing-has-this-name", failed: `/executions/${failed}`, good: `/executions/${good}`, paused: `/executions/${paused}`, waiting: `/executions/${waiting}`,
    topology: `/executions/${failed}?tab=topology`, items: `/executions/${failed}?tab=items`, outputs: `/executions/${good}?tab=outputs`, metrics: `/executions/${failed}?tab=metrics`, about: `/executions/${failed}?tab=about`, logs: `/executions/${good}?tab=logs`,
    flows: "/flows", new: "/flows/new", flow, source: `${flow}?tab=source`, revisions: `${flow}?tab=revisions`, "flow-executions": `${flow}?tab=executions`, "flow-triggers": `${keyed}?tab=triggers`, "no-triggers": `/flows/${NAMESPACE}/pathoplexus-processing?tab=triggers`,
    concurrency: `${flow}?tab=concurrency`, "concurrency-keys": `${keyed}?tab=concurrency`, run: `${keyed}?run=1`, "run-wrong": `${flow}?run=1`, errors: `${flow}?tab=source`, review: `${flow}?tab=source`, kill: `/executions/${waiting}`, replay: `/executions/${failed}?replay=1`, backfill: "/triggers", "backfill-paused": "/triggers", triggers: "/triggers", missing: "/nowhere",
  };
  const button = (page, name) => page.getByRole("button", { name, exact: true }).first();
  const write = async (page, change) => {
    const editor = page.locator(".editor textarea");
    await editor.fill(change(await editor.inputValue()));
    await page.locator(".verdict[data-pending=false]").waitFor();
  };
  const then = {
    "run-wrong": async (page) => { await page.getByLabel("batch_size").fill("1000"); await page.getByRole("dialog").getByRole("button", { name: /^Run|^Start/ }).click(); },
    errors: (page) => write(page, (text) => text.replace("concurrencyLimit: 6", "concurrencyLimit: six").replace("type: io.kestra.plugin.core.log.Log", "type: io.kestra.plugin.core.log.Logg").replace("outputs.split.vars", "outputs.splitt.vars")),
    review: async (page) => { await write(page, (text) => text.replace("concurrencyLimit: 6", "concurrencyLimit: 12")); await button(page, "Review and save").click(); },
    kill: (page) => button(page, "Kill").click(),
    backfill: (page) => button(page, "Backfill").click(),
    "backfill-paused": (page) => page.getByRole("button", { name: "Backfill", exact: true }).last().click(),
  };
  const wanted = new RegExp(names);
  for (const [scheme, width, height, tag] of [["light", 1280, 800, "light"], ["dark", 1280, 800, "dark"], ["light", 390, 844, "phone-light"], ["dark", 390, 844, "phone"]]) {
    for (const [name, path] of Object.entries(pages)) if (wanted.test(`${name}.${tag}`)) await shoot(`${name}.${tag}`, scheme, width, height, path, then[name]);
  }
}

async function shoot(name, colorScheme, width, height, path, ready) {
  const { context, page } = await signIn(chromium, operon, { colorScheme, viewport: { width, height } });
  await page.goto(operon.base + path);
  await page.waitForFunction(() => document.querySelector("h1, .empty, dialog") && !document.querySelector(".skeleton"));
  await ready?.(page);
  await page.evaluate(() => document.fonts.ready);
  await page.waitForTimeout(which === "all" ? 400 : 0);
  const wide = await page.evaluate(() => document.documentElement.scrollWidth - innerWidth);
  if (wide > 0) console.error(`${name}: ${wide} px wider than its window`);
  await page.screenshot({ path: join(out, `${name}.png`) });
  await context.close();
}
