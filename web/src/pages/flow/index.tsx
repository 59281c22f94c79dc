// One flow: how it looks, what it says, what changed, what starts it, who holds its slots.
import type { JSX } from "preact";
import { useState } from "preact/hooks";
import { get, post, route } from "../../lib/api";
import { useData, useKeys, useTitle } from "../../lib/hooks";
import { go, here, path, query, withQuery } from "../../lib/route";
import { isOver } from "../../lib/states";
import type { Concurrency, ExecutionSummary, Flow, Graph, Lock, Overview, Page } from "../../lib/types";
import { Crumbs, Empty, ExecutionLink, Labels, Skeleton, StateIcon, Tabs, Trouble, When } from "../../ui/bits";
import { Line } from "../../ui/charts";
import { ask } from "../../ui/dialog";
import { Icon } from "../../ui/icons";
import { may } from "../../ui/shell";
import { hours, Spans } from "../../ui/span";
import { Topology } from "../../ui/topology";
import { ExecutionsOf } from "../executions";
import { RunDialog } from "../run";
import { TriggerTable } from "../triggers";
import { Revisions } from "./revisions";
import { SourceTab } from "./source";

export function FlowPage({ namespace, id }: { namespace: string; id: string }): JSX.Element {
  useTitle(id);
  const tab = query.value.get("tab") ?? "topology";
  const flow = useData(`flow ${namespace}/${id}`, (signal) => get<Flow>(route("flows", namespace, id), {}, signal), 5_000);
  const last = useData(`recent ${namespace}/${id}`, (signal) => get<Page<ExecutionSummary>>("/executions", { namespace, flow: id, limit: 20 }, signal), 2_000);
  const [run, setRun] = useState(query.value.get("run") === "1");
  const base = here.value.path;
  useKeys([
    { key: "r", label: "Run", run: () => { if (may("operate")) setRun(true); } },
    { key: "l", label: "Last execution", run: () => { const newest = last.data?.items[0]; if (newest) go(path("executions", newest.id)); } },
  ]);
  if (flow.error?.status === 404) return <div class="page"><h1 class="sr">Not found</h1><Empty title="There is no such flow" icon="search"><a href="/flows">All flows</a></Empty></div>;
  if (!flow.data) return <div class="page">{flow.error ? <Trouble error={flow.error} retry={flow.reload} /> : <Skeleton rows={10} />}</div>;
  const about = flow.data;
  const running = last.data?.items.filter((row) => !isOver(row.state)).length ?? 0;
  const turn = (): void => ask(about.disabled
    ? { title: `Enable ${id}?`, verb: "Enable", consequences: <p>Triggers start executions again from now on; what they missed is not made up for unless they say so.</p>, act: async () => { await post(route("flows", namespace, id, "enable")); flow.reload(); return "Enabled"; } }
    : { title: `Disable ${id}?`, verb: "Disable", danger: true, consequences: <ul><li>Triggers start nothing more, and it cannot be run by hand.</li><li>{running > 0 ? <><b>{running} execution{running === 1 ? "" : "s"} in progress</b> go on to the end: </> : "Executions in progress would go on: "}no running container is stopped.</li></ul>, act: async () => { await post(route("flows", namespace, id, "disable")); flow.reload(); return "Disabled"; } });
  return (
    <div class="page">
      <header class="execution-head">
        <Crumbs parts={[["Flows", "/flows"], [namespace, `/flows?q=${encodeURIComponent(namespace)}`]]} />
        <div class="title-line"><h1>{id}</h1>{about.disabled ? <span class="tag">disabled</span> : null}<span class="muted">revision {about.revision}</span>
          {about.updatedMs ? <span class="muted"><When at={about.updatedMs} prefix="changed " />{about.updatedBy ? ` by ${about.updatedBy}` : ""}</span> : null}
          <span class="grow" />
          <span class="actions">
            {may("edit") ? <button type="button" class="button" onClick={turn}>{about.disabled ? "Enable" : "Disable"}</button> : null}
            {may("operate") ? <button type="button" class="button primary" disabled={about.disabled} onClick={() => setRun(true)}><Icon name="play" size={14} />Run</button> : null}
          </span>
        </div>
        {about.description ? <p class="description muted">{about.description.replaceAll("**", "").trim()}</p> : null}
        <div class="flow-strip">
          <span class="recent" role="group" aria-label="Recent executions">{(last.data?.items ?? []).toReversed().map((row) => <a key={row.id} href={path("executions", row.id)} aria-label={`${row.id}, ${row.state.toLowerCase()}`}><StateIcon state={row.state} /></a>)}</span>
          {last.data?.items.length === 0 ? <span class="muted">No execution yet</span> : <a href={base + "?tab=executions"} class="muted">{running > 0 ? `${running} in progress` : "none in progress"}</a>}
          <Labels labels={about.labels ?? {}} href={(key, value) => `/flows?label=${encodeURIComponent(`${key}:${value}`)}`} />
        </div>
      </header>
      <Tabs label="Views of this flow" current={tab} href={(id) => base + withQuery(new URLSearchParams(), { tab: id === "topology" ? null : id })} tabs={[
        { id: "topology", label: "Topology" }, { id: "source", label: "Source" }, { id: "executions", label: "Executions" }, { id: "revisions", label: "Revisions" },
        { id: "triggers", label: "Triggers" }, { id: "concurrency", label: "Concurrency" },
      ]} />
      {tab === "topology" ? <FlowTopology namespace={namespace} id={id} revision={about.revision} /> : null}
      {tab === "source" ? <SourceTab namespace={namespace} id={id} revision={about.revision} saved={flow.reload} /> : null}
      {tab === "executions" ? <><Trend namespace={namespace} flow={id} /><ExecutionsOf namespace={namespace} flow={id} /></> : null}
      {tab === "revisions" ? <Revisions namespace={namespace} id={id} current={about.revision} changed={flow.reload} running={running} /> : null}
      {tab === "triggers" ? <TriggerTable namespace={namespace} flow={id} /> : null}
      {tab === "concurrency" ? <Slots namespace={namespace} id={id} /> : null}
      {run && may("operate") ? <RunDialog namespace={namespace} flow={id} close={() => setRun(false)} /> : null}
    </div>
  );
}

/** How much the flow got through: what its task runs counted, per minute. */
function Trend({ namespace, flow }: { namespace: string; flow: string }): JSX.Element | null {
  const span = hours();
  const found = useData(`trend ${namespace}/${flow} ${span}`, (signal) => get<Overview>("/overview", { namespace, flow, hours: span }, signal), 10_000);
  if (!found.data) return found.error ? <Trouble error={found.error} retry={found.reload} /> : null;
  const { counts, throughput } = found.data;
  const over = Object.entries(counts).filter(([state]) => isOver(state)).reduce((sum, [, count]) => sum + (count ?? 0), 0);
  const good = (counts.SUCCESS ?? 0) + (counts.WARNING ?? 0);
  return (
    <section class="card trend">
      <div class="page-head"><h2>Throughput</h2><span class="muted">{over > 0 ? `${good} of ${over} that ended succeeded` : "nothing ended"}</span><span class="grow" /><Spans /></div>
      <Line points={throughput} label={`Throughput of ${flow}`} unit="sequences/min" />
    </section>
  );
}

function FlowTopology({ namespace, id, revision }: { namespace: string; id: string; revision: number }): JSX.Element {
  const graph = useData(`flow graph ${namespace}/${id} ${revision}`, (signal) => get<Graph>(route("flows", namespace, id, "graph"), { revision }, signal));
  if (!graph.data) return graph.error ? <Trouble error={graph.error} retry={graph.reload} /> : <Skeleton rows={8} />;
  return <Topology graph={graph.data} label={`Topology of ${id}`} />;
}

function Slots({ namespace, id }: { namespace: string; id: string }): JSX.Element {
  const found = useData(`slots ${namespace}/${id}`, (signal) => get<Concurrency>(route("flows", namespace, id, "concurrency"), {}, signal), 1_500);
  if (!found.data) return found.error ? <Trouble error={found.error} retry={found.reload} /> : <Skeleton rows={4} />;
  const { limit, behavior, key, lock, locks } = found.data;
  if (limit === null) return <Empty title="No limit" icon="item">As many executions as are started run at once. A flow limits them with <code>concurrency: {"{limit: 4}"}</code>.</Empty>;
  const all = lock ? [lock] : locks;
  return (
    <>
      {lock ? null : <p class="muted">Each value of <code>{key}</code> has {limit} slot{limit === 1 ? "" : "s"} of its own.{locks.length === 0 ? "" : locks.length >= KEYS_MAX ? ` The ${KEYS_MAX} that were used last are shown.` : ""}</p>}
      {all.length === 0 ? <Empty title="No slot is taken" icon="item">No execution holds one, and none waits.</Empty> : null}
      {all.map((one) => <LockCard key={one.name} lock={one} limit={limit} behavior={behavior} />)}
    </>
  );
}

/** Keys that the server shows at once. */
const KEYS_MAX = 100;

/** What becomes of an execution that finds no free slot. */
const FURTHER: Record<string, string> = { QUEUE: "further executions wait", FAIL: "further executions fail", CANCEL: "further executions are cancelled" };

function LockCard({ lock: { key, owners, queue }, limit, behavior }: { lock: Lock; limit: number; behavior: string | null }): JSX.Element {
  return (
    <section class="card lock">
      <div class="lock-head"><h2>{key ? <><code>{key}</code>: </> : null}{owners.length} of {limit} slot{limit === 1 ? "" : "s"} taken</h2>
        {behavior && owners.length >= limit ? <span class="muted">{FURTHER[behavior.toUpperCase()] ?? `further executions: ${behavior.toLowerCase()}`}</span> : null}</div>
      <div class="slots" role="list" aria-label={key ? `Slots of ${key}` : "Slots"}>{Array.from({ length: Math.min(Math.max(limit, owners.length), 200) }, (_, index) => {
        const owner = owners[index];
        return <span key={index} role="listitem" class={owner ? "slot taken" : "slot"}>{owner ? <><StateIcon state={owner.quarantinedUntilMs ? "WARNING" : "RUNNING"} /><ExecutionLink id={owner.execution} />{owner.quarantinedUntilMs ? <span class="muted">held <When at={owner.quarantinedUntilMs} />: outcome unknown</span> : null}</> : <span class="muted">free</span>}</span>;
      })}</div>
      {queue.length === 0 ? <p class="muted">Nothing waits.</p> : <>
        <h3>{queue.length}{queue.length >= 100 ? " or more" : ""} waiting, the next one first</h3>
        <ol class="queue">{queue.map((id) => <li key={id}><StateIcon state="QUEUED" /><ExecutionLink id={id} /></li>)}</ol>
      </>}
    </section>
  );
}
