// The console in a browser, against the real server with real executions.
import assert from "node:assert/strict";
import { after, before, describe, it } from "node:test";
import { AXE, browser, budget, eventually, leave, NAMESPACE, server, signIn } from "./harness.mjs";

let chromium;
let operon;
let failedId;
let itemsId;
let manyId;
let quickId;

/** A thousand tasks in fifty layers. */
function large() {
  const tasks = Array.from({ length: 1000 }, (_, index) => `  - {id: task-${index}, type: log, message: "x", dependsOn: [${index >= 20 ? `task-${index - 20}` : ""}]}`);
  return `id: large\nnamespace: ${NAMESPACE}\ntasks:\n${tasks.join("\n")}\n`;
}

before(async () => {
  [chromium, operon] = await Promise.all([browser(), server({ more: { "large.yaml": large() } })]);
  failedId = await operon.run("fails");
  itemsId = await operon.run("items", { gate: operon.gate("items").path });
  manyId = await operon.run("many");
  quickId = await operon.run("quick", {}, { organism: "mpox" });
  await Promise.all([operon.until(failedId, "FAILED"), operon.until(itemsId, "FAILED"), operon.until(manyId, "SUCCESS"), operon.until(quickId, "SUCCESS")]);
});

after(async () => {
  await chromium?.close();
  await operon?.stop();
});

async function visit(path, options) {
  const made = await signIn(chromium, operon, options);
  if (path) await made.open(path);
  return made;
}

describe("a machine without Chromium", () => {
  it("takes the one that npm brought, or says what to install", { timeout: 600_000 }, async () => {
    if (process.platform !== "linux" || process.arch !== "x64") {
      await assert.rejects(browser({ own: true }), /install one/);
      return;
    }
    const own = await browser({ own: true });
    try {
      const { context, page } = await signIn(own, operon);
      await page.goto(`${operon.base}/executions/${quickId}`);
      await page.locator(".title-line [data-state=SUCCESS]").waitFor();
      assert.equal(await page.locator("h1").innerText(), "quick", "it has a font");
      await context.close();
    } finally {
      await own.close();
    }
  });
});

describe("live", () => {
  it("shows a change of state within two seconds", async (t) => {
    const gate = operon.gate("live");
    const id = await operon.run("waits", { gate: gate.path });
    const visitNow = await visit(`/executions/${id}`);
    const { page } = visitNow;
    await page.locator("[data-name=gated][data-state=RUNNING]").waitFor();
    await page.locator("[data-connection=live]").waitFor();
    await page.evaluate(() => {
      globalThis.seen = {};
      const look = () => {
        if (!globalThis.seen.task && document.querySelector("[data-name=gated][data-state=SUCCESS]")) globalThis.seen.task = Date.now();
        if (!globalThis.seen.execution && document.querySelector(".title-line [data-state=SUCCESS]")) globalThis.seen.execution = Date.now();
      };
      new MutationObserver(look).observe(document.body, { subtree: true, childList: true, attributes: true });
    });
    gate.open();
    const over = await operon.until(id, "SUCCESS");
    await page.waitForFunction(() => globalThis.seen.task && globalThis.seen.execution);
    const seen = await page.evaluate(() => globalThis.seen);
    const runs = await operon.api("GET", `/executions/${id}/task-runs`);
    const gated = runs.items.find((run) => run.task === "gated");
    budget(t, "a task run's end is seen after", Math.max(0, seen.task - gated.endedMs), 2000, "ms");
    budget(t, "an execution's end is seen after", Math.max(0, seen.execution - over.endedMs), 2000, "ms");
    await leave(visitNow);
  });

  it("misses nothing that happens while its connection is broken", async () => {
    const gate = operon.gate("cut");
    const id = await operon.run("waits", { gate: gate.path });
    const visitNow = await visit();
    const { page, open } = visitNow;
    await page.addInitScript(() => {
      globalThis.line = { broken: false, refused: 0, cut: () => undefined };
      const real = globalThis.fetch;
      globalThis.fetch = (input, init) => {
        if (!String(input).endsWith("/events")) return real(input, init);
        if (globalThis.line.broken) { globalThis.line.refused += 1; return Promise.reject(new TypeError("no connection")); }
        const own = new AbortController();
        globalThis.line.cut = () => { globalThis.line.broken = true; own.abort(); };
        return real(input, { ...init, signal: AbortSignal.any([init.signal, own.signal]) });
      };
    });
    await open(`/executions/${id}`);
    await page.locator("[data-name=gated][data-state=RUNNING]").waitFor();
    await page.locator("[data-connection=live]").waitFor();
    await page.evaluate(() => globalThis.line.cut());
    await page.waitForFunction(() => globalThis.line.refused > 0);
    gate.open();
    await operon.until(id, "SUCCESS");
    assert.equal(await page.locator("[data-name=gated][data-state=RUNNING]").count(), 1, "what is not told is not known");
    await page.evaluate(() => { globalThis.line.broken = false; });
    await page.locator(".title-line [data-state=SUCCESS]").waitFor();
    for (const name of ["first", "gated", "last"]) await page.locator(`[data-name=${name}][data-state=SUCCESS]`).waitFor();
    await leave(visitNow);
  });

  it("shows a new execution and its state in the list without loading the page again", async () => {
    const visitNow = await visit("/executions?flow=waits");
    const gate = operon.gate("list");
    const id = await operon.run("waits", { gate: gate.path });
    await visitNow.page.locator(`tr[data-id="${id}"] .state [data-state=RUNNING]`).waitFor();
    await visitNow.page.locator(`tr[data-id="${id}"] .last-task`, { hasText: "gated" }).locator("[data-state=RUNNING]").waitFor();
    gate.open();
    await visitNow.page.locator(`tr[data-id="${id}"] .state [data-state=SUCCESS]`).waitFor();
    await visitNow.page.locator(`tr[data-id="${id}"] .last-task`, { hasText: "last" }).locator("[data-state=SUCCESS]").waitFor();
    const [failed] = (await operon.api("GET", "/executions?flow=fails&limit=1")).items;
    assert.deepEqual(failed.lastTask, { task: "align", state: "FAILED", attempts: 2 });
    assert.deepEqual((await operon.api("GET", `/executions?flow=items&limit=1`)).items[0].lastTask, { task: "each", state: "FAILED", attempts: 0 }, "a loop stands for its items");
    await leave(visitNow);
  });
});

describe("an execution that failed", () => {
  it("has the failing row open at its last error without a click", async () => {
    const visitNow = await visit(`/executions/${failedId}`);
    const { page } = visitNow;
    const row = page.locator("[data-name=align]");
    await row.locator(".log-lines[data-ended=true]").waitFor();
    const line = row.locator(".log-line", { hasText: "cannot parse the gene map" });
    await line.waitFor();
    assert.equal(await line.evaluate((element) => {
      const box = element.getBoundingClientRect();
      return box.top >= 0 && box.bottom <= innerHeight;
    }), true, "the last error is in view");
    assert.match(await page.locator(".why").innerText(), /align failed after 2 attempts/);
    await row.locator(".log-end").waitFor();
    assert.equal(await row.locator(".seg-run").count(), 2, "one segment per attempt");
    await leave(visitNow);
  });

  it("is replayed from a task, after being told what happens to containers", async () => {
    const visitNow = await visit(`/executions/${failedId}`);
    const { page } = visitNow;
    await page.getByRole("button", { name: "Replay", exact: true }).click();
    const dialog = page.getByRole("dialog");
    await dialog.getByLabel("From").selectOption({ value: "align" });
    assert.match(await dialog.innerText(), /not stopped/);
    await dialog.getByRole("button", { name: "Replay" }).click();
    await page.waitForURL((url) => /\/executions\//.test(url.pathname) && !url.pathname.includes(failedId));
    const id = new URL(page.url()).pathname.split("/").at(-1);
    await operon.until(id, "FAILED");
    const reused = page.locator("[data-name=fetch]", { hasText: "reused" });
    await reused.locator("button.gantt-name").click();
    await reused.locator(".log-line", { hasText: "fetched" }).waitFor();
    await reused.locator(`a[href="/executions/${failedId}"]`).waitFor();
    await page.goto(`${operon.base}/executions/${id}?tab=logs&grep=fetched`);
    await page.locator(".log-lines[data-lines='1'] .log-line", { hasText: "fetched" }).waitFor();
    assert.equal((await operon.api("GET", `/executions/${id}`)).replayOf, failedId);
    await leave(visitNow);
  });
});

describe("what an operator does", () => {
  it("kills, and is told before what happens to the containers that run", async () => {
    const id = await operon.run("waits", { gate: operon.gate("never").path });
    const visitNow = await visit(`/executions/${id}`);
    const { page } = visitNow;
    await page.locator("[data-name=gated][data-state=RUNNING]").waitFor();
    await page.getByRole("button", { name: "Kill" }).click();
    const dialog = page.getByRole("dialog");
    assert.match(await dialog.innerText(), /1 running container \(gated\)/);
    await dialog.getByRole("button", { name: "Leave it" }).click();
    assert.equal((await operon.api("GET", `/executions/${id}`)).state, "RUNNING");
    await page.getByRole("button", { name: "Kill" }).click();
    await dialog.getByRole("button", { name: "Kill" }).click();
    await page.locator(".title-line [data-state=KILLED]").waitFor();
    await operon.until(id, "KILLED");
    await leave(visitNow);
  });

  it("approves a pause with the values it asks for", async () => {
    const id = await operon.run("approve");
    await operon.until(id, "PAUSED", "RUNNING");
    const visitNow = await visit(`/executions/${id}`);
    const { page } = visitNow;
    const approval = page.getByRole("region", { name: "decide waits" });
    await approval.getByRole("button", { name: "Approve" }).click();
    await approval.getByText("A value is required.").waitFor();
    await approval.getByLabel("comment").fill("looked at it");
    await approval.getByRole("button", { name: "Approve" }).click();
    await page.getByRole("dialog").getByRole("button", { name: "Approve" }).click();
    await page.locator(".title-line [data-state=SUCCESS]").waitFor();
    await operon.until(id, "SUCCESS");
    await leave(visitNow);
  });

  it("retries only the items that failed", async () => {
    const visitNow = await visit(`/executions/${itemsId}?tab=items`);
    const { page } = visitNow;
    await page.locator("tr.item-row").first().waitFor();
    assert.equal(await page.locator("tr.item-row").count(), 2, "failed ones first");
    assert.match(await page.locator("tr.item-row .error-line").first().innerText(), /\S/);
    operon.gate("items").open();
    await page.getByRole("button", { name: "Retry 2 failed only" }).click();
    await page.getByRole("dialog").getByRole("button", { name: "Retry failed" }).click();
    await page.locator(".title-line [data-state=SUCCESS]").waitFor();
    const over = await operon.until(itemsId, "SUCCESS");
    const runs = await operon.api("GET", `/executions/${itemsId}/task-runs?limit=1000`);
    const attempts = runs.items.filter((run) => run.task === "work").map((run) => run.attempts.length);
    assert.deepEqual(attempts.toSorted(), [1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 2, 2]);
    assert.equal(over.failedItems, 0);
    await leave(visitNow);
  });

  it("retries items whose failure the flow tolerates, and what follows them", async () => {
    const gate = operon.gate("tolerated");
    const id = await operon.run("tolerant", { gate: gate.path });
    await operon.until(id, "WARNING");
    const visitNow = await visit(`/executions/${id}?tab=items`);
    const { page } = visitNow;
    gate.open();
    await page.getByRole("button", { name: "Retry 1 failed only" }).click();
    const dialog = page.getByRole("dialog");
    assert.match(await dialog.innerText(), /What follows their loop runs again/);
    await dialog.getByRole("button", { name: "Retry failed" }).click();
    await page.locator(".title-line [data-state=SUCCESS]").waitFor();
    const over = await operon.until(id, "SUCCESS");
    const runs = await operon.api("GET", `/executions/${id}/task-runs?limit=100`);
    const attempts = runs.items.filter((run) => run.kind === "TASK" || run.attempts.length > 0).map((run) => `${run.name} ${run.attempts.length}`);
    assert.deepEqual(attempts.toSorted(), ["before 1", "merge 2", "work[0] 1", "work[1] 2", "work[2] 1"]);
    assert.equal(over.failedItems, 0);
    await leave(visitNow);
  });

  it("acts on many, with a preview and a report of what was skipped", async () => {
    const gate = operon.gate("bulk");
    const ids = await Promise.all([1, 2].map(() => operon.run("waits", { gate: gate.path }, { bulk: "yes" })));
    await operon.run("quick", {}, { bulk: "yes" }).then((id) => operon.until(id, "SUCCESS"));
    const visitNow = await visit("/executions?label=bulk:yes");
    const { page } = visitNow;
    await page.locator("tbody tr").nth(2).waitFor();
    await page.getByLabel("Select all shown").check();
    await page.getByRole("region", { name: "Actions on the selection" }).getByRole("button", { name: "Kill" }).click();
    const dialog = page.getByRole("dialog");
    await dialog.getByText("2 of 3 executions will be changed").waitFor();
    assert.match(await dialog.innerText(), /Running containers are told to stop/);
    await dialog.getByRole("button", { name: "Kill 2" }).click();
    await dialog.getByText("2 of 3 done").waitFor();
    assert.equal(await dialog.locator("tbody tr").count(), 1);
    for (const id of ids) await operon.until(id, "KILLED");
    await leave(visitNow);
  });

  it("says how many match before all of them are chosen", async () => {
    const ids = [];
    for (let count = 0; count < 103; count += 1) ids.push(await operon.run("approve", {}, { counted: "yes" }));
    const visitNow = await visit("/executions?label=counted:yes");
    const { page } = visitNow;
    await page.locator("tbody tr").nth(99).waitFor();
    await page.getByLabel("Select all shown").check();
    const bar = page.getByRole("region", { name: "Actions on the selection" });
    await bar.getByRole("button", { name: "Select all 103 that match the filter" }).click();
    await bar.getByText("All 103 that match").waitFor();
    await bar.getByRole("button", { name: "Kill" }).click();
    const dialog = page.getByRole("dialog");
    await dialog.getByText("103 of 103 executions will be changed").waitFor();
    await dialog.getByRole("button", { name: "Kill 103" }).click();
    await dialog.getByText("103 of 103 done").waitFor();
    for (const id of ids) await operon.until(id, "KILLED");
    // Earlier ones come below, each once, while the newest are read again and again.
    await dialog.getByRole("button", { name: "Close" }).last().click();
    await page.getByRole("button", { name: "Show earlier" }).click();
    await eventually(async () => (await page.locator("tbody tr").count()) === 103, "all rows");
    const shown = await page.locator("tbody tr").evaluateAll((rows) => rows.map((row) => row.dataset.id));
    assert.deepEqual([new Set(shown).size, shown], [103, shown.toSorted((a, b) => (a < b ? 1 : -1))]);
    await leave(visitNow);
  });

  it("shows the slots of each key with who holds them and who waits", async () => {
    const gate = operon.gate("keyed");
    const run = (organism) => operon.run("keyed", { gate: gate.path, organism });
    const [first, other] = [await run("mpox"), await run("measles")];
    await operon.until(first, "RUNNING");
    const second = await run("mpox");
    await operon.until(second, "QUEUED");
    const visitNow = await visit(`/flows/${NAMESPACE}/keyed?tab=concurrency`);
    const { page } = visitNow;
    const mpox = page.locator(".lock", { hasText: "mpox: 1 of 1 slot taken" });
    await mpox.getByRole("list", { name: "Slots of mpox" }).locator(`a[href="/executions/${first}"]`).waitFor();
    await mpox.locator("ol", { hasText: second.slice(-4) }).locator(`a[href="/executions/${second}"]`).waitFor();
    await page.locator(".lock", { hasText: "measles: 1 of 1 slot taken" }).locator(`a[href="/executions/${other}"]`).waitFor();
    const { items } = await operon.api("GET", "/locks");
    assert.deepEqual(items.filter((lock) => lock.key).map((lock) => `${lock.name} ${lock.owners.length} ${lock.queue.length}`).toSorted(), [`${NAMESPACE}/keyed:measles 1 0`, `${NAMESPACE}/keyed:mpox 1 1`]);
    gate.open();
    for (const id of [first, other, second]) await operon.until(id, "SUCCESS");
    await page.getByText("No slot is taken").waitFor();
    await leave(visitNow);
  });

  it("starts an execution from a form made of the inputs, prefilled from a former one", async () => {
    const visitNow = await visit(`/flows/${NAMESPACE}/quick`);
    const { page } = visitNow;
    await page.getByRole("button", { name: "Run", exact: true }).click();
    const dialog = page.getByRole("dialog");
    await dialog.getByLabel(/^organism/).selectOption("measles");
    await dialog.getByLabel(/^count/).fill("12");
    await dialog.getByText("At most 9.").waitFor();
    await dialog.getByLabel(/^count/).fill("5");
    await dialog.getByRole("button", { name: "Run", exact: true }).click();
    await page.waitForURL(/\/executions\//);
    const id = new URL(page.url()).pathname.split("/").at(-1);
    const over = await operon.until(id, "SUCCESS");
    assert.deepEqual(over.inputs, { organism: "measles", count: 5 });
    await page.locator(".title-line [data-state=SUCCESS]").waitFor();
    await page.getByRole("button", { name: "Run again" }).click();
    assert.equal(await dialog.getByLabel(/^count/).inputValue(), "5");
    await leave(visitNow);
  });
});

describe("a schedule", () => {
  it("is made up for, paused, let go on and ended from its page, and shows how far it is", async () => {
    const visitNow = await visit("/triggers");
    const { page } = visitNow;
    await page.keyboard.press("/");
    await page.keyboard.type("nightly");
    await page.waitForURL(/q=nightly/);
    await page.keyboard.press("Escape");
    await eventually(async () => (await page.locator(".triggers tbody tr").count()) === 1, "only what matches");
    const row = page.locator(".triggers tbody tr");
    await row.getByRole("button", { name: "Backfill" }).click();
    const dialog = page.getByRole("dialog");
    assert.equal(await dialog.getByRole("button", { name: "Backfill", exact: true }).isDisabled(), true, "a range is needed");
    // Some two thousand dates: it does not end while it is looked at.
    await dialog.getByLabel("From").fill("2019-01-01T00:00");
    await dialog.getByLabel("To").fill("2025-01-01T00:00");
    await dialog.getByRole("button", { name: "Backfill", exact: true }).click();
    await dialog.getByRole("button", { name: "Pause" }).click();
    await dialog.getByText("Backfill paused").waitFor();
    const at = `/triggers/${NAMESPACE}/triggered/nightly-after-everything-else-has-ended/backfill`;
    const paused = await operon.api("GET", at);
    assert.deepEqual([paused.paused, paused.over], [true, false]);
    await eventually(async () => (await dialog.locator("progress").getAttribute("value")) !== null, "its progress is shown");
    await dialog.getByRole("button", { name: "Go on" }).click();
    await dialog.getByText("Backfill going on").waitFor();
    assert.equal((await operon.api("GET", at)).paused, false);
    await dialog.getByRole("button", { name: "End", exact: true }).click();
    await dialog.getByText("Backfill ended").waitFor();
    assert.equal((await operon.api("GET", at)).over, true);
    await dialog.getByRole("button", { name: "Backfill", exact: true }).waitFor();
    await leave(visitNow);
  });
});

describe("a file as an input", () => {
  it("is brought to the server from the form", async () => {
    const visitNow = await visit(`/flows/${NAMESPACE}/file?run=1`);
    const { page } = visitNow;
    const dialog = page.getByRole("dialog");
    await page.waitForFunction(() => document.activeElement?.closest(".input-field") !== null && document.activeElement?.matches("input"));
    await dialog.getByLabel("Choose a file for sequences").setInputFiles({ name: "new records.fasta", mimeType: "text/plain", buffer: Buffer.from(">a\nACGT\n>b\nACGT\n") });
    await page.waitForFunction(() => [...document.querySelectorAll("dialog input")].some((field) => /^operon:.*new-records.fasta$/.test(field.value)));
    await dialog.getByRole("button", { name: "Run", exact: true }).click();
    await page.waitForURL(/\/executions\//);
    const id = new URL(page.url()).pathname.split("/").at(-1);
    await operon.until(id, "SUCCESS");
    const { items } = await operon.api("GET", `/executions/${id}/logs`);
    assert.equal(items.some((line) => line.text === "2 records"), true);
    await leave(visitNow);
  });
});

describe("an execution of more task runs than a page keeps", () => {
  it("has the failing one open at its error, although it comes after them", { timeout: 600_000 }, async (t) => {
    const id = await operon.run("crowd");
    await operon.until(id, "FAILED");
    const visitNow = await visit(`/executions/${id}`);
    const { page } = visitNow;
    await page.getByText("task runs are shown").waitFor();
    const row = page.locator(".gantt-item.open[data-state=FAILED]");
    await row.locator(".log-lines[data-ended=true]").waitFor();
    assert.equal(await row.getAttribute("data-name"), "check[4199]");
    assert.match(await page.locator(".why").innerText(), /check\[4199\].*the last one is bad/s);
    const first = (await operon.api("GET", `/executions/${id}/task-runs?limit=1000`)).items;
    assert.equal(first.some((run) => run.state === "FAILED" && run.kind === "task"), false, "it is not among the first");
    t.diagnostic(`task runs: ${await page.locator(".gantt").getAttribute("data-rows")} rows`);
    await leave(visitNow);
  });
});

describe("what the tasks gave", () => {
  it("is shown as it is, tried in an expression, and downloaded whole", async () => {
    const visitNow = await visit(`/executions/${quickId}?tab=outputs`);
    const { page } = visitNow;
    await page.locator(".files").getByRole("button", { name: "table.csv" }).click();
    await page.waitForURL(/file=/);
    const preview = page.locator(".preview table");
    await preview.waitFor();
    assert.deepEqual(await preview.locator("thead th").allInnerTexts(), ["accession", "length"]);
    assert.deepEqual(await preview.locator("tbody tr").allInnerTexts(), ["PP_1\t197209", "PP_2\t197209", "PP_3\t197209"]);
    await page.getByLabel("Expression", { exact: true }).fill("{{ outputs.numbers.vars.rows + 1 }}");
    await page.getByRole("button", { name: "Evaluate" }).click();
    await page.locator(".answer", { hasText: /^4$/ }).waitFor();
    const coming = page.waitForEvent("download");
    await page.locator(".preview").getByRole("link", { name: "Download" }).click();
    const download = await coming;
    const { readFile } = await import("node:fs/promises");
    assert.deepEqual([download.suggestedFilename(), await readFile(await download.path(), "utf8")], ["table.csv", "accession,length\nPP_1,197209\nPP_2,197209\nPP_3,197209\n"]);
    await leave(visitNow);
  });

  it("comes from elsewhere where the server says so, which no policy forbids and which learns nothing of the caller", async () => {
    const { createServer, request: ask } = await import("node:http");
    const { readFile } = await import("node:fs/promises");
    const told = [];
    const listen = (server) => new Promise((resolve) => { server.listen(0, "127.0.0.1", () => resolve(server.address().port)); });
    const elsewhere = createServer((request, response) => {
      told.push([request.url, request.headers.cookie ?? null, request.headers.referer ?? null]);
      response.writeHead(200, { "Content-Type": "application/octet-stream", "Content-Disposition": 'attachment; filename="large.csv"' });
      response.end("from elsewhere");
    });
    const place = `http://localhost:${await listen(elsewhere)}/table.csv?signature=x`;
    // The server as it is on AWS: everything is its own but where downloads lead to.
    const front = createServer((request, response) => {
      if (request.url.startsWith("/api/v1/artifacts/download")) { response.writeHead(307, { Location: place }); response.end(); return; }
      const passed = ask(operon.base + request.url, { method: request.method, headers: request.headers }, (answer) => { response.writeHead(answer.statusCode, answer.headers); answer.pipe(response); });
      passed.on("error", () => response.destroy());
      request.pipe(passed);
    });
    const port = await listen(front);
    const visitNow = await visit();
    const { page } = visitNow;
    await page.goto(`http://127.0.0.1:${port}/executions/${quickId}?tab=outputs`);
    await page.locator(".files").getByRole("button", { name: "table.csv" }).click();
    const coming = page.waitForEvent("download");
    await page.locator(".preview").getByRole("link", { name: "Download" }).click();
    assert.equal(await readFile(await (await coming).path(), "utf8"), "from elsewhere");
    assert.deepEqual(told, [["/table.csv?signature=x", null, null]]);
    await leave(visitNow);
    front.closeAllConnections();
    front.close();
    elsewhere.close();
  });
});

describe("the address", () => {
  it("holds how far back the overview looks", async () => {
    const visitNow = await visit("/");
    const { page } = visitNow;
    await page.getByRole("button", { name: "1 h" }).click();
    await page.waitForURL(/hours=1$/);
    await page.reload();
    await page.getByRole("button", { name: "1 h", pressed: true }).waitFor();
    await page.getByRole("link", { name: "fails" }).first().waitFor();
    await page.getByText("align: ", { exact: false }).filter({ hasText: "cannot parse the gene map" }).first().waitFor();
    await leave(visitNow);
  });

  it("holds the filters, and a copied one shows the same", async () => {
    const visitNow = await visit("/executions");
    const { page } = visitNow;
    await page.getByRole("group", { name: "States" }).getByRole("button", { name: "Failed" }).click();
    await page.getByPlaceholder("Flow", { exact: true }).fill("fails");
    await page.keyboard.press("Enter");
    await page.waitForURL(/flow=fails.*state=FAILED/);
    await eventually(async () => (await page.locator("tbody tr .flow-link b").allInnerTexts()).every((text) => text === "fails"), "only this flow");
    const address = page.url();
    const other = await visit();
    await other.page.goto(address);
    await other.page.locator(`tr[data-id="${failedId}"]`).waitFor();
    assert.equal(await other.page.getByRole("button", { name: "Failed", pressed: true }).count(), 1);
    await leave(other);
    const unlike = await operon.run("quick");
    await page.getByRole("link", { name: "Clear" }).click();
    await page.locator(`tr[data-id="${unlike}"]`).waitFor();
    await leave(visitNow);
  });

  it("holds the open task run and the level of its log", async () => {
    const runs = await operon.api("GET", `/executions/${failedId}/task-runs`);
    const run = runs.items.find((one) => one.task === "align");
    const visitNow = await visit(`/executions/${failedId}?run=${run.id}&attempt=1&grep=PP_30`);
    const { page } = visitNow;
    await page.locator(".log-lines[data-lines='2']").waitFor();
    assert.deepEqual(await page.locator(".log-line .text").allInnerTexts(), ["PP_30: aligned", "PP_300: aligned"]);
    assert.equal(await page.locator(".attempts [aria-pressed=true]").innerText(), "1");
    await leave(visitNow);
  });

  it("holds which groups of the Gantt are open and closed, and says nothing of the others", async () => {
    const visitNow = await visit(`/executions/${itemsId}?run=none`);
    const { page, open } = visitNow;
    const group = page.locator("[data-name=each] button.gantt-name");
    const inside = page.locator(".gantt-item[data-name^=work]");
    await page.locator("[data-name=each] [aria-expanded=true]").waitFor();
    assert.equal(await inside.count(), 12, "few items are shown by themselves");
    await group.click();
    await page.waitForURL(/closed=0:\d+&run=none$/);
    const address = page.url();
    const other = await visit();
    await other.page.goto(address);
    await other.page.locator("[data-name=each] [aria-expanded=false]").waitFor();
    assert.equal(await other.page.locator(".gantt-item[data-name^=work]").count(), 0, "a copied address shows the same");
    await leave(other);
    await group.click();
    await page.waitForURL(/\?run=none$/);
    assert.equal(await inside.count(), 12);
    // A thousand items are closed by themselves; open, they need no more of the address than their loop.
    await open(`/executions/${manyId}`);
    await page.locator("[data-name=each] [aria-expanded=false]").waitFor();
    assert.equal(await page.locator(".gantt").getAttribute("data-rows"), "1");
    await group.click();
    await page.waitForURL(/\?open=0:\d+$/);
    await page.reload();
    await page.locator(".gantt[data-rows='1001']").waitFor();
    await group.click();
    await page.waitForURL((url) => url.search === "");
    await leave(visitNow);
  });

  it("holds how a log is shown", async () => {
    const visitNow = await visit(`/executions/${failedId}?tab=logs`);
    const { page } = visitNow;
    await page.getByRole("button", { name: "Wrap", pressed: false }).click();
    await page.waitForURL(/\?tab=logs&wrap=1$/);
    await page.reload();
    await page.getByRole("button", { name: "Wrap", pressed: true }).waitFor();
    await page.locator(".log-lines.wrapped").waitFor();
    await page.getByRole("button", { name: "Wrap" }).click();
    await page.waitForURL(/\?tab=logs$/);
    const gate = operon.gate("follow");
    const id = await operon.run("waits", { gate: gate.path });
    await page.goto(`${operon.base}/executions/${id}?tab=logs`);
    await page.getByRole("button", { name: "Follow", pressed: true }).click();
    await page.waitForURL(/\?follow=0&tab=logs$/);
    await page.reload();
    await page.getByRole("button", { name: "Follow", pressed: false }).waitFor();
    gate.open();
    await operon.until(id, "SUCCESS");
    await leave(visitNow);
  });

  it("holds the order of a log", async () => {
    // Items side by side: what one says comes between what the others say.
    const { items } = await operon.api("GET", `/executions/${itemsId}/logs?limit=1000`);
    const order = (a, b) => (a.taskRun === b.taskRun && a.attempt === b.attempt ? a.seq - b.seq : a.timeMs - b.timeMs || a.taskRun.localeCompare(b.taskRun) || a.attempt - b.attempt);
    const expected = items.toSorted(order).map((line) => line.text);
    assert.ok(expected.length >= 12);
    const visitNow = await visit(`/executions/${itemsId}?tab=logs`);
    const { page } = visitNow;
    const shown = () => page.locator(".log-line .text").allInnerTexts();
    await page.locator(".log-end").waitFor();
    await page.getByRole("button", { name: "By time", pressed: false }).click();
    await page.waitForURL(/\?order=time&tab=logs$/);
    await eventually(async () => JSON.stringify(await shown()) === JSON.stringify(expected), "lines by time");
    await page.reload();
    await eventually(async () => JSON.stringify(await shown()) === JSON.stringify(expected), "the same after coming back");
    await page.getByRole("button", { name: "By time", pressed: true }).click();
    await page.waitForURL(/\?tab=logs$/);
    await leave(visitNow);
  });

  it("holds which groups of a topology are closed", async () => {
    const visitNow = await visit(`/executions/${itemsId}?tab=topology`);
    const { page } = visitNow;
    await page.locator(".topology-view .node[data-node=work]").waitFor();
    await page.getByRole("button", { name: "Close groups" }).click();
    await page.waitForURL(/\?groups=\*&tab=topology$/);
    const group = page.locator(".topology-view .node[data-node=each]");
    await group.waitFor();
    assert.match(await group.innerHTML(), /\d+ \/ \d+ \/ \d+ \/ 12/, "it says how many items it has");
    await page.reload();
    await group.waitFor();
    assert.equal(await page.locator(".topology-view .node[data-node=work]").count(), 0);
    await page.getByRole("button", { name: "Open groups" }).click();
    await page.waitForURL(/\?tab=topology$/);
    await page.locator(".topology-view .node[data-node=work]").waitFor();
    await page.getByRole("button", { name: "Close groups" }).waitFor();
    await leave(visitNow);
  });
});

describe("a log of 100,000 lines", () => {
  it("joined midway has each line once, in order, with the end marker, and a broken connection loses nothing", { timeout: 1_800_000 }, async () => {
    const gate = operon.gate("loud");
    const id = await operon.run("loud", { gate: gate.path });
    const run = await eventually(async () => (await operon.api("GET", `/executions/${id}/task-runs`)).items.find((one) => one.task === "write" && one.state === "RUNNING"), "the writer runs");
    await eventually(async () => (await operon.api("GET", `/executions/${id}/logs?taskRun=${run.id}&before=${Number.MAX_SAFE_INTEGER}&limit=1`)).items[0]?.text === "PP line 49999", "half is written");
    // Tall, so that the whole log is seen in some hundred steps.
    const visitNow = await visit(null, { viewport: { width: 1280, height: 2000 } });
    const { page, open } = visitNow;
    // The first three connections break in the middle of what they say.
    await page.addInitScript(() => {
      globalThis.cuts = 0;
      const real = globalThis.fetch;
      globalThis.fetch = async (input, init) => {
        const response = await real(input, init);
        if (!String(input).includes("/logs/stream") || globalThis.cuts >= 3) return response;
        let bytes = 0;
        const cut = new TransformStream({
          transform(chunk, controller) {
            bytes += chunk.byteLength;
            if (bytes < 20_000) { controller.enqueue(chunk); return; }
            globalThis.cuts += 1;
            controller.enqueue(chunk.slice(0, chunk.byteLength - 37));
            controller.error(new Error("cut"));
          },
        });
        return new Response(response.body.pipeThrough(cut), { status: response.status, headers: response.headers });
      };
    });
    await open(`/executions/${id}?tab=logs&run=${run.id}`);
    const log = page.locator(".log-lines");
    await page.locator(".logs-state[data-connection=live]").waitFor();
    assert.equal(await log.getAttribute("data-ended"), "false");
    gate.open();
    await page.locator(".log-lines[data-ended=true]").waitFor();
    await page.locator(".log-end", { hasText: "End of log" }).waitFor();
    assert.equal(await page.evaluate(() => globalThis.cuts), 3);
    // To the beginning: earlier lines load as one scrolls.
    await eventually(async () => {
      await log.evaluate((element) => { element.scrollTop = 0; });
      return (await log.getAttribute("data-lines")) === "100000";
    }, "all earlier lines", 600_000);
    // Through the whole log, and what is drawn on the way.
    const seen = await log.evaluate(async (element) => {
      const texts = [];
      const lines = element.querySelector(".log-window");
      const turn = () => new Promise((resolve) => { const { port1, port2 } = new MessageChannel(); port1.onmessage = resolve; port2.postMessage(null); });
      const drawn = () => {
        const [view, all, some] = [element, lines.parentElement, lines].map((one) => one.getBoundingClientRect());
        return some.top <= Math.max(view.top, all.top) + 1 && some.bottom >= Math.min(view.bottom, all.bottom) - 1;
      };
      let last = -1;
      for (let top = 0; ; top += element.clientHeight) {
        element.scrollTop = top;
        // At once, instead of with the next frame: what counts is what is drawn, not that it was painted.
        element.dispatchEvent(new Event("scroll"));
        do await turn(); while (!drawn());
        for (const line of lines.children) {
          const seq = Number(line.dataset.seq);
          if (seq > last) { texts.push(line.querySelector(".text").textContent); last = seq; }
        }
        if (top >= element.scrollHeight) return texts;
      }
    });
    assert.equal(seen.length, 100_000);
    assert.equal(seen.findIndex((text, index) => text !== `PP line ${index}`), -1);
    // A search looks through all of it, although one request looks through half.
    await page.keyboard.press("/");
    await page.keyboard.type("line 12345");
    await page.locator(".log-lines[data-lines='1']").waitFor();
    await page.locator(".log-mark", { hasText: "Start of log" }).waitFor();
    assert.equal(await page.locator(".log-line .text").innerText(), "PP line 12345");
    await leave(visitNow);
  });
});

describe("the source of a flow", () => {
  it("is checked while one types, marked at line and column, and saved as a revision that can be restored", async () => {
    const visitNow = await visit(`/flows/${NAMESPACE}/quick?tab=source`);
    const { page } = visitNow;
    const editor = page.getByLabel("Source of the flow");
    await editor.waitFor();
    const before = await editor.inputValue();
    await editor.fill(before.replace("description: Ends at once.", "descriptoin: Ends at once."));
    await page.locator(".verdict", { hasText: "error" }).waitFor();
    assert.match(await page.locator(".diagnostics").innerText(), /3:1/);
    assert.equal(await page.locator(".wrong").first().innerText(), "descriptoin");
    await editor.fill(before.replace("Ends at once.", "Ends soon."));
    await page.locator(".verdict[data-pending=false]", { hasText: "Valid" }).waitFor();
    await page.getByRole("button", { name: "Review and save" }).click();
    const dialog = page.getByRole("dialog");
    assert.match(await dialog.innerText(), /no running container is stopped/);
    assert.equal(await dialog.locator(".diff-new").count(), 1);
    await dialog.getByRole("button", { name: "Save as a new revision" }).click();
    await page.getByText("revision 2").first().waitFor();
    await page.goto(`${operon.base}/flows/${NAMESPACE}/quick?tab=revisions`);
    assert.match(await page.locator(".revision-diff .diff").innerText(), /Ends soon/);
    await page.getByRole("button", { name: "Restore" }).click();
    await dialog.getByRole("button", { name: "Restore" }).click();
    await eventually(async () => (await operon.api("GET", `/flows/${NAMESPACE}/quick`)).revision === 1, "revision 1 counts");
    await leave(visitNow);
  });

  it("is never silently overwritten", async () => {
    const visitNow = await visit(`/flows/${NAMESPACE}/approve?tab=source`);
    const { page } = visitNow;
    const editor = page.getByLabel("Source of the flow");
    await editor.waitFor();
    const mine = await editor.inputValue();
    const theirs = mine.replace("A person decides.", "Somebody decides.");
    const response = await fetch(`${operon.base}/api/v1/flows/${NAMESPACE}/approve`, { method: "PUT", headers: { Authorization: `Bearer ${operon.token}`, "Content-Type": "application/yaml" }, body: theirs });
    assert.equal(response.ok, true);
    await editor.fill(mine.replace("A person decides.", "I decide."));
    await page.locator(".verdict[data-pending=false]", { hasText: "Valid" }).waitFor();
    await page.getByRole("button", { name: "Review and save" }).click();
    await page.getByRole("dialog").getByRole("button", { name: "Save as a new revision" }).click();
    await page.getByRole("heading", { name: "Somebody saved this flow meanwhile" }).waitFor();
    assert.match(await page.getByRole("dialog").innerText(), /Somebody decides/);
    await leave(visitNow);
  });
});

describe("keyboard only", () => {
  it("finds, opens, reads the log, kills and gets help", async () => {
    const id = await operon.run("waits", { gate: operon.gate("keys").path }, { keys: "yes" });
    const visitNow = await visit("/executions?label=keys:yes");
    const { page } = visitNow;
    const press = (key) => page.keyboard.press(key);
    await page.locator(`tr[data-id="${id}"]`).waitFor();
    await press("/");
    assert.equal(await page.evaluate(() => document.activeElement?.hasAttribute("data-filter")), true);
    await page.keyboard.type("waits");
    await page.waitForURL(/q=waits/);
    await press("Escape");
    await page.locator(`tr[data-id="${id}"]`).waitFor();
    await press("j");
    await page.locator(`tr.current[data-id="${id}"]`).waitFor();
    await press("Enter");
    await page.waitForURL(new RegExp(`/executions/${id}`));
    await page.locator("[data-name=gated][data-state=RUNNING]").waitFor();
    await press("j");
    await press("j");
    await page.locator(".gantt-item.current[data-name=gated]").waitFor();
    await press("l");
    await page.locator("[data-name=gated] .log-line", { hasText: "waiting" }).waitFor();
    await press("?");
    await page.getByRole("heading", { name: "Keyboard" }).waitFor();
    await press("Escape");
    await page.getByRole("heading", { name: "Keyboard" }).waitFor({ state: "detached" });
    await press("x");
    await page.getByRole("dialog").getByRole("button", { name: "Kill" }).waitFor();
    await page.waitForFunction(() => document.activeElement?.textContent === "Kill");
    await press("Enter");
    await page.locator(".title-line [data-state=KILLED]").waitFor();
    await press("r");
    await page.getByRole("heading", { name: "Replay" }).waitFor();
    await leave(visitNow);
  });

  it("goes through the overview and the triggers", async () => {
    const visitNow = await visit("/");
    const { page } = visitNow;
    const press = (key) => page.keyboard.press(key);
    await page.locator(".row-key").first().waitFor();
    await press("/");
    await page.keyboard.type("no.such.namespace");
    await page.waitForURL(/namespace=no.such.namespace$/);
    await page.getByText("Nothing has run yet").waitFor();
    assert.equal(await page.evaluate(() => document.activeElement?.hasAttribute("data-filter")), true, "one can type on");
    await press("Escape");
    await press("1");
    await page.locator(".row-key").first().waitFor();
    assert.equal(await page.locator("tr.current").count(), 0);
    await press("j");
    await page.locator(".row-key.current").waitFor();
    const href = await page.locator(".row-key.current a").first().getAttribute("href");
    await press("Enter");
    await page.waitForURL((url) => href.startsWith(url.pathname) && url.pathname !== "/");
    await press("4");
    await page.locator(".triggers .row-key").first().waitFor();
    await press("j");
    await press("j");
    await press("k");
    await page.locator(".triggers tr.row-key.current").waitFor();
    assert.equal(await page.locator(".triggers tbody tr").first().getAttribute("class"), "row-key current");
    await press("Enter");
    await page.waitForURL(/\/flows\/.*tab=triggers/);
    await leave(visitNow);
  });
});

describe("every page", () => {
  let held;
  before(async () => {
    held = operon.gate("held");
    for (const organism of ["mpox", "mpox", "measles"]) await operon.run("keyed", { gate: held.path, organism });
    await eventually(async () => (await operon.api("GET", "/locks")).items.find((lock) => lock.key === "mpox" && lock.owners.length === 1 && lock.queue.length === 1), "one holds a slot, one waits for it");
  });
  after(() => held.open());
  const pages = () => [
    "/", "/executions", "/executions?state=RUNNING", `/executions/${failedId}`, `/executions/${failedId}?tab=logs`, `/executions/${failedId}?tab=topology`, `/executions/${itemsId}?tab=items&items=all`,
    `/executions/${quickId}?tab=outputs`, `/executions/${quickId}?tab=metrics`, `/executions/${quickId}?tab=about`, "/flows", "/flows/new", `/flows/${NAMESPACE}/items`, `/flows/${NAMESPACE}/quick?tab=source`,
    `/flows/${NAMESPACE}/keyed?tab=concurrency`, `/flows/${NAMESPACE}/triggered?tab=triggers`, `/flows/${NAMESPACE}/quick?tab=executions`, `/flows/${NAMESPACE}/quick?tab=revisions`, `/flows/${NAMESPACE}/quick?tab=triggers`, `/flows/${NAMESPACE}/quick?tab=concurrency`, `/flows/${NAMESPACE}/quick?run=1`, "/triggers", "/nowhere",
  ];
  for (const [scheme, width, height] of [["light", 1280, 800], ["dark", 1280, 800], ["light", 390, 844], ["dark", 390, 844]]) {
    it(`has no violation that axe finds (${scheme}, ${width} px) and no CSP report`, { timeout: 1_200_000 }, async () => {
      const visitNow = await visit(null, { colorScheme: scheme, viewport: { width, height }, bypassCSP: false });
      const { page } = visitNow;
      const found = [];
      for (const path of pages()) {
        await page.goto(operon.base + path);
        await page.waitForFunction(() => document.querySelector("h1, .empty, dialog") && !document.querySelector(".skeleton"));
        assert.deepEqual(await page.evaluate(() => globalThis.cspReports), [], path);
        // Given to the page by the debugger, so that the policy stays as it is.
        await page.evaluate(await axe());
        const { violations } = await page.evaluate(() => globalThis.axe.run(document, { resultTypes: ["violations"] }));
        found.push(...violations.map((one) => `${path}: ${one.id} at ${one.nodes.map((node) => node.target.join(" ")).slice(0, 3).join(", ")}`));
        const wide = await page.evaluate(() => document.documentElement.scrollWidth - document.documentElement.clientWidth);
        if (wide > 1) found.push(`${path}: ${wide} px wider than the screen`);
        // On a phone a row is a card: nothing of it is to be looked for at the side.
        if (width < 500) found.push(...await page.evaluate(() => [...document.querySelectorAll(".executions, .flows, .triggers, .items-table")].map((table) => [table.className, table.scrollWidth - table.parentElement.clientWidth]).filter(([, cut]) => cut > 1).map(([name, cut]) => `${location.pathname}: ${cut} px of ${name} are cut`)));
      }
      assert.deepEqual(found, []);
      await leave(visitNow);
    });
  }

  it("of an execution with 1,000 task runs is painted within a second, in 300 KB", async (t) => {
    const visitNow = await visit();
    const { page } = visitNow;
    const client = await page.context().newCDPSession(page);
    await client.send("Network.enable");
    await client.send("Network.setCacheDisabled", { cacheDisabled: true });
    const bytes = { console: 0, data: 0 };
    const from = new Map();
    client.on("Network.responseReceived", ({ requestId, response }) => from.set(requestId, response.url));
    client.on("Network.loadingFinished", ({ requestId, encodedDataLength }) => { bytes[from.get(requestId)?.includes("/api/v1/") ? "data" : "console"] += encodedDataLength; });
    await page.goto(`${operon.base}/executions/${manyId}`);
    await page.locator(".gantt[data-rows]").waitFor();
    const painted = await page.evaluate(() => new Promise((resolve) => {
      const paint = performance.getEntriesByName("first-contentful-paint")[0];
      if (paint) resolve(paint.startTime);
      else new PerformanceObserver((list) => resolve(list.getEntries()[0].startTime)).observe({ type: "paint", buffered: true });
    }));
    budget(t, "first paint with 1,000 task runs", painted, 1000, "ms");
    // The page that needs most: with what lays a graph out.
    Object.assign(bytes, { console: 0, data: 0 });
    await page.goto(`${operon.base}/executions/${manyId}?tab=topology`);
    await page.locator(".topology-view:not([data-nodes='0'])").waitFor();
    await eventually(() => bytes.console > 100, "bytes are counted");
    t.diagnostic(`transferred for the page: ${Math.round(bytes.console / 1000)} KB, and ${Math.round(bytes.data / 1000)} KB about the execution`);
    assert.ok(bytes.console <= 300_000, `${bytes.console} bytes`);
    await leave(visitNow);
  });

  it("asks nobody but the server", async () => {
    const visitNow = await visit();
    const others = [];
    visitNow.page.on("request", (request) => { if (new URL(request.url()).origin !== operon.base) others.push(request.url()); });
    for (const path of ["/", `/executions/${failedId}`, `/flows/${NAMESPACE}/quick?tab=source`]) await visitNow.page.goto(operon.base + path, { waitUntil: "load" });
    assert.deepEqual(others, []);
    await leave(visitNow);
  });
});

describe("a topology of 1,000 tasks", () => {
  it("pans at 30 frames per second", async (t) => {
    const visitNow = await visit(`/flows/${NAMESPACE}/large`);
    const { page } = visitNow;
    await page.locator(".topology-view[data-nodes='1000']").waitFor();
    for (const zoom of ["far", "near"]) {
      if (zoom === "near") for (let i = 0; i < 8; i += 1) await page.getByRole("button", { name: "Zoom in" }).click();
      const frames = await page.locator(".topology-view").evaluate(async (element) => {
        const box = element.getBoundingClientRect();
        const event = (type, x, y) => element.dispatchEvent(new PointerEvent(type, { bubbles: true, pointerId: 1, button: type === "pointermove" ? -1 : 0, buttons: 1, clientX: x, clientY: y }));
        element.setPointerCapture = () => undefined;
        event("pointerdown", box.left + 300, box.top + 200);
        const times = [];
        // What zooming left to paint is not panning: it begins when frames come in time, or never do.
        await new Promise((resolve) => {
          let calm = 0;
          let frames = 0;
          let last = performance.now();
          const look = (now) => {
            calm = now - last < 25 ? calm + 1 : 0;
            frames += 1;
            last = now;
            if (calm >= 10 || frames > 600) resolve(); else requestAnimationFrame(look);
          };
          requestAnimationFrame(look);
        });
        await new Promise((resolve) => {
          const step = (now) => {
            times.push(now);
            event("pointermove", box.left + 300 - times.length * 6, box.top + 200 + Math.sin(times.length / 8) * 40);
            if (times.length < 90) requestAnimationFrame(step); else resolve();
          };
          requestAnimationFrame(step);
        });
        event("pointerup", box.left, box.top);
        return times;
      });
      const took = (frames.at(-1) - frames[0]) / (frames.length - 1);
      t.diagnostic(`panning, ${zoom}: ${Math.round(1000 / took)} frames per second`);
      budget(t, `a frame while panning (${zoom})`, took, 1000 / 30, "ms");
    }
    await leave(visitNow);
  });
});

let axeText;
async function axe() {
  if (!axeText) axeText = await (await import("node:fs/promises")).readFile(AXE, "utf8");
  return axeText;
}
