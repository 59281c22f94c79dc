// Screenshots of every page in both themes and at the width of a phone, to be looked at:
//   node mock/shots.mjs http://127.0.0.1:4401 OUT_DIRECTORY [filter]
import { chromium } from "playwright-core";
import { mkdirSync } from "node:fs";
import { id } from "./data.mjs";

const [base = "http://127.0.0.1:4401", out = "shots", only = ""] = process.argv.slice(2);
const flow = "/flows/pathoplexus.processing/preprocess-nextclade";
const pages = {
  overview: "/", executions: "/executions", "executions-filtered": "/executions?state=FAILED", failed: `/executions/${id(1)}`, live: `/executions/${id(2)}`, paused: `/executions/${id(3)}`,
  topology: `/executions/${id(2)}?tab=topology`, large: `/executions/${id(5)}?tab=topology`, items: `/executions/${id(1)}?tab=items`, outputs: `/executions/${id(4)}?tab=outputs&file=operon:///executions/${id(4)}/0.5/1/qc.csv`, metrics: `/executions/${id(4)}?tab=metrics`, about: `/executions/${id(4)}?tab=about`, logs: `/executions/${id(4)}?tab=logs`,
  flows: "/flows", flow, source: `${flow}?tab=source`, revisions: `${flow}?tab=revisions`, "flow-triggers": `${flow}?tab=triggers`, concurrency: `${flow}?tab=concurrency`, run: `${flow}?run=1`, triggers: "/triggers", missing: "/nowhere",
};
mkdirSync(out, { recursive: true });
const browser = await chromium.launch({ executablePath: process.env.CHROMIUM ?? "/usr/bin/chromium", args: ["--no-sandbox", "--disable-gpu", "--disable-quic", "--disable-background-networking"] });
for (const [scheme, width, height, tag] of [["light", 1360, 850, "light"], ["dark", 1360, 850, "dark"], ["dark", 390, 844, "phone"], ["light", 390, 844, "phone-light"]]) {
  const context = await browser.newContext({ colorScheme: scheme, viewport: { width, height }, reducedMotion: "reduce" });
  const page = await context.newPage();
  page.on("console", (message) => { if (["error", "warning"].includes(message.type())) console.log(tag, message.text()); });
  page.on("pageerror", (error) => console.log(tag, "PAGE ERROR", error.message, error.stack?.split("\n")[1]));
  for (const [name, path] of Object.entries(pages)) {
    if (only && !new RegExp(only).test(`${name}.${tag}`)) continue;
    await page.goto(base + path, { waitUntil: "load" });
    await page.waitForFunction(() => document.querySelector("h1, .empty") && !document.querySelector(".skeleton"), null, { timeout: 10_000 }).catch(() => console.log(tag, name, "still loading"));
    await page.waitForTimeout(700);
    await page.screenshot({ path: `${out}/${name}.${tag}.png` });
  }
  await context.close();
}
await browser.close();
