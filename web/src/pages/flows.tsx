// All flows, by namespace.
import type { JSX } from "preact";
import { useState } from "preact/hooks";
import { list } from "../lib/api";
import { useData, useKeys, useTitle } from "../lib/hooks";
import { go, patch, path, query } from "../lib/route";
import type { Flow } from "../lib/types";
import { Empty, Labels, Skeleton, StateIcon, Trouble, When } from "../ui/bits";
import { Icon } from "../ui/icons";
import { may } from "../ui/shell";
import { RunDialog } from "./run";

export function Flows(): JSX.Element {
  useTitle("Flows");
  const flows = useData("flows", (signal) => list<Flow>("/flows", {}, signal), 5_000);
  const text = (query.value.get("q") ?? "").toLowerCase();
  const label = query.value.get("label");
  const rows = (flows.data?.items ?? []).filter((flow) => (!text || `${flow.namespace}/${flow.id} ${flow.description ?? ""}`.toLowerCase().includes(text))
    && (!label || Object.entries(flow.labels ?? {}).some(([key, value]) => `${key}:${value}` === label)));
  const [at, move] = useState(-1);
  const [run, setRun] = useState<Flow | null>(null);
  const current = rows[at];
  useKeys([
    { key: "j", label: "Next row", run: () => move(Math.min(rows.length - 1, at + 1)) },
    { key: "k", label: "Previous row", run: () => move(Math.max(0, at - 1)) },
    { key: "Enter", label: "Open", run: () => current && go(path("flows", current.namespace, current.id)) },
    { key: "r", label: "Run", run: () => current && may("operate") && setRun(current) },
  ]);
  return (
    <div class="page">
      <div class="page-head"><h1>Flows</h1><span class="muted">{flows.data ? `${rows.length} of ${flows.data.items.length}${flows.data.next ? " or more: only these are searched" : ""}` : ""}</span><span class="grow" />
        {may("edit") ? <a class="button" href="/flows/new"><Icon name="plus" size={14} />New flow</a> : null}</div>
      <form class="filters" role="search" onSubmit={(event) => event.preventDefault()}>
        <label class="search"><Icon name="search" size={14} /><span class="sr">Filter flows</span>
          <input data-filter type="search" placeholder="Name or description  ( / )" value={query.value.get("q") ?? ""} onInput={(event) => patch({ q: event.currentTarget.value })} /></label>
        {label ? <a class="button ghost" href="/flows"><Icon name="close" size={14} />{label}</a> : null}
      </form>
      {flows.error ? <Trouble error={flows.error} retry={flows.reload} /> : null}
      {!flows.data && !flows.error ? <Skeleton rows={8} /> : null}
      {flows.data && rows.length === 0 ? <Empty title={flows.data.items.length === 0 ? "No flow is deployed" : "No flow matches"} icon="flow">{flows.data.items.length === 0 ? <>Deploy one with <code>operon flows deploy FILE</code>, or write a <a href="/flows/new">new flow</a> here.</> : <a href="/flows">Take the filter away</a>}</Empty> : null}
      {rows.length > 0 ? (
        <div class="table-wrap" tabIndex={0} role="region" aria-label="Flows"><table class="table flows">
          <thead><tr><th>Flow</th><th>Recent</th><th>Last execution</th><th class="right">Revision</th><th class="wide-only">Labels</th><th><span class="sr">Actions</span></th></tr></thead>
          <tbody>{rows.map((flow, index) => {
            const recent = flow.latest ?? [];
            return (
              <tr key={`${flow.namespace}/${flow.id}`} class={index === at ? "current" : ""} onClick={(event) => { if (!(event.target as Element).closest("a,button")) go(path("flows", flow.namespace, flow.id)); }}>
                <td class="flow"><a class="flow-link" href={path("flows", flow.namespace, flow.id)}><span class="muted">{flow.namespace} / </span><b>{flow.id}</b></a>{flow.disabled ? <span class="tag">disabled</span> : null}
                  {flow.description ? <div class="muted clip">{flow.description.split("\n")[0]?.replaceAll("**", "")}</div> : null}</td>
                <td class="recent-cell"><span class="recent">{recent.slice(0, 12).toReversed().map((one) => <a key={one.id} href={path("executions", one.id)} aria-label={`Execution ${one.id}`}><StateIcon state={one.state} /></a>)}</span>{recent.length === 0 ? <span class="muted">none</span> : null}</td>
                <td class="when">{recent[0] ? <When at={recent[0].createdMs} /> : <span class="muted">never</span>}</td>
                <td class="right num revision-cell">{flow.revision}</td>
                <td class="wide-only"><Labels labels={flow.labels ?? {}} href={(key, value) => `/flows?label=${encodeURIComponent(`${key}:${value}`)}`} /></td>
                <td class="right run-cell">{may("operate") ? <button type="button" class="button" disabled={flow.disabled} onClick={() => setRun(flow)}><Icon name="play" size={13} />Run</button> : null}</td>
              </tr>
            );
          })}</tbody>
        </table></div>
      ) : null}
      {run ? <RunDialog namespace={run.namespace} flow={run.id} close={() => setRun(null)} /> : null}
    </div>
  );
}

