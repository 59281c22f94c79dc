// One execution: what happened, why, and what can be done about it. The Gantt comes first.
import type { JSX } from "preact";
import { useEffect, useMemo, useState } from "preact/hooks";
import { ApiError, get, post, route } from "../../lib/api";
import { canKill, canReplay, canRestart, kill, replay, restart, resume, retryFailed } from "../../lib/actions";
import { useData, useKeys, useTitle } from "../../lib/hooks";
import { go, here, patch, path, query, withQuery } from "../../lib/route";
import { isLoop, isOver, look, reasonText, rootFailure, said } from "../../lib/states";
import { initial, read } from "../../lib/inputs";
import { clock, dayClock, dollars, duration, exact, number, now } from "../../lib/time";
import type { Cost, Execution, Flow, Graph, Json, LogLevel, Pause, Revision, State, TaskRun } from "../../lib/types";
import { Copy, Crumbs, Empty, ExecutionLink, Fact, Labels, Skeleton, StateChip, StateIcon, Tabs, Took, Trouble, When, shortId } from "../../ui/bits";
import { Dialog } from "../../ui/dialog";
import { Icon } from "../../ui/icons";
import { Logs } from "../../ui/logs";
import { may, me } from "../../ui/shell";
import { Topology } from "../../ui/topology";
import { InputField, RunDialog } from "../run";
import { Gantt } from "./gantt";
import { Items } from "./items";
import { useExecution, type Live } from "./live";
import { Metrics } from "./metrics";
import { Outputs, Tree } from "./outputs";

export function ExecutionPage({ id }: { id: string }): JSX.Element {
  const live = useExecution(id);
  const { execution, runs, error } = live;
  useTitle(execution ? `${look(execution.state).word}: ${execution.flow}` : "Execution");
  if (!execution) {
    if (error?.status === 404) return <div class="page"><h1 class="sr">Not found</h1><Empty title="There is no such execution" icon="search">It may have been deleted after its retention. <a href="/executions">All executions</a></Empty></div>;
    return <div class="page">{error ? <Trouble error={error} retry={live.reload} /> : <Skeleton rows={12} />}</div>;
  }
  return <Page key={id} live={live} execution={execution} runs={runs} />;
}

function Page({ live, execution, runs }: { live: Live; execution: Execution; runs: TaskRun[] }): JSX.Element {
  const params = query.value;
  const tab = params.get("tab") ?? "gantt";
  const [replayFrom, setReplayFrom] = useState<TaskRun | "start" | null>(params.get("replay") ? "start" : null);
  const [again, setAgain] = useState(false);
  const loops = useMemo(() => runs.filter(isLoop), [live.version]);
  const failedItems = execution.failedItems ?? 0;
  const pauses = execution.pauses ?? [];
  const over = isOver(execution.state);
  const names = useMemo(() => new Map(runs.map((run) => [run.id, run.name])), [live.version]);
  const base = here.value.path;
  const openItems = (run: TaskRun): void => go(base + withQuery(query.value, { tab: "items", loop: run.id, run: null, open: null, closed: null }));

  useKeys([
    { key: "x", label: "Kill", run: () => { if (may("operate") && canKill(execution)) kill(execution, runs, live.reload); } },
    { key: "r", label: "Replay", run: () => { if (may("operate") && canReplay(execution)) setReplayFrom("start"); } },
    { key: "[", label: "Previous execution", run: () => { if (execution.previous) go(path("executions", execution.previous)); } },
    { key: "]", label: "Next execution", run: () => { if (execution.next) go(path("executions", execution.next)); } },
    ...(tab === "gantt" ? [] : [{ key: "l", label: "Logs", run: () => patch({ tab: "logs" }, false) }]),
  ]);

  const tabs = [
    { id: "gantt", label: "Gantt" },
    { id: "logs", label: "Logs" },
    { id: "topology", label: "Topology" },
    ...(loops.length > 0 ? [{ id: "items", label: "Items", count: failedItems > 0 ? `${failedItems} failed` : null, tone: "bad" }] : []),
    { id: "outputs", label: "Outputs" },
    { id: "metrics", label: "Metrics" },
    { id: "about", label: "About" },
  ];
  return (
    <div class="page execution-page">
      <header class="execution-head">
        <Crumbs parts={[["Executions", "/executions"], [execution.namespace, `/executions?namespace=${encodeURIComponent(execution.namespace)}`], [execution.flow, path("flows", execution.namespace, execution.flow)]]} />
        <div class="title-line">
          <StateChip state={execution.state} />
          <h1>{execution.flow}</h1>
          <i class="break" /><span class="mono id">{shortId(execution.id)}</span><Copy text={execution.id} label="Copy the id" />
          <span class="connection muted" role="status" data-connection={over ? "ended" : live.connection}>{over ? "" : live.connection === "live" ? <><i class="pulse" />Live</> : live.connection === "waiting" ? "Reconnecting…" : "Connecting…"}</span>
          <span class="grow" />
          <span class="siblings">
            <a class="icon-button" aria-disabled={!execution.previous} href={execution.previous ? path("executions", execution.previous) : undefined} role={execution.previous ? undefined : "link"} aria-label="Previous execution of this flow" title="Previous execution of this flow ( [ )"><Icon name="left" /></a>
            <a class="icon-button" aria-disabled={!execution.next} href={execution.next ? path("executions", execution.next) : undefined} role={execution.next ? undefined : "link"} aria-label="Next execution of this flow" title="Next execution of this flow ( ] )"><Icon name="right" /></a>
          </span>
          {may("operate") ? <Actions execution={execution} runs={runs} failedItems={failedItems} reload={live.reload} replay={() => setReplayFrom("start")} again={() => setAgain(true)} /> : null}
        </div>
        <dl class="facts">
          <Fact name={execution.startedMs === null ? "Created" : "Started"}><When at={execution.startedMs ?? execution.createdMs} /></Fact>
          <Fact name={execution.startedMs === null && !over ? "Waiting" : "Duration"}><Took from={execution.startedMs ?? execution.createdMs} to={execution.endedMs} /></Fact>
          <Fact name="Revision"><RevisionOf execution={execution} /></Fact>
          <Fact name="Cause"><Cause execution={execution} /></Fact>
          {execution.replayOf ? <Fact name="Replay of"><ExecutionLink id={execution.replayOf} />{execution.replayFrom ? <span class="muted"> from {execution.replayFrom}</span> : null}</Fact> : null}
          {execution.parent ? <Fact name="Parent"><ExecutionLink id={execution.parent} /></Fact> : null}
          {execution.correlationId && execution.correlationId !== execution.id ? <Fact name="Correlation id"><ExecutionLink id={execution.correlationId} /></Fact> : null}
          <Fact name="Task runs"><Counts counts={execution.counts} /></Fact>
          <Fact name="Cost"><CostOf cost={execution.cost} /></Fact>
          {Object.keys(execution.labels).length > 0 ? <Fact name="Labels"><Labels labels={execution.labels} href={(key, value) => `/executions?label=${encodeURIComponent(`${key}:${value}`)}`} /></Fact> : null}
        </dl>
        <History execution={execution} runs={runs} />
        {execution.state === "FAILED" ? <WhyFailed execution={execution} runs={runs} /> : null}
        {pauses.map((pause) => <Approval key={pause.taskRun} execution={execution} pause={pause} since={runs.find((run) => run.id === pause.taskRun)?.createdMs ?? null} reload={live.reload} />)}
      </header>
      {live.error && live.error.status !== 404 ? <Trouble error={live.error} /> : null}
      <Tabs label="Views of this execution" tabs={tabs} current={tab} href={(id) => base + withQuery(new URLSearchParams(), { tab: id === "gantt" ? null : id })} />
      {tab === "gantt" ? (runs.length === 0
        ? (live.complete ? execution.state === "QUEUED" ? <Empty title="Waits for a free slot" icon="clock">Other executions hold all slots it may have. <a href={`${path("flows", execution.namespace, execution.flow)}?tab=concurrency`}>Who holds them, and who is next</a></Empty> : <Empty title="No task run yet" icon="clock">{over ? "The execution ended before a task began." : "Task runs appear as soon as the planner has seen the execution."}</Empty> : <Skeleton rows={8} />)
        : <>
          <Gantt execution={execution} runs={runs} complete={live.complete} version={live.version} replayFrom={setReplayFrom} openItems={openItems} />
          {live.cut ? <p class="muted note">{number(runs.length)} task runs are shown: the first ones, and what failed. All items of a loop, failed first, are under <a href={base + "?tab=items"}>Items</a>.</p> : null}
        </>) : null}
      {tab === "logs" ? <div class="full-logs">
        <label class="select logs-of">Of<select value={params.get("run") ?? ""} onChange={(event) => patch({ run: event.currentTarget.value })}>
          <option value="">all task runs</option>
          {runs.filter((run) => run.attempts.length > 0).slice(0, 2_000).map((run) => <option key={run.id} value={run.id}>{run.name} ({look(run.state).word.toLowerCase()})</option>)}
        </select></label>
        <Logs key={`${execution.id} ${params.get("run")}`} execution={execution.id} names={params.get("run") ? undefined : names} taskRun={params.get("run")} level={params.get("level") as LogLevel | null} grep={params.get("grep") ?? ""}
        focus="end" label="Log of the execution" change={(changes) => patch({ ...("level" in changes ? { level: changes.level } : {}), ...("grep" in changes ? { grep: changes.grep } : {}) })} /></div> : null}
      {tab === "topology" ? <ExecutionTopology execution={execution} live={live} openItems={openItems} /> : null}
      {tab === "items" ? <Items execution={execution} loops={loops} live={live} retry={(failed) => retryFailed(execution, failed, live.reload)} replayFrom={setReplayFrom} /> : null}
      {tab === "outputs" ? <Outputs execution={execution} runs={runs} version={live.version} /> : null}
      {tab === "metrics" ? <Metrics execution={execution} runs={runs} /> : null}
      {tab === "about" ? <About execution={execution} /> : null}
      {replayFrom && may("operate") ? <Replay execution={execution} runs={runs} from={replayFrom === "start" ? null : replayFrom} close={() => { setReplayFrom(null); if (params.get("replay")) patch({ replay: null }); }} /> : null}
      {again ? <RunDialog namespace={execution.namespace} flow={execution.flow} former={execution} close={() => setAgain(false)} /> : null}
    </div>
  );
}

function Actions({ execution, runs, failedItems, reload, replay, again }: { execution: Execution; runs: TaskRun[]; failedItems: number; reload: () => void; replay: () => void; again: () => void }): JSX.Element {
  return (
    <span class="actions">
      {canKill(execution) ? <button type="button" class="button danger-quiet" onClick={() => kill(execution, runs, reload)}><Icon name="stop" size={14} />Kill</button> : null}
      {failedItems > 0 && isOver(execution.state) ? <button type="button" class="button" onClick={() => retryFailed(execution, failedItems, reload)}><Icon name="retry" size={14} />Retry failed items</button> : null}
      {canRestart(execution) ? <button type="button" class="button" onClick={() => restart(execution, reload)}><Icon name="retry" size={14} />Restart</button> : null}
      {canReplay(execution) ? <button type="button" class="button" onClick={replay}><Icon name="replay" size={14} />Replay</button> : null}
      <button type="button" class="button" onClick={again}><Icon name="play" size={14} />Run again</button>
    </span>
  );
}

function WhyFailed({ execution, runs }: { execution: Execution; runs: TaskRun[] }): JSX.Element | null {
  const failure = rootFailure(runs);
  if (!failure) return execution.reason ? <p class="why tone-bad"><Icon name="cross" /><span>{reasonText(execution.reason)}</span></p> : null;
  return (
    <p class="why tone-bad"><Icon name="cross" /><span>
      <a href={here.value.path + withQuery(new URLSearchParams(), { run: failure.id })}><b>{failure.name}</b></a> failed
      {failure.attempts.length > 1 ? ` after ${failure.attempts.length} attempts` : ""}{failure.reason ? `: ${reasonText(failure.reason, failure.exitCode)}` : ""}.
      {failure.message ? <span class="why-message"> {said(failure.message)?.split("\n")[0]}</span> : null}
    </span></p>
  );
}

function RevisionOf({ execution }: { execution: Execution }): JSX.Element {
  const at = path("flows", execution.namespace, execution.flow);
  const flow = useData(`flow ${at}`, (signal) => get<Flow>(route("flows", execution.namespace, execution.flow), {}, signal).catch(() => null));
  const current = flow.data?.revision ?? execution.revision;
  const behind = current !== execution.revision;
  return <a href={`${at}?tab=revisions${behind ? `&from=${execution.revision}&to=${current}` : ""}`} title={behind ? `Compare with revision ${current}, which counts now` : "This is the revision that counts"}>{execution.revision}{behind ? <span class="muted"> · now {current}, compare</span> : null}</a>;
}

function Cause({ execution }: { execution: Execution }): JSX.Element {
  const { trigger } = execution;
  if (!trigger) return <span>{execution.parent ? "Another execution" : "By hand"}</span>;
  const detail = detailText(trigger.detail);
  return <span title={detail}>{trigger.type}{trigger.id && trigger.id !== trigger.type ? <> <span class="mono">{trigger.id}</span></> : null}{detail ? <span class="muted cause-detail">{detail}</span> : null}</span>;
}

/** What of a trigger tells one execution from another: the slot, the object, the event. */
const TELLING = ["date", "uri", "key", "object", "bucket", "executionId", "eventId", "deliveryId"];

function detailText(detail: Json | undefined): string {
  if (detail === undefined || detail === null) return "";
  if (typeof detail !== "object" || Array.isArray(detail)) return String(detail);
  const told = TELLING.filter((key) => typeof detail[key] === "string" || typeof detail[key] === "number").slice(0, 2);
  return told.map((key) => (key === "date" ? slot(String(detail[key])) : String(detail[key]))).join(" ");
}

function slot(date: string): string {
  const ms = Date.parse(date);
  return Number.isNaN(ms) ? date : dayClock(ms);
}

function CostOf({ cost }: { cost: Cost | null | undefined }): JSX.Element {
  if (!cost) return <span class="muted">–</span>;
  const used = `${number(Math.round(cost.vcpuSeconds))} vCPU s`;
  // On one's own machine nothing is paid.
  if (me.value?.local) return <span class="num" title={`${number(cost.gbSeconds)} GB s reserved, ${number(cost.cpuSecondsUsed)} CPU s used; on Fargate it would have cost ${dollars(cost.usd)}${cost.complete ? "" : " at least"}`}>local<span class="muted"> · {used}</span></span>;
  return <span class="num" title={`${number(cost.vcpuSeconds)} vCPU s and ${number(cost.gbSeconds)} GB s reserved, ${number(cost.cpuSecondsUsed)} CPU s used${cost.complete ? "" : "; at least"}`}>
    {cost.complete ? "" : "≥ "}{dollars(cost.usd)}<span class="muted"> · {used}</span></span>;
}

function Counts({ counts }: { counts: Partial<Record<State, number>> }): JSX.Element {
  const all = Object.entries(counts).filter(([, count]) => (count ?? 0) > 0);
  if (all.length === 0) return <span class="muted">–</span>;
  return <span class="counts">{all.map(([state, count]) => <span key={state} class={`tone-${look(state).tone}`} title={look(state).word}><Icon name={look(state).icon} size={13} label={look(state).word} />{count}</span>)}</span>;
}

/** States one after the other with the time spent in each. */
function History({ execution, runs }: { execution: Execution; runs: TaskRun[] }): JSX.Element | null {
  if (execution.history.length === 0) return null;
  const over = isOver(execution.state);
  // Pausing is what a task run does: since then the execution waits.
  const waits = execution.state === "PAUSED" ? Math.min(...runs.filter((run) => run.state === "PAUSED").map((run) => run.startedMs ?? run.createdMs)) : Infinity;
  const told = Number.isFinite(waits) ? [...execution.history, { state: execution.state, atMs: waits }] : execution.history;
  // A state that is told twice in a row has gone on.
  const history = told.filter((entry, index) => entry.state !== told[index - 1]?.state);
  return (
    <ol class="history" aria-label="State history">
      {history.map((entry, index) => {
        const next = history[index + 1];
        const last = index === history.length - 1;
        return (
          <li key={`${entry.state}${entry.atMs}`} title={exact(entry.atMs)}>
            <StateIcon state={entry.state} word /><span class="muted num">{clock(entry.atMs)}</span>
            {last && over ? null : <span class="between num">{duration((next?.atMs ?? now.value) - entry.atMs)}</span>}
          </li>
        );
      })}
    </ol>
  );
}

function Approval({ execution, pause, since, reload }: { execution: Execution; pause: Pause; since: number | null; reload: () => void }): JSX.Element {
  const specs = pause.inputs ?? [];
  const [texts, setTexts] = useState<Record<string, string>>(() => Object.fromEntries(specs.map((spec) => [spec.id, initial(spec, null)])));
  const [tried, setTried] = useState(false);
  const reads = specs.map((spec) => [spec, read(spec, texts[spec.id] ?? "")] as const);
  const decide = (goOn: boolean): void => {
    setTried(true);
    if (goOn && reads.some(([, one]) => one.error !== undefined)) return;
    const inputs = Object.fromEntries(reads.flatMap(([spec, one]) => (one.error === undefined && one.value !== undefined ? [[spec.id, one.value]] : [])));
    resume(execution, pause.taskRun, goOn, inputs, reload);
  };
  return (
    <div class="approval tone-pause" role="region" aria-label={`${pause.name} waits`}>
      <Icon name="pause" />
      <div class="stack"><p><b>{pause.name}</b> waits for a decision{since ? <span class="muted"> since <When at={since} /></span> : null}</p>
        {reads.map(([spec, one]) => <InputField key={spec.id} spec={spec} text={texts[spec.id] ?? ""} problem={tried ? one.error ?? null : null} set={(text) => setTexts({ ...texts, [spec.id]: text })} />)}
      </div>
      {may("operate") ? <span class="actions">
        <button type="button" class="button" onClick={() => decide(false)}>Decline</button>
        <button type="button" class="button primary" onClick={() => decide(true)}><Icon name="check" size={14} />Approve</button>
      </span> : null}
    </div>
  );
}

function ExecutionTopology({ execution, live, openItems }: { execution: Execution; live: Live; openItems: (run: TaskRun) => void }): JSX.Element {
  const over = isOver(execution.state);
  const graph = useData<Graph>(`graph ${execution.id} ${over ? execution.endedMs : ""}`, (signal) => get<Graph>(route("executions", execution.id, "graph"), {}, signal), over ? 0 : 1_200);
  // What the stream has said since is newer than the graph.
  const painted = useMemo(() => {
    if (!graph.data) return null;
    const byId = new Map<string, TaskRun>();
    const single = new Map<string, TaskRun | null>();
    for (const run of live.runs) { byId.set(run.id, run); single.set(run.task, single.has(run.task) ? null : run); }
    return { ...graph.data, nodes: graph.data.nodes.map((node) => {
      const run = node.taskRun ? byId.get(node.taskRun) : node.counts ? null : single.get(node.task);
      return run ? { ...node, state: run.state } : node;
    }) };
  }, [graph.data, live.version]);
  if (!painted) return graph.error ? <Trouble error={graph.error} retry={graph.reload} /> : <Skeleton rows={8} />;
  return <Topology graph={painted} label={`Topology of ${execution.flow}`} select={(node) => {
    const run = live.runs.find((one) => one.id === node.taskRun) ?? live.runs.find((one) => one.task === node.task);
    if (!run) return;
    if (isLoop(run)) openItems(run);
    else go(here.value.path + withQuery(new URLSearchParams(), { run: run.id }));
  }} />;
}

function About({ execution }: { execution: Execution }): JSX.Element {
  return (
    <div class="columns">
      <section class="card"><h2>Inputs</h2>{Object.keys(execution.inputs).length > 0 ? <Tree value={execution.inputs} root="inputs" /> : <p class="muted">The flow takes none.</p>}</section>
      <section class="card"><h2>Cause</h2>{execution.trigger ? <Tree value={execution.trigger as unknown as Json} root="trigger" /> : <p class="muted">Started by hand.</p>}</section>
      {may("operate") ? <section class="card"><h2>Labels</h2><LabelEditor execution={execution} /></section> : null}
      <section class="card"><h2>Started executions</h2>{execution.children.length === 0 ? <p class="muted">None.</p> : <ul class="plain">{execution.children.map((child) => <li key={child.id}><StateChip state={child.state} small /> <a class="flow-link" href={path("executions", child.id)}><b>{child.flow}</b> <span class="mono muted">{shortId(child.id)}</span></a></li>)}</ul>}</section>
      <section class="card"><h2>Times</h2><dl class="facts stacked">
        <Fact name="Created">{exact(execution.createdMs)}</Fact>
        <Fact name="Started">{execution.startedMs === null ? "–" : exact(execution.startedMs)}</Fact>
        <Fact name="Ended">{execution.endedMs === null ? "–" : exact(execution.endedMs)}</Fact>
        <Fact name="Id"><span class="mono wrap">{execution.id}</span></Fact>
        <Fact name="Correlation id"><span class="mono wrap">{execution.correlationId ?? execution.id}</span></Fact>
      </dl></section>
    </div>
  );
}

function LabelEditor({ execution }: { execution: Execution }): JSX.Element {
  const [text, setText] = useState(Object.entries(execution.labels).map(([key, value]) => `${key}: ${value}`).join("\n"));
  const [error, setError] = useState<ApiError | null>(null);
  const [saved, setSaved] = useState(false);
  const save = async (): Promise<void> => {
    // What is taken away is sent as null.
    const labels: Record<string, string | null> = Object.fromEntries(Object.keys(execution.labels).map((key) => [key, null]));
    for (const line of text.split("\n")) {
      const colon = line.indexOf(":");
      if (colon > 0) labels[line.slice(0, colon).trim()] = line.slice(colon + 1).trim();
    }
    try {
      await post(route("executions", execution.id, "labels"), { labels });
      setSaved(true); setError(null);
    } catch (failure) { if (failure instanceof ApiError) setError(failure); }
  };
  return (
    <form class="stack" onSubmit={(event) => { event.preventDefault(); void save(); }}>
      <label>One per line, as key: value<textarea class="mono" rows={4} value={text} onInput={(event) => { setText(event.currentTarget.value); setSaved(false); }} /></label>
      {error ? <Trouble error={error} /> : null}
      <span><button type="submit" class="button">Save labels</button> <span role="status">{saved ? "Saved" : ""}</span></span>
    </form>
  );
}

/** From which task, and on which revision. */
function Replay({ execution, runs, from, close }: { execution: Execution; runs: TaskRun[]; from: TaskRun | null; close: () => void }): JSX.Element {
  const revisions = useData(`revisions of ${execution.id}`, (signal) => get<{ items: Revision[] }>(route("flows", execution.namespace, execution.flow, "revisions"), {}, signal).catch(() => ({ items: [] })));
  const top = useMemo(() => {
    const loops = new Set(runs.filter(isLoop).flatMap((run) => [run.id, run.name]));
    const seen = new Set<string>();
    // From inside a loop nothing can be replayed; its loop can.
    return runs.filter((run) => !(run.parent !== null && loops.has(run.parent)) && !/\[/.test(run.name) && !seen.has(run.task) && seen.add(run.task));
  }, [runs]);
  const preferred = from ? (top.find((run) => run.task === from.task) ?? top.find((run) => run.id === from.parent || run.name === from.parent))?.task : undefined;
  const [task, setTask] = useState(preferred ?? "");
  const [revision, setRevision] = useState(String(execution.revision));
  const [error, setError] = useState<ApiError | null>(null);
  const [busy, setBusy] = useState(false);
  useEffect(() => { if (!task) setTask(preferred ?? top[0]?.task ?? ""); }, [preferred, top]);
  const act = async (): Promise<void> => {
    setBusy(true);
    try { await replay(execution, task, Number(revision) === execution.revision ? null : Number(revision)); close(); } catch (failure) {
      setBusy(false);
      setError(failure instanceof ApiError ? failure : new ApiError({ status: 0, title: String(failure) }));
    }
  };
  return (
    <Dialog title="Replay" close={close} foot={<><button type="button" class="button" onClick={close}>Leave it</button><button type="button" class="button primary" disabled={busy || !task} onClick={() => void act()}>Replay</button></>}>
      <div class="form">
        <label>From<select value={task} onChange={(event) => setTask(event.currentTarget.value)}>
          {top.map((run) => <option key={run.id} value={run.task}>{run.task} ({look(run.state).word.toLowerCase()})</option>)}
        </select></label>
        <label>On revision<select value={revision} onChange={(event) => setRevision(event.currentTarget.value)}>
          {(revisions.data?.items.length ? revisions.data.items : [{ revision: execution.revision }]).map((one) => <option key={one.revision} value={String(one.revision)}>{one.revision}{one.revision === execution.revision ? " (as it was)" : ""}</option>)}
        </select></label>
      </div>
      <ul class="consequences">
        <li>A new execution starts with the same inputs; this one stays as it is.</li>
        <li>That task, everything after it, and everything else that did not succeed begin in new containers. All others are reused: their outputs and logs stay visible, marked so.</li>
        <li>Containers that still run for this execution are not stopped.</li>
      </ul>
      {error ? <Trouble error={error} /> : null}
    </Dialog>
  );
}
