// The items of a loop: failed ones first, each with its log in place, and one action for what failed.
import type { JSX } from "preact";
import { useEffect, useRef, useState } from "preact/hooks";
import { get, route } from "../../lib/api";
import { useData, useKeys } from "../../lib/hooks";
import { patch, query } from "../../lib/route";
import { isOver, look, reasonText, said } from "../../lib/states";
import { duration, number } from "../../lib/time";
import type { Counts, Execution, Graph, LogLevel, Page, State, TaskRun } from "../../lib/types";
import { Empty, Skeleton, StateChip, Took, Trouble } from "../../ui/bits";
import { Icon } from "../../ui/icons";
import { Logs } from "../../ui/logs";
import { may } from "../../ui/shell";
import type { Live } from "./live";

const PAGE = 200;
const VIEWS: [string, string, State[]][] = [
  ["failed", "Failed", ["FAILED"]],
  ["running", "In progress", ["RUNNING", "SUBMITTED", "RETRYING", "KILLING", "PAUSED"]],
  ["waiting", "Waiting", ["CREATED", "QUEUED"]],
  ["done", "Done", ["SUCCESS", "WARNING"]],
  ["other", "Not run", ["SKIPPED", "CANCELLED", "KILLED"]],
];

interface Props { execution: Execution; loops: TaskRun[]; live: Live; retry: (failed: number) => void; replayFrom: (run: TaskRun) => void }

export function Items({ execution, loops, live, retry, replayFrom }: Props): JSX.Element {
  const params = query.value;
  const loop = loops.find((run) => run.id === params.get("loop")) ?? loops[0];
  const over = isOver(execution.state);
  const graph = useData<Graph>(`graph ${execution.id} ${over ? execution.endedMs : ""}`, (signal) => get<Graph>(route("executions", execution.id, "graph"), {}, signal), over ? 0 : 1_500);
  const counts = graph.data?.nodes.find((node) => node.id === loop?.id || node.task === loop?.task)?.counts ?? countsOf(live.runs, loop);
  const failed = counts.failed;
  const view = params.get("items") ?? (failed > 0 ? "failed" : "");
  if (!loop) return <Empty title="This execution has no loop" icon="item">Items appear when a task goes over a list, lines of a file or records.</Empty>;
  return (
    <section class="items">
      <div class="items-head">
        {loops.length > 1 ? <label class="select"><span class="sr">Loop</span><select value={loop.id} onChange={(event) => patch({ loop: event.currentTarget.value })}>{loops.map((run) => <option key={run.id} value={run.id}>{run.name}</option>)}</select></label> : <h2>{loop.name}</h2>}
        <Fan counts={counts} />
        <span class="grow" />
        {execution.failedItems > 0 && may("operate") ? <button type="button" class="button primary" onClick={() => retry(execution.failedItems)} disabled={!over} title={over ? "" : "When the execution is over"}><Icon name="retry" size={14} />Retry {number(execution.failedItems)} failed only</button> : null}
      </div>
      <div class="segmented" role="group" aria-label="Which items">
        <button type="button" aria-pressed={view === "" || view === "all"} onClick={() => patch({ items: "all" })}>All</button>
        {VIEWS.map(([id, label]) => <button key={id} type="button" aria-pressed={view === id} onClick={() => patch({ items: id })}>{label}</button>)}
      </div>
      <Table key={`${loop.id} ${view}`} execution={execution} loop={loop} states={VIEWS.find(([id]) => id === view)?.[2] ?? null} live={live} replayFrom={replayFrom} />
    </section>
  );
}

export function countsOf(runs: readonly TaskRun[], loop: TaskRun | undefined): Counts {
  const counts = { done: 0, failed: 0, running: 0, total: 0 };
  if (!loop) return counts;
  for (const run of runs) {
    if (run.parent !== loop.id && run.parent !== loop.name) continue;
    counts.total += 1;
    if (run.state === "FAILED") counts.failed += 1;
    else if (isOver(run.state)) counts.done += 1;
    else if (look(run.state).tone === "run") counts.running += 1;
  }
  return counts;
}

export function Fan({ counts }: { counts: Counts }): JSX.Element {
  const part = (value: number): string => `${counts.total > 0 ? (value / counts.total) * 100 : 0}%`;
  return (
    <div class="fan">
      <span class="num" title="done / failed / running / total"><b class="tone-text-good">{number(counts.done)}</b> done <b class="tone-text-bad">{number(counts.failed)}</b> failed <b class="tone-text-run">{number(counts.running)}</b> running of <b>{number(counts.total)}</b></span>
      <span class="fan-bar" aria-hidden="true"><i class="fan-done" style={{ width: part(counts.done) }} /><i class="fan-failed" style={{ width: part(counts.failed) }} /><i class="fan-running" style={{ width: part(counts.running) }} /></span>
    </div>
  );
}

function Table({ execution, loop, states, live, replayFrom }: { execution: Execution; loop: TaskRun; states: State[] | null; live: Live; replayFrom: (run: TaskRun) => void }): JSX.Element {
  const params = query.value;
  const over = isOver(execution.state);
  const at = route("executions", execution.id, "task-runs");
  const load = (state: string | null, cursor: string | null, signal?: AbortSignal): Promise<Page<TaskRun>> =>
    get<Page<TaskRun>>(at, { parent: loop.name, state, cursor, limit: PAGE }, signal);
  // Failed items first, then the others in their order.
  const first = useData(`items ${execution.id} ${loop.id} ${states?.join()} ${over ? execution.endedMs : ""}`, async (signal) => {
    if (states) return load(states.join(","), null, signal);
    const [failed, all] = await Promise.all([load("FAILED", null, signal), load(null, null, signal)]);
    const seen = new Set(failed.items.map((run) => run.id));
    return { items: [...failed.items, ...all.items.filter((run) => !seen.has(run.id))], next: all.next };
  }, over ? 0 : 1_500);
  const [more, setMore] = useState<TaskRun[]>([]);
  const [cursor, setCursor] = useState<string | null | undefined>(undefined);
  const [current, move] = useState(-1);
  const body = useRef<HTMLTableSectionElement>(null);
  const open = params.get("run");
  const newest = new Map(live.runs.map((run) => [run.id, run]));
  const seen = new Set<string>();
  const rows = [...(first.data?.items ?? []), ...more].map((run) => newest.get(run.id) ?? run)
    .filter((run) => !seen.has(run.id) && seen.add(run.id) && (states === null || states.includes(run.state)));
  const next = cursor === undefined ? first.data?.next ?? null : cursor;
  const toggle = (run: TaskRun | undefined): void => { if (run) patch({ run: open === run.id ? null : run.id }); };
  useKeys([
    { key: "j", label: "Next item", run: () => move(Math.min(rows.length - 1, current + 1)) },
    { key: "k", label: "Previous item", run: () => move(Math.max(0, current - 1)) },
    { key: "Enter", label: "Open", run: () => toggle(rows[current]) },
    { key: "l", label: "Logs of the item", run: () => toggle(rows[current]) },
  ]);
  useEffect(() => { if (current >= 0) body.current?.querySelectorAll("tr.item-row")[current]?.scrollIntoView({ block: "nearest" }); }, [current]);
  if (first.error) return <Trouble error={first.error} retry={first.reload} />;
  if (!first.data) return <Skeleton rows={8} />;
  if (rows.length === 0) return <Empty title={states ? "No item in this state" : "No item yet"} icon="item" />;
  return (
    <>
      <div class="table-wrap" tabIndex={0} role="region" aria-label={`Items of ${loop.name}`}>
        <table class="table items-table">
          <thead><tr><th>State</th><th>Item</th><th>Task run</th><th class="right">Attempts</th><th class="right">Duration</th><th>First line of the error</th></tr></thead>
          <tbody ref={body}>
            {rows.flatMap((run, index) => [
              <tr key={run.id} data-run={run.id} class={`item-row${index === current ? " current" : ""}`} onClick={(event) => { if (!(event.target as Element).closest("button,a")) toggle(run); }}>
                <td class="state"><StateChip state={run.state} small /></td>
                <td class="mono item-key">{typeof run.item === "string" ? run.item : JSON.stringify(run.item)}</td>
                <td class="name"><button type="button" class="text-button" aria-expanded={open === run.id} onClick={() => toggle(run)}><Icon name={open === run.id ? "down" : "right"} size={12} />{run.name}</button></td>
                <td class="right num tries-cell">{run.attempts.length}<span class="narrow-only">{run.attempts.length === 1 ? " attempt" : " attempts"}</span></td>
                <td class="right took">{run.endedMs !== null && run.startedMs !== null ? <span class="num">{duration(run.endedMs - run.startedMs)}</span> : <Took from={run.startedMs} to={run.endedMs} />}</td>
                <td class="error-line">{said(run.message)?.split("\n")[0] ?? reasonText(run.reason, run.exitCode)}</td>
              </tr>,
              open === run.id ? <tr key={`${run.id} log`} class="item-log"><td colSpan={6}><div class="item-panel">
                {over && may("operate") ? <p class="right"><button type="button" class="button ghost" onClick={() => replayFrom(loop)}><Icon name="replay" size={14} />Replay from {loop.task}</button></p> : null}
                <Logs execution={execution.id} taskRun={run.id} focus={run.state === "FAILED" ? "error" : "end"} level={params.get("level") as LogLevel | null} grep={params.get("grep") ?? ""}
                  label={`Log of ${run.name}`} change={(changes) => patch({ ...("level" in changes ? { level: changes.level } : {}), ...("grep" in changes ? { grep: changes.grep } : {}) })} />
              </div></td></tr> : null,
            ])}
          </tbody>
        </table>
      </div>
      {next ? <p class="more"><button type="button" class="button" onClick={() => { void load(states?.join(",") ?? null, next).then((page) => { setMore((old) => [...old, ...page.items]); setCursor(page.next); }); }}>Show more</button></p> : null}
    </>
  );
}
