// A server with made-up data that follows the contract of the API, for work on the console without Rust:
//   node mock/server.mjs [port]      then `npm run dev`, or open it directly after `npm run build`.
// It serves `dist` with the headers of the real server, so that what would break there breaks here.

import { createServer } from "node:http";
import { readFile } from "node:fs/promises";
import { extname, join, normalize } from "node:path";
import { fileURLToPath } from "node:url";
import { FLOWS, ORGANISMS, SOURCE, history, id, large, preprocess } from "./data.mjs";

const PORT = Number(process.argv[2] ?? 4401);
const DIST = fileURLToPath(new URL("../dist/", import.meta.url));
const CSP = "default-src 'self'; frame-ancestors 'none'; base-uri 'none'; form-action 'self'";
const TYPES = { ".html": "text/html; charset=utf-8", ".js": "text/javascript", ".css": "text/css", ".svg": "image/svg+xml" };
const LOG_LINES = 100_000;

const t0 = Date.now();
const special = {
  failed: { id: id(1), items: 1000, failing: 37, start: t0 - 900_000, reason: "child failed" },
  live: { id: id(2), items: 1000, failing: 0, start: t0 - 110_000 },
  paused: { id: id(3), items: 24, failing: 0, start: t0 - 400_000, pause: true },
  done: { id: id(4), items: 60, failing: 0, start: t0 - 3_600_000 },
  large: { id: id(5), items: 10, failing: 0, start: t0 - 5_000_000, big: true },
};
const changed = new Map();
const past = history(600, t0 - 1_000_000);

function build(name) {
  const spec = special[name];
  return { name, spec, ...preprocess(spec.start, spec.items, { failing: spec.failing, pause: spec.pause, until: Date.now(), exec: spec.id }) };
}
const cache = new Map();
function made(name) {
  const known = cache.get(name);
  if (known && (name !== "live" || Date.now() - known.at < 400)) return known.value;
  const value = build(name);
  cache.set(name, { at: Date.now(), value });
  return value;
}
function nameOf(ex) { return Object.keys(special).find((name) => special[name].id === ex); }

function summary(name) {
  const { spec, endMs, runs } = made(name);
  const over = endMs < Date.now() && !spec.pause;
  const failed = runs.some((run) => run.parent === null && run.state === "FAILED");
  const state = changed.get(spec.id) ?? (spec.pause ? "PAUSED" : over ? (failed ? "FAILED" : "SUCCESS") : "RUNNING");
  return {
    id: spec.id, namespace: FLOWS[1].namespace, flow: FLOWS[1].id, revision: name === "done" ? 30 : 31, state, reason: state === "FAILED" ? spec.reason : null, labels: { organism: name === "live" ? "mpox" : "west-nile", pipeline: "7" },
    createdMs: spec.start, startedMs: spec.start + 250, endedMs: over || changed.has(spec.id) ? Math.min(endMs, Date.now()) : null,
    trigger: { id: "every-ten-minutes", type: "schedule", detail: { date: new Date(spec.start).toISOString(), next: new Date(spec.start + 600_000).toISOString() } }, parent: null, replayOf: null,
  };
}
function allRows() { return [...Object.keys(special).map(summary), ...past.map((row) => ({ ...row, state: changed.get(row.id) ?? row.state }))].sort((a, b) => b.createdMs - a.createdMs); }

function detail(ex) {
  const name = nameOf(ex);
  const row = allRows().find((one) => one.id === ex);
  if (!row) return null;
  const same = allRows().filter((one) => one.flow === row.flow);
  const at = same.findIndex((one) => one.id === ex);
  const runs = name ? made(name).runs : [];
  const counts = {};
  for (const run of runs) counts[run.state] = (counts[run.state] ?? 0) + 1;
  const history = [{ state: "CREATED", atMs: row.createdMs }, ...(row.startedMs ? [{ state: "RUNNING", atMs: row.startedMs }] : []), ...(row.state === "PAUSED" ? [{ state: "PAUSED", atMs: row.createdMs + 120_000 }] : []), ...(row.endedMs ? [{ state: row.state, atMs: row.endedMs }] : [])];
  return {
    ...row, inputs: { organism: row.labels.organism, pipeline_version: 7, dry_run: false }, outputs: row.state === "SUCCESS" ? { accepted: 29937, report: `operon:///executions/${ex}/0.5/1/report.json` } : {}, history, counts,
    cost: { usd: 0.4321, vcpuSeconds: 31_240, gbSeconds: 62_480, cpuSecondsUsed: 24_000, complete: true }, replayFrom: null, previous: same[at + 1]?.id ?? null, next: same[at - 1]?.id ?? null,
    children: name === "done" ? past.slice(0, 2) : [], pauses: row.state === "PAUSED" ? [{ taskRun: "0:6", task: "approve", name: "approve", inputs: [{ id: "comment", type: "STRING", required: false, description: "Goes to the audit record." }, { id: "accept_rejected", type: "BOOLEAN", defaults: false }] }] : [],
    failedItems: name === "failed" ? made(name).failed : 0, priority: 0,
  };
}

const LEVELS = ["INFO", "INFO", "INFO", "INFO", "DEBUG", "INFO", "WARN"];
function line(seq, taskRun, attempt, base, last, bad) {
  if (bad && seq === last - 3) return mk("ERROR", "Traceback (most recent call last):");
  if (bad && seq === last - 2) return mk("ERROR", '  File "/app/nextclade.py", line 88, in main');
  if (bad && seq === last - 1) return mk("ERROR", "nextclade: error: unable to parse gene map: reference sequence NC_063383.1 has 197209 nt, dataset expects 197195 nt");
  const level = LEVELS[(seq * 7) % LEVELS.length];
  const name = `PP_${String(1000000 + seq * 37).slice(1)}`;
  return mk(level, level === "WARN" ? `${name}: 3 frame shifts in OPG204, kept` : level === "DEBUG" ? `${name}: seed matches 184, gaps 2, band 64` : `${name}: aligned ${197000 + (seq % 180)} of 197209 nt to ${ORGANISMS[seq % 9]}, clade IIb, lineage B.1.${seq % 20}`);
  function mk(level, text) { return { seq, timeMs: base + seq * 3, level, text, taskRun, attempt }; }
}
function logSize(taskRun) { return taskRun === "0:1" ? LOG_LINES : taskRun?.startsWith("0.3/") ? 420 : 60; }
function logOf(ex, taskRun, attempt) {
  const name = nameOf(ex);
  const run = name ? made(name).runs.find((one) => one.id === taskRun) : null;
  const of = run?.attempts.find((one) => one.attempt === Number(attempt)) ?? run?.attempts.at(-1);
  const size = logSize(taskRun);
  const live = of && of.endedMs === null;
  const base = of?.startedMs ?? t0;
  const count = live ? Math.min(size, Math.floor((Date.now() - base) / 20)) : of ? size : 0;
  return { count, ended: !live, at: (seq) => line(seq, taskRun, of?.attempt ?? 1, base, count, of?.state === "FAILED") };
}

function graphOf(ex) {
  const name = nameOf(ex);
  if (name === "large") return large(1000);
  return name ? made(name).graph : { nodes: [], edges: [] };
}

const revisions = Array.from({ length: 6 }, (_, i) => ({ revision: 31 - i, current: i === 0, createdMs: t0 - i * 86_400_000 * 3, createdBy: ["theo", "emma", "cornelius"][i % 3], message: i === 0 ? "More memory for long genomes" : null, sourceHash: "x", planHash: "y" }));
function sourceAt(revision) { return SOURCE.replace("4GiB", revision >= 31 ? "4GiB" : "2GiB").replace("maxAttempts: 4", revision >= 30 ? "maxAttempts: 4" : "maxAttempts: 2"); }

function validate(source) {
  const diagnostics = [];
  source.split("\n").forEach((text, index) => {
    const wrong = /\b(tmeout|scrpt|dependson|imge)\b/.exec(text);
    if (wrong) diagnostics.push({ severity: "error", line: index + 1, column: wrong.index + 1, endLine: index + 1, endColumn: wrong.index + 1 + wrong[0].length, rule: "unknown-property", message: `unknown property \`${wrong[0]}\``, fix: "did you mean `timeout`?" });
    if (/^\s*script:.*\{\{/.test(text)) diagnostics.push({ severity: "warning", line: index + 1, column: text.indexOf("{{") + 1, endLine: index + 1, endColumn: text.length + 1, rule: "expression-in-script", message: "an expression inside a script is not quoted", fix: "pass it as an environment variable" });
  });
  const tasks = [...source.matchAll(/^  - id: (\S+)\n    type: (\S+)/gm)].filter((one) => !/SELECT|INT|BOOLEAN|schedule/.test(one[2]));
  return { diagnostics, omitted: 0, graph: diagnostics.some((one) => one.severity === "error") ? null : { nodes: tasks.map((one) => ({ id: one[1], task: one[1], kind: one[2] === "foreach" ? "loop" : "task", taskType: one[2], parent: null, phase: "body", state: null, taskRun: null })), edges: tasks.slice(1).map((one, index) => ({ from: tasks[index][1], to: one[1] })) } };
}

const trigger = (flow, id, type, extra) => ({ namespace: FLOWS[flow].namespace, flow: FLOWS[flow].id, id, type, disabled: false, lastMs: null, nextMs: null, late: false, lastExecution: null, detail: null, url: null, lastError: null, ...extra });
const triggers = [
  trigger(1, "every-ten-minutes", "schedule", { nextMs: t0 + 240_000, lastMs: t0 - 360_000, lastExecution: id(1), detail: "*/10 * * * * Europe/Zurich" }),
  trigger(0, "hourly", "schedule", { nextMs: t0 - 95_000, lastMs: t0 - 3_700_000, lastExecution: past[4].id, late: true, detail: "@hourly" }),
  trigger(0, "upload", "webhook", { lastMs: t0 - 40_000, lastExecution: past[1].id, url: "/api/v1/webhooks/pathoplexus.ingest/ingest-ncbi/upload", lastError: "signature does not match" }),
  trigger(4, "nightly", "schedule", { nextMs: t0 + 9_000_000, lastMs: t0 - 70_000_000, lastExecution: past[5].id, detail: "0 2 * * * UTC" }),
  trigger(5, "weekly", "schedule", { disabled: true, lastMs: t0 - 700_000_000, detail: "0 4 * * 0" }),
];

function page(items, query, map = (one) => one) {
  const from = Number(query.get("cursor") ?? 0);
  const limit = Number(query.get("limit") ?? 50);
  return { items: items.slice(from, from + limit).map(map), next: from + limit < items.length ? String(from + limit) : null };
}
function filterRows(query) {
  const states = query.get("state")?.split(",");
  return allRows().filter((row) => (!query.get("namespace") || row.namespace === query.get("namespace") || row.namespace.startsWith(`${query.get("namespace")}.`)) && (!query.get("flow") || row.flow === query.get("flow")) && (!states || states.includes(row.state))
    && (!query.get("label") || `${row.labels[query.get("label").split(":")[0]]}` === query.get("label").split(":")[1]) && (!query.get("q") || row.id.includes(query.get("q")) || row.flow.includes(query.get("q"))) && (!query.get("from") || row.createdMs >= Number(query.get("from"))));
}

async function api(request, response, path, query, body) {
  const json = (value, status = 200) => { response.writeHead(status, { "Content-Type": status < 400 ? "application/json" : "application/problem+json" }); response.end(JSON.stringify(value)); };
  const missing = () => json({ type: "about:blank", title: "Not found", status: 404, detail: `There is nothing at ${path}.` }, 404);
  const parts = path.split("/").filter(Boolean).map(decodeURIComponent);
  const [a, b, c, d] = parts;
  if (a === "me") return json({ subject: "you@local", role: "admin" });
  if (a === "overview") {
    const states = Array.from({ length: 48 }, (_, i) => ({ at: t0 - (48 - i) * 1_800_000, counts: { SUCCESS: 6 + ((i * 7) % 9), ...(i % 5 === 0 ? { FAILED: 1 + (i % 3) } : {}), ...(i % 7 === 0 ? { WARNING: 1 } : {}), ...(i === 47 ? { RUNNING: 3 } : {}) } }));
    const open = allRows().filter((row) => ["RUNNING", "PAUSED"].includes(row.state));
    return json({ states, counts: { SUCCESS: 480, FAILED: 19, WARNING: 7, RUNNING: 3 }, inProgress: open.length, running: open, truncated: false, failures: allRows().filter((row) => row.state === "FAILED").slice(0, 10), nextSchedules: triggers.filter((one) => one.nextMs).sort((x, y) => x.nextMs - y.nextMs), throughput: states.map((one, i) => ({ at: one.at, value: 180 + 120 * Math.sin(i / 5) + (i % 4) * 14 })) });
  }
  if (a === "executions") {
    if (!b) {
      if (request.method === "POST") { past.unshift({ ...past[0], id: id(9000 + past.length), namespace: body.namespace, flow: body.flow, labels: body.labels ?? {}, state: "SUCCESS", createdMs: Date.now(), startedMs: Date.now(), endedMs: Date.now() + 1 }); return json({ id: past[0].id }, 201); }
      return json(page(filterRows(query), query));
    }
    if (b === "bulk") {
      const ids = body.ids ?? filterRows(new URLSearchParams(Object.entries(body.query ?? {}).map(([k, v]) => [k, String(v)]))).map((row) => row.id);
      const rows = ids.map((one) => allRows().find((row) => row.id === one)).filter(Boolean);
      const ok = rows.filter((row) => (body.action === "kill" ? row.endedMs === null : row.endedMs !== null));
      if (!body.dryRun && body.action === "kill") for (const row of ok) changed.set(row.id, "KILLED");
      return json({ matched: rows.length, more: false, preview: ok.slice(0, 20), done: ok.length, skipped: rows.filter((row) => !ok.includes(row)).map((row) => ({ id: row.id, reason: body.action === "kill" ? `is over: ${row.state}` : `is not over: ${row.state}` })) });
    }
    if (!allRows().some((row) => row.id === b)) return missing();
    const name = nameOf(b);
    if (!c) return json(detail(b));
    if (c === "task-runs") {
      const states = query.get("state")?.split(",");
      return json(page((name ? made(name).runs : []).filter((run) => (!states || states.includes(run.state)) && (!query.get("parent") || run.parent === query.get("parent"))), query));
    }
    if (c === "graph") return json(graphOf(b));
    if (c === "metrics") return json({ items: name ? [{ task: "fetch-unprocessed", name: "sequences", type: "counter", count: 1, value: 30_000 }, { task: "nextclade", name: "aligned", type: "counter", count: 60, value: 28_214 }, { task: "qc-report", name: "report.time", type: "timer", count: 1, value: 5.4 }] : [], next: null });
    if (c === "artifacts") return json({ items: (name ? made(name).runs : []).flatMap((run) => Object.entries(run.outputs.outputFiles ?? {}).map(([file, uri]) => ({ uri, name: file, taskRun: run.id, task: run.task }))), next: null });
    if (c === "evaluate") return body.expression.includes("{{") ? json({ result: 29937 }) : json({ title: "The expression cannot be evaluated", status: 422, detail: "expected `{{`" }, 422);
    if (c === "events") {
      response.writeHead(200, { "Content-Type": "text/event-stream", "Cache-Control": "no-store" });
      let n = Number(request.headers["last-event-id"] ?? 0);
      let before = new Map();
      const timer = setInterval(() => {
        if (!name) return;
        const now = made(name).runs;
        const first = before.size === 0;
        for (const run of now) { const text = JSON.stringify(run); if (before.get(run.id) !== text && !first) response.write(`id: ${(n += 1)}\nevent: task-run\ndata: ${text}\n\n`); before.set(run.id, text); }
        response.write(`id: ${(n += 1)}\nevent: execution\ndata: ${JSON.stringify(summary(name))}\n\n`);
        if (summary(name).endedMs) { response.write(`event: end\ndata: {}\n\n`); clearInterval(timer); response.end(); }
      }, 500);
      request.on("close", () => clearInterval(timer));
      return;
    }
    if (c === "logs") {
      const run = query.get("taskRun");
      if (!run) {
        const runs = name ? made(name).runs.filter((one) => one.attempts.length > 0 && one.parent === null) : [];
        const items = runs.flatMap((one) => { const log = logOf(b, one.id, null); return Array.from({ length: Math.min(log.count, 400) }, (_, i) => log.at(i)); }).sort((x, y) => x.timeMs - y.timeMs);
        if (d === "stream") { response.writeHead(200, { "Content-Type": "text/event-stream" }); response.end("event: end\ndata: {}\n\n"); return; }
        return json({ items: items.slice(-Number(query.get("limit") ?? 500)), next: null, ended: !name || name !== "live", more: false, searchedUpTo: null, leftOut: null });
      }
      const log = logOf(b, run, query.get("attempt"));
      const lowest = ["TRACE", "DEBUG", "INFO", "WARN", "ERROR"].indexOf(query.get("level") ?? "TRACE");
      const wanted = (one) => ["TRACE", "DEBUG", "INFO", "WARN", "ERROR"].indexOf(one.level) >= lowest && (!query.get("q") || one.text.toLowerCase().includes(query.get("q").toLowerCase()));
      if (d === "stream") {
        response.writeHead(200, { "Content-Type": "text/event-stream", "Cache-Control": "no-store" });
        let seq = Number(request.headers["last-event-id"] ?? query.get("after") ?? -1) + 1;
        const send = () => {
          const now = logOf(b, run, query.get("attempt"));
          for (; seq < now.count; seq += 1) { const one = now.at(seq); if (wanted(one)) response.write(`id: ${seq}\nevent: line\ndata: ${JSON.stringify(one)}\n\n`); }
          if (now.ended) { response.end("event: end\ndata: {}\n\n"); clearInterval(timer); }
        };
        const timer = setInterval(send, 200);
        request.on("close", () => clearInterval(timer));
        return send();
      }
      const limit = Number(query.get("limit") ?? 500);
      const items = [];
      if (query.has("before")) {
        for (let seq = Math.min(Number(query.get("before")), log.count) - 1; seq >= 0 && items.length < limit; seq -= 1) { const one = log.at(seq); if (wanted(one)) items.unshift(one); }
      } else for (let seq = Number(query.get("after") ?? -1) + 1; seq < log.count && items.length < limit; seq += 1) { const one = log.at(seq); if (wanted(one)) items.push(one); }
      return json({ items, next: items.length ? String(items.at(-1).seq) : null, ended: log.ended });
    }
    if (c === "kill") { changed.set(b, "KILLED"); return json({}); }
    if (c === "replay") return json({ id: special.live.id }, 201);
    return json({});
  }
  if (a === "flows") {
    if (!b) return json(page(FLOWS.map((flow) => ({ ...flow, updatedMs: t0 - 86_400_000, updatedBy: "theo", latest: allRows().filter((row) => row.flow === flow.id).slice(0, 10) })), query));
    if (b === "validate") { await new Promise((resolve) => setTimeout(resolve, 30)); return json(validate(body.source)); }
    const flow = FLOWS.find((one) => one.namespace === b && one.id === c);
    if (!flow) return missing();
    if (!d) return request.method === "PUT" ? json({ ...flow, revision: flow.revision + 1 }) : json({ ...flow, updatedMs: t0 - 86_400_000, updatedBy: "theo", latest: [] });
    if (d === "source") { response.writeHead(200, { "Content-Type": "application/yaml" }); return response.end(SOURCE); }
    if (d === "revisions") return parts[4] ? json({ ...revisions[0], revision: Number(parts[4]), source: sourceAt(Number(parts[4])) }) : json({ items: revisions, next: null });
    if (d === "graph") return json({ ...made("done").graph, nodes: made("done").graph.nodes.map((one) => ({ ...one, state: null, counts: undefined })) });
    if (d === "triggers") return json({ items: triggers.filter((one) => one.flow === c), next: null });
    if (d === "concurrency") return json({ limit: 4, behavior: "QUEUE", key: null, lock: { name: `${b}/${c}`, owners: [{ execution: special.live.id, quarantinedUntilMs: null }, { execution: special.paused.id, quarantinedUntilMs: null }, { execution: past[8].id, quarantinedUntilMs: t0 + 3_000_000 }], queue: [past[3].id] } });
    if (d === "diff") return json({ from: 30, to: 31, source: "", plan: "--- revision 30\n+++ revision 31\n-  nextclade: task, memory 2 GiB\n+  nextclade: task, memory 4 GiB\n", samePlan: false });
    if (d === "inputs") return json({ items: [{ id: "organism", type: "SELECT", values: ORGANISMS.map((one) => [one, null]), required: true, defaults: "mpox" }, { id: "pipeline_version", type: "INT", min: 1, required: true, defaults: 7, description: "Results of an older version are replaced." }, { id: "dry_run", type: "BOOLEAN", required: true, defaults: false }, { id: "since", type: "DATE", required: false }, { id: "notes", type: "STRING", required: false, displayName: "Notes for the audit record" }] });
    return json({});
  }
  if (a === "triggers") return b ? json({}) : json({ items: triggers, next: null });
  if (a === "dead-letters") return b ? json({}) : json({ items: [{ id: "d1", atMs: t0 - 7_200_000, queue: "intake", reason: "the object is gone: NoSuchKey", body: '{"bucket":"submissions","key":"incoming/mpox.fasta"}', execution: null }], next: null });
  if (a === "artifacts" && b === "preview") {
    const uri = query.get("uri");
    const text = uri.endsWith(".fasta") ? Array.from({ length: 8 }, (_, i) => `>PP_00${i}A2.1 organism=mpox\n${"ACGTTGCATGCCGATACGTTAGCATCGA".repeat(5).match(/.{1,80}/g).join("\n")}`).join("\n") : uri.endsWith(".csv") ? `accession,organism,lineage,n_percent,verdict\n${Array.from({ length: 80 }, (_, i) => `PP_00${i}A2.1,mpox,B.1.${i % 20},${(i * 0.37).toFixed(2)},${i % 9 ? "accepted" : "\"rejected, too many Ns\""}`).join("\n")}\n` : uri.endsWith(".json") ? JSON.stringify({ accepted: 29937, rejected: 63, lineages: { "A.1": 120, "B.1.7": 88 }, warnings: ["3 frame shifts"] }) : "{\"accession\":\"PP_001\"}\n";
    return json({ kind: uri.split(".").at(-1), text, truncated: uri.endsWith(".fasta"), size: uri.endsWith(".fasta") ? 98_304_000 : text.length });
  }
  return missing();
}

createServer(async (request, response) => {
  const url = new URL(request.url, "http://x");
  try {
    if (url.pathname.startsWith("/api/v1")) {
      let text = "";
      for await (const chunk of request) text += chunk;
      const body = text && (request.headers["content-type"] ?? "").includes("json") ? JSON.parse(text) : text;
      return await api(request, response, url.pathname.slice(7), url.searchParams, body);
    }
    const file = normalize(join(DIST, extname(url.pathname) ? url.pathname : "index.html"));
    if (!file.startsWith(DIST)) { response.writeHead(404); return response.end(); }
    const content = await readFile(file);
    response.writeHead(200, { "Content-Type": TYPES[extname(file)] ?? "application/octet-stream", "Content-Security-Policy": CSP, "X-Content-Type-Options": "nosniff" });
    response.end(content);
  } catch (error) {
    if (!response.headersSent) response.writeHead(error.code === "ENOENT" ? 404 : 500);
    response.end(String(error.message));
  }
}).listen(PORT, "127.0.0.1", () => {
  process.stdout.write(`http://127.0.0.1:${PORT}\n${Object.entries(special).map(([name, spec]) => `${name}: /executions/${spec.id}`).join("\n")}\n`);
});
