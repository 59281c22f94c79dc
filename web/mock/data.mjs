// Made-up executions of Pathoplexus flows for work on the console without a server.
// Deterministic: the same seed gives the same data.

let seed = 42;
export function random() {
  seed = (seed * 1664525 + 1013904223) >>> 0;
  return seed / 2 ** 32;
}
const pick = (list) => list[Math.floor(random() * list.length)];
const between = (low, high) => low + Math.floor(random() * (high - low));

export const ORGANISMS = ["mpox", "ebola-zaire", "ebola-sudan", "cchf", "west-nile", "rsv-a", "rsv-b", "hmpv", "measles"];
const NS = "pathoplexus.ingest";

export const FLOWS = [
  { namespace: NS, id: "ingest-ncbi", revision: 14, description: "Fetch new INSDC records per organism, group segments, submit what changed.", labels: { team: "ops", source: "insdc" }, disabled: false },
  { namespace: "pathoplexus.processing", id: "preprocess-nextclade", revision: 31, description: "Align, annotate and check unprocessed sequences of one organism.", labels: { team: "processing" }, disabled: false },
  { namespace: "pathoplexus.processing", id: "reprocess-all", revision: 3, description: "Every sequence again with a new pipeline version.", labels: { team: "processing", cost: "high" }, disabled: false },
  { namespace: "pathoplexus.release", id: "ena-submission", revision: 8, description: "Bring released sequences to ENA; a person approves each batch.", labels: { team: "release" }, disabled: false },
  { namespace: "pathoplexus.release", id: "nightly-release", revision: 5, description: "Build the query engine's database and switch to it.", labels: { team: "release" }, disabled: false },
  { namespace: "pathoplexus.ops", id: "backup-keycloak", revision: 2, description: "Dump, encrypt, store, prove that it restores.", labels: { team: "ops" }, disabled: true },
];

export const SOURCE = `id: preprocess-nextclade
namespace: pathoplexus.processing
description: Align, annotate and check unprocessed sequences of one organism.

labels:
  team: processing

inputs:
  - id: organism
    type: SELECT
    values: [${ORGANISMS.join(", ")}]
    defaults: mpox
  - id: pipeline_version
    type: INT
    min: 1
    defaults: 7
  - id: dry_run
    type: BOOLEAN
    defaults: false

concurrency: {limit: 4, behavior: QUEUE}

tasks:
  - id: fetch-unprocessed
    type: loculus.extract
    timeout: PT10M
    retry: {type: exponential, interval: PT30S, maxAttempts: 4}

  - id: split
    type: python
    containerImage: ghcr.io/loculus-project/preprocessing-nextclade:2f1c
    script: |
      # One batch per 500 sequences, inputs come as files.
      import pathlib
      records = pathlib.Path("unprocessed.ndjson").read_text().splitlines()
      print(len(records), "records")
    outputFiles: ["batches/*.fasta"]

  - id: align
    type: foreach
    values: "{{ outputs.split.outputFiles }}"
    concurrencyLimit: 40
    tasks:
      - id: nextclade
        type: genomics.nextclade
        dataset: "{{ inputs.organism }}"
        resources: {cpu: 2, memory: 4GiB}

  - id: qc-report
    type: python
    containerImage: ghcr.io/loculus-project/preprocessing-nextclade:2f1c
    script: python3 report.py

  - id: approve
    type: pause
    when: "{{ outputs['qc-report'].vars.rejected > 50 }}"
    timeout: PT12H

  - id: submit
    type: loculus.submit-processed
    idempotent: false
    timeout: PT15M

triggers:
  - id: every-ten-minutes
    type: schedule
    cron: "*/10 * * * *"
    timezone: Europe/Zurich
`;

function id(n) {
  const digits = "0123456789abcdefghjkmnpqrstvwxyz";
  let value = (n + 1) * 2654435761 % 4294967296;
  let text = "01kb";
  for (let i = 0; i < 22; i += 1) {
    value = (value * 1664525 + 1013904223) % 4294967296;
    text += digits[Math.floor(value / 134217728)];
  }
  return text;
}

export function attempt(n, state, createdMs, startedMs, endedMs, extra = {}) {
  return { attempt: n, state, reason: null, message: null, exitCode: state === "SUCCESS" ? 0 : state === "FAILED" ? 1 : null, createdMs, startedMs, endedMs, usage: { peakRssBytes: between(80, 3800) * 1048576, cpuSeconds: startedMs && endedMs ? ((endedMs - startedMs) / 1000) * 0.8 : 0 }, ...extra };
}

export function run(slot, task, kind, state, attempts, extra = {}) {
  const last = attempts.at(-1);
  return {
    id: `0:${slot}`, task, name: task, item: null, parent: null, kind, taskType: kind === "task" ? "io.kestra.plugin.scripts.python.Script" : null, state, reason: last?.reason ?? null, message: last?.message ?? null,
    exitCode: last?.exitCode ?? null, createdMs: attempts[0]?.createdMs ?? extra.createdMs ?? 0, startedMs: attempts.find((one) => one.startedMs)?.startedMs ?? null, endedMs: last?.endedMs ?? null,
    outputs: {}, outputsUri: null, metrics: [], usage: last?.usage ?? { peakRssBytes: 0, cpuSeconds: 0 }, cached: false, reusedFrom: null, attempts, ...extra,
  };
}

const TRACE = "nextclade: error: unable to parse gene map: reference sequence NC_063383.1 has 197209 nt, dataset expects 197195 nt";

/** Task runs of one preprocess execution, `items` batches; times relative to `t0`; up to `until`. */
export function preprocess(t0, items, { failing = 0, until = Infinity, pause = false, exec }) {
  const runs = [];
  const graph = { nodes: [], edges: [] };
  const node = (task, kind, parent = null) => graph.nodes.push({ id: task, task, kind, taskType: kind === "task" ? "genomics.nextclade" : null, parent, phase: "body", state: "CREATED", taskRun: null });
  for (const [task, kind, parent] of [["fetch-unprocessed", "task"], ["split", "task"], ["align", "loop"], ["nextclade", "task", "align"], ["qc-report", "task"], ["approve", "pause"], ["submit", "task"]]) node(task, kind, parent ?? null);
  const order = ["fetch-unprocessed", "split", "align", "qc-report", "approve", "submit"];
  for (let i = 1; i < order.length; i += 1) graph.edges.push({ from: order[i - 1], to: order[i] });
  const cut = (one) => {
    if (one.createdMs > until) return null;
    if (one.startedMs !== null && one.startedMs > until) return { ...one, state: "SUBMITTED", startedMs: null, endedMs: null, exitCode: null };
    if (one.endedMs !== null && one.endedMs > until) return { ...one, state: "RUNNING", endedMs: null, exitCode: null, reason: null, message: null };
    return one;
  };
  const made = (slot, task, kind, attempts, extra) => {
    const seen = attempts.map(cut).filter(Boolean);
    const last = seen.at(-1);
    let state = last?.state ?? "CREATED";
    if (last?.state === "FAILED" && seen.length < attempts.length) state = "RETRYING";
    return run(slot, task, kind, state, seen, { createdMs: attempts[0].createdMs, ...extra });
  };
  let t = t0 + 300;
  runs.push(made(1, "fetch-unprocessed", "task", [attempt(1, "FAILED", t, t + 3100, t + 5200, { reason: "exit code", exitCode: 75, message: "backend answered 503, will be tried again" }), attempt(2, "SUCCESS", t + 12000, t + 14500, t + 33000)], { outputs: { outputFiles: { "unprocessed.ndjson": `operon:///executions/${exec}/0.1/1/unprocessed.ndjson` }, vars: { records: items * 500 } }, metrics: [{ name: "sequences", type: "COUNTER", value: items * 500, tags: {} }] }));
  t += 33200;
  runs.push(made(2, "split", "task", [attempt(1, "SUCCESS", t, t + 2400, t + 6100)], { outputs: { outputFiles: Object.fromEntries(Array.from({ length: Math.min(items, 6) }, (_, i) => [`batches/${String(i).padStart(4, "0")}.fasta`, `operon:///executions/${exec}/0.2/1/${String(i).padStart(4, "0")}.fasta`])), vars: { batches: items } } }));
  t += 6300;
  const loopStart = t;
  let loopEnd = t;
  const lanes = Array.from({ length: Math.min(40, items) }, () => t);
  for (let i = 0; i < items; i += 1) {
    const lane = lanes.indexOf(Math.min(...lanes));
    const begin = lanes[lane];
    const provision = between(800, 4200);
    const length = between(4000, 26000);
    const bad = failing > 0 && i % Math.floor(items / failing) === 7 % Math.floor(items / failing);
    const attempts = bad
      ? [attempt(1, "FAILED", begin, begin + provision, begin + provision + length / 3, { reason: "exit code", exitCode: 2, message: TRACE }), attempt(2, "FAILED", begin + provision + length / 3 + 5000, begin + provision + length / 3 + 7000, begin + provision + length / 3 + 7000 + length / 2, { reason: "exit code", exitCode: 2, message: TRACE })]
      : [attempt(1, "SUCCESS", begin, begin + provision, begin + provision + length)];
    const end = attempts.at(-1).endedMs;
    lanes[lane] = end + 50;
    loopEnd = Math.max(loopEnd, end);
    if (begin > until && i > 60) continue;
    runs.push(made(100 + i, "nextclade", "task", attempts, { id: `0.3/${Math.floor(i / 128)}:${i % 128}`, name: `nextclade[${i}]`, parent: "align", item: `batches/${String(i).padStart(4, "0")}.fasta`, metrics: [{ name: "aligned", type: "COUNTER", value: between(440, 500), tags: {} }] }));
  }
  const children = runs.filter((one) => one.parent === "align");
  const failed = children.filter((one) => one.state === "FAILED").length;
  const done = children.filter((one) => one.state === "SUCCESS").length;
  const loopState = loopStart > until ? "CREATED" : loopEnd > until ? "RUNNING" : failed > 0 ? "FAILED" : "SUCCESS";
  runs.push(run(3, "align", "loop", loopState, [], { createdMs: t0 + 200, startedMs: loopStart > until ? null : loopStart, endedMs: loopEnd > until ? null : loopEnd, reason: loopState === "FAILED" ? "child failed" : null }));
  t = loopEnd + 100;
  if (failed > 0) {
    for (const [slot, task, kind] of [[5, "qc-report", "task"], [6, "approve", "pause"], [7, "submit", "task"]]) runs.push(run(slot, task, kind, loopEnd > until ? "CREATED" : "SKIPPED", [], { createdMs: t0 + 200, endedMs: loopEnd > until ? null : t, reason: loopEnd > until ? null : "upstream" }));
  } else {
    runs.push(made(5, "qc-report", "task", [attempt(1, "SUCCESS", t, t + 1800, t + 7200)], { outputs: { vars: { rejected: 63, accepted: items * 500 - 63, lineages: { "A.1": 120, "B.1.7": 88, "C.1": 19 } }, outputFiles: { "qc.csv": `operon:///executions/${exec}/0.5/1/qc.csv`, "report.json": `operon:///executions/${exec}/0.5/1/report.json` } }, metrics: [{ name: "rejected", type: "COUNTER", value: 63, tags: {} }, { name: "report.time", type: "TIMER", value: 5400, tags: {} }] }));
    t += 7300;
    runs.push(run(6, "approve", "pause", t > until ? "CREATED" : pause ? "PAUSED" : "SUCCESS", [], { createdMs: t0 + 200, startedMs: t > until ? null : t, endedMs: pause || t > until ? null : t + 9000 }));
    t += 9100;
    if (pause) runs.push(run(7, "submit", "task", "CREATED", [], { createdMs: t0 + 200 }));
    else runs.push(made(7, "submit", "task", [attempt(1, "SUCCESS", t, t + 2900, t + 14000)], {}));
    t += 14000;
  }
  for (const one of graph.nodes) {
    const own = runs.filter((r) => r.task === one.task);
    if (one.task === "nextclade" || one.task === "align") {
      one.counts = { done, failed, running: children.filter((r) => ["RUNNING", "SUBMITTED", "RETRYING"].includes(r.state)).length, total: items };
      one.state = loopState;
    } else { one.state = own[0]?.state ?? "CREATED"; one.taskRun = own[0]?.id ?? null; }
  }
  // As the server lists them: shard by shard.
  runs.sort((a, b) => Number(a.id.includes("/")) - Number(b.id.includes("/")));
  return { runs, graph, endMs: t, failed };
}

export function history(count, nowMs) {
  const rows = [];
  for (let n = 0; n < count; n += 1) {
    const flow = FLOWS[[0, 1, 1, 1, 0, 4, 1, 3, 1, 2][n % 10]];
    const age = n * 137_000 + between(1000, 90000);
    const createdMs = nowMs - age - 60_000;
    const dice = random();
    const state = dice < 0.8 ? "SUCCESS" : dice < 0.86 ? "WARNING" : dice < 0.94 ? "FAILED" : dice < 0.97 ? "KILLED" : "CANCELLED";
    const organism = pick(ORGANISMS);
    rows.push({
      id: id(n + 100), namespace: flow.namespace, flow: flow.id, revision: flow.revision - (random() < 0.2 ? 1 : 0), state,
      reason: state === "FAILED" ? pick(["exit code", "timeout", "out of memory", "child failed"]) : state === "KILLED" ? "kill" : state === "CANCELLED" ? "concurrency limit" : null,
      labels: { organism, ...(random() < 0.3 ? { priority: "urgent" } : {}) }, createdMs, startedMs: state === "CANCELLED" ? null : createdMs + between(200, 3000), endedMs: createdMs + between(20_000, 400_000),
      trigger: random() < 0.7 ? { id: "every-ten-minutes", type: "schedule", detail: { date: new Date(createdMs).toISOString() } } : random() < 0.5 ? { id: "upload", type: "s3", detail: { bucket: "submissions", key: `incoming/${organism}/2026-11-25.fasta.zst` } } : null,
      parent: null, replayOf: random() < 0.04 ? id(n + 160) : null,
    });
  }
  return rows;
}

/** A graph of `count` tasks in layers, as large flows have them. */
export function large(count) {
  const nodes = [];
  const edges = [];
  const states = ["SUCCESS", "SUCCESS", "SUCCESS", "RUNNING", "CREATED", "FAILED"];
  for (let i = 0; i < count; i += 1) {
    nodes.push({ id: `task-${i}`, task: `task-${i}`, kind: "task", taskType: "shell", parent: null, phase: "body", state: i < count * 0.6 ? states[i % 23 === 0 ? 5 : i % 3] : i < count * 0.65 ? "RUNNING" : "CREATED", taskRun: null });
    if (i >= 20) edges.push({ from: `task-${i - 20}`, to: `task-${i}` }, ...(i % 4 === 0 ? [{ from: `task-${i - 19}`, to: `task-${i}` }] : []));
  }
  return { nodes, edges };
}

export { id };
