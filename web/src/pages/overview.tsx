// What runs, what failed and why, what comes next: one page to look at first.
import type { JSX } from "preact";
import { get, route } from "../lib/api";
import { useEffect, useRef, useState } from "preact/hooks";
import { useData, useDebounced, useRows, useTitle } from "../lib/hooks";
import { go, patch, path, query } from "../lib/route";
import { isOver, reasonText, rootFailure, said } from "../lib/states";
import { atLeast, number } from "../lib/time";
import type { ExecutionSummary, Overview as Data, Page, State, TaskRun } from "../lib/types";
import { Line, StackedBars, total } from "../ui/charts";
import { Empty, Skeleton, StateChip, Took, Trouble, When } from "../ui/bits";
import { Icon } from "../ui/icons";
import { hours, Spans } from "../ui/span";

const LIVE: State[] = ["RUNNING", "PAUSED", "RETRYING", "KILLING", "QUEUED", "CREATED"];

/** Rows of each list. */
const LIST = 12;

/** One namespace only. */
function Within({ namespace }: { namespace: string | null }): JSX.Element {
  const [text, setText] = useState(namespace ?? "");
  const rested = useDebounced(text.trim(), 400);
  const known = useRef(namespace ?? "");
  useEffect(() => { if (rested !== known.current) { known.current = rested; patch({ namespace: rested || null }); } }, [rested]);
  useEffect(() => { if ((namespace ?? "") !== known.current) { known.current = namespace ?? ""; setText(known.current); } }, [namespace]);
  return <label class="search"><Icon name="search" size={14} /><span class="sr">Namespace</span>
    <input data-filter type="search" placeholder="Namespace  ( / )" value={text} onInput={(event) => setText(event.currentTarget.value)} /></label>;
}

export function Overview(): JSX.Element {
  useTitle("");
  const namespace = query.value.get("namespace");
  const span = hours();
  const data = useData(`overview ${namespace} ${span}`, (signal) => get<Data>("/overview", { namespace, hours: span }, signal), 2_000);
  const live = useData(`live ${namespace}`, (signal) => get<Page<ExecutionSummary>>("/executions", { namespace, state: LIVE.join(","), limit: 12 }, signal), 1_200);
  const shown = data.data;
  const lists = {
    running: live.data?.items ?? shown?.running ?? [],
    failures: shown?.failures.slice(0, LIST) ?? [],
    next: shown?.nextSchedules.slice(0, LIST) ?? [],
  };
  const places = [
    ...[...lists.running, ...lists.failures].map((row) => path("executions", row.id)),
    ...lists.next.map((one) => (one.flow ? `${path("flows", one.namespace ?? "", one.flow)}?tab=triggers` : "/triggers")),
  ];
  const at = useRows(places.length, "row", (index) => go(places[index] ?? "/"));
  // Stays while another namespace is read: one types on in it.
  const head = (
    <div class="page-head"><h1>Overview</h1>
      <Within namespace={namespace} />
      {namespace ? <button type="button" class="button ghost" onClick={() => patch({ namespace: null })}><Icon name="close" size={14} />{namespace}</button> : null}
      <span class="grow" />
      <Spans />
      {data.error ? <span class="offline"><Icon name="warn" size={14} />Not up to date: {data.error.message}</span> : null}</div>
  );
  if (!data.data) return <div class="page">{head}{data.error ? <Trouble error={data.error} retry={data.reload} /> : <Skeleton rows={12} />}</div>;
  const { states, throughput, counts: sums, inProgress, truncated } = data.data;
  const { running, failures, next: nextSchedules } = lists;
  const over = Object.entries(sums).filter(([state]) => isOver(state)).reduce((sum, [, count]) => sum + (count ?? 0), 0);
  const good = (sums.SUCCESS ?? 0) + (sums.WARNING ?? 0);
  // The span that has just begun says nothing yet: then the one before it counts.
  const last = throughput.at(-1)?.value || throughput.at(-2)?.value || 0;
  const nothing = states.every((bucket) => total(bucket) === 0) && running.length === 0 && failures.length === 0;
  return (
    <div class="page">
      {head}
      <dl class="figures">
        <Figure name="In progress" value={atLeast(inProgress, data.data.inProgressTruncated)} href="/executions?state=RUNNING,QUEUED,PAUSED,RETRYING,KILLING" tone={inProgress > 0 ? "run" : "off"} icon="run" />
        <Figure name="Failed" value={atLeast(sums.FAILED ?? 0, truncated)} href="/executions?state=FAILED" tone={(sums.FAILED ?? 0) > 0 ? "bad" : "off"} icon="cross" />
        <Figure name="Succeeded" value={over > 0 ? `${number(Math.round((good / over) * 1000) / 10)} %` : "–"} href="/executions?state=SUCCESS,WARNING" tone="good" icon="check" />
        <Figure name="Sequences per minute" value={atLeast(Math.round(last * 10) / 10, data.data.throughputTruncated)} tone="off" icon="chart" />
      </dl>
      {nothing ? <Empty title="Nothing has run yet" icon="play">Start a <a href="/flows">flow</a>, or <code>operon run flow.yaml</code> against this server.</Empty> : null}
      <div class="columns">
        <section class="card"><h2><a href="/executions">Executions over time</a></h2><StackedBars buckets={states} label="Executions over time" />{truncated ? <p class="muted note">More were created in this time than are counted here: these are the newest.</p> : null}</section>
        <section class="card"><h2>Throughput</h2><Line points={throughput} label="Throughput" unit="sequences/min" />{data.data.throughputTruncated ? <p class="muted note">At least: the newest task runs are counted.</p> : null}</section>
      </div>
      <div class="columns">
        <section class="card"><h2>In progress</h2>
          {running.length === 0 ? <p class="muted">Nothing runs at the moment.</p> : <Short rows={running} live at={at} />}
          {inProgress > running.length ? <p><a href="/executions?state=RUNNING,QUEUED,PAUSED,RETRYING,KILLING">All {atLeast(inProgress, data.data.inProgressTruncated)}</a></p> : null}</section>
        <section class="card"><h2>Failures</h2>
          {failures.length === 0 ? <p class="muted">No execution failed in this time.</p> : <Short rows={failures} at={at - running.length} />}</section>
        <section class="card"><h2>Next</h2>
          {nextSchedules.length === 0 ? <p class="muted">No schedule is enabled.</p> : <table class="table compact"><thead class="sr"><tr><th>When</th><th>Flow</th><th>Trigger</th></tr></thead><tbody>
            {nextSchedules.map((one, index) => <tr key={`${one.namespace}/${one.flow}/${one.id}`} class={`row-key${index === at - running.length - failures.length ? " current" : ""}`}><td class="nowrap"><When at={one.nextMs} /></td><td class="stretch">{one.flow ? <a class="flow-link" href={`${path("flows", one.namespace ?? "", one.flow)}?tab=triggers`}><b>{one.flow}</b></a> : null}<div class="sub muted">{one.id}</div></td><td class="right">{one.late ? <span class="chip tone-warn"><Icon name="warn" size={13} />late</span> : null}</td></tr>)}
          </tbody></table>}</section>
      </div>
    </div>
  );
}

function Figure({ name, value, href, tone, icon }: { name: string; value: string; href?: string; tone: string; icon: string }): JSX.Element {
  const inside = <><dt><span class={`tone-${tone} figure-icon`}><Icon name={icon} /></span>{href ? <a href={href}>{name}</a> : name}</dt><dd class="num">{value}</dd></>;
  return <div class="figure">{inside}</div>;
}

/** What failed first in it, once it is known: executions that are over stay as they are, so that it is asked once. */
const causes = new Map<string, string>();

function Why({ row }: { row: ExecutionSummary }): JSX.Element {
  const key = `${row.id} ${row.endedMs}`;
  const asked = useData(row.endedMs === null || causes.has(key) ? null : `why ${key}`, async (signal) => {
    const failed = await get<Page<TaskRun>>(route("executions", row.id, "task-runs"), { state: "FAILED", limit: 100 }, signal);
    const root = rootFailure(failed.items);
    const text = root ? `${root.name}: ${said(root.message) ?? reasonText(root.reason, root.exitCode)}` : "";
    if (causes.size > 500) causes.clear();
    causes.set(key, text);
    return text;
  });
  const text = causes.get(key) || asked.data || (row.reason ? reasonText(row.reason) : "");
  return <span class="tone-text-bad" title={text}>{text.split("\n")[0]}</span>;
}

function Short({ rows, live, at }: { rows: ExecutionSummary[]; live?: boolean; at: number }): JSX.Element {
  return (
    <table class="table compact"><thead class="sr"><tr><th>State</th><th>Execution</th><th>Time</th></tr></thead><tbody>
      {rows.map((row, index) => (
        <tr key={row.id} class={`row-key${index === at ? " current" : ""}`}>
          <td class="nowrap"><StateChip state={row.state} small /></td>
          <td class="stretch"><a class="flow-link" href={path("executions", row.id)}><b>{row.flow}</b></a><div class="sub muted">{row.namespace}</div>{!live && row.reason ? <div class="sub why-line"><Why row={row} /></div> : null}</td>
          <td class="right nowrap muted">{live ? <Took from={row.startedMs ?? row.createdMs} to={row.endedMs} /> : <When at={row.endedMs ?? row.createdMs} />}</td>
        </tr>
      ))}
    </tbody></table>
  );
}

