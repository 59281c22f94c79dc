// Looks for violations with axe-core on every page of the server with made-up data: node mock/axe.mjs [base]
import { chromium } from "playwright-core";
import { readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { id } from "./data.mjs";

const base = process.argv[2] ?? "http://127.0.0.1:4401";
const axe = readFileSync(createRequire(import.meta.url).resolve("axe-core/axe.min.js"), "utf8");
const flow = "/flows/pathoplexus.processing/preprocess-nextclade";
const pages = ["/", "/executions", "/executions?state=RUNNING", `/executions/${id(1)}`, `/executions/${id(1)}?tab=items&items=all`, `/executions/${id(2)}?tab=topology`, `/executions/${id(3)}`, `/executions/${id(4)}?tab=logs`, `/executions/${id(4)}?tab=outputs&file=operon:///executions/${id(4)}/0.5/1/qc.csv`, `/executions/${id(4)}?tab=metrics`, `/executions/${id(4)}?tab=about`, "/flows", "/flows/new", flow, `${flow}?tab=source`, `${flow}?tab=executions`, `${flow}?tab=revisions`, `${flow}?tab=triggers`, `${flow}?tab=concurrency`, `${flow}?run=1`, "/triggers", "/nowhere"];
const browser = await chromium.launch({ executablePath: process.env.CHROMIUM ?? "/usr/bin/chromium", args: ["--no-sandbox", "--disable-gpu", "--disable-quic", "--disable-background-networking"] });
for (const [colorScheme, width] of [["light", 1280], ["dark", 1280], ["dark", 390]]) {
  const context = await browser.newContext({ colorScheme, viewport: { width, height: 800 }, reducedMotion: "reduce" });
  const page = await context.newPage();
  page.on("pageerror", (error) => console.log("PAGE ERROR", error.message));
  page.on("console", (message) => { if (message.type() === "error") console.log("console", message.text()); });
  for (const path of pages) {
    await page.goto(base + path);
    await page.waitForFunction(() => document.querySelector("h1, .empty, dialog") && !document.querySelector(".skeleton"), null, { timeout: 20_000 }).catch(() => console.log("still loading", path));
    await page.evaluate(axe);
    const { violations } = await page.evaluate(() => globalThis.axe.run(document, { resultTypes: ["violations"] }));
    for (const one of violations) for (const node of one.nodes.slice(0, 3)) console.log(colorScheme, width, path, one.id, node.target.join(" "), node.any?.[0]?.message ?? node.all?.[0]?.message ?? node.none?.[0]?.message ?? "");
    const wide = await page.evaluate(() => document.documentElement.scrollWidth - document.documentElement.clientWidth);
    if (wide > 1) console.log(colorScheme, width, path, `${wide} px wider than the screen`);
  }
  await context.close();
}
await browser.close();
