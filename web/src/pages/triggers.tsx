// What starts executions: when next, when last, what is late; and events nobody could process.
import type { JSX } from "preact";
import { useState } from "preact/hooks";
import { ApiError, list, post, route } from "../lib/api";
import { backfillShare, backfillWord } from "../lib/backfill";
import { useData, useRows, useTitle } from "../lib/hooks";
import { go, patch, path, query } from "../lib/route";
import { duration, exact, now, number } from "../lib/time";
import type { BackfillState, DeadLetter, Trigger } from "../lib/types";
import { Copy, Empty, ExecutionLink, Skeleton, Trouble, When } from "../ui/bits";
import { ask, Dialog, say } from "../ui/dialog";
import { Icon } from "../ui/icons";
import { may } from "../ui/shell";

export function Triggers(): JSX.Element {
  useTitle("Triggers");
  const dead = useData("dead letters", (signal) => list<DeadLetter>("/dead-letters", {}, signal), 5_000);
  return (
    <div class="page">
      <div class="page-head"><h1>Triggers</h1></div>
      <form class="filters" role="search" onSubmit={(event) => event.preventDefault()}>
        <label class="search"><Icon name="search" size={14} /><span class="sr">Filter triggers</span>
          <input data-filter type="search" placeholder="Name or flow  ( / )" value={query.value.get("q") ?? ""} onInput={(event) => patch({ q: event.currentTarget.value })} /></label>
      </form>
      <TriggerTable />
      <h2 class="section-head">Dead letters</h2>
      {dead.error ? <Trouble error={dead.error} retry={dead.reload} /> : !dead.data ? <Skeleton rows={2} /> : dead.data.items.length === 0 ? <p class="muted">None. Events that cannot be processed appear here with the reason, and can be sent again.</p> : (
        <div class="table-wrap" tabIndex={0} role="region" aria-label="Dead letters"><table class="table dead"><thead><tr><th>Given up</th><th>Queue</th><th>Reason</th><th><span class="sr">Actions</span></th></tr></thead><tbody>
          {dead.data.items.map((one) => <tr key={one.id}><td class="nowrap"><When at={one.atMs} /></td><td>{one.queue}{one.execution ? <> · <ExecutionLink id={one.execution} /></> : null}</td><td><b>{one.reason}</b>{one.putBackMs ? <div>Sent again <When at={one.putBackMs} />, and not back since.</div> : null}<div class="muted clip mono">{one.body}</div></td><td class="right">{may("operate") ? <button type="button" class="button" onClick={() => ask({
            title: "Send this event again?", verb: "Send again", consequences: <p>It is processed as if it had just come. If it had started an execution already, that one is found by its identity and no second one starts. No running container is stopped.</p>,
            act: async () => { await post(route("dead-letters", one.id, "redrive")); dead.reload(); return "Sent again"; },
          })}>Send again</button> : null}</td></tr>)}
        </tbody></table>{dead.data.next ? <p class="muted more">There are more: <code>operon redrive</code> names them all.</p> : null}</div>
      )}
    </div>
  );
}

export function TriggerTable({ namespace, flow }: { namespace?: string; flow?: string }): JSX.Element {
  const one = namespace !== undefined && flow !== undefined;
  const found = useData(`triggers ${namespace}/${flow}`, (signal) => list<Trigger>(one ? route("flows", namespace, flow, "triggers") : "/triggers", {}, signal), 3_000);
  const [backfill, setBackfill] = useState<string | null>(null);
  const text = one ? "" : (query.value.get("q") ?? "").toLowerCase();
  const rows = (found.data?.items ?? []).filter((row) => !text || `${row.id} ${row.namespace}/${row.flow} ${row.type} ${row.detail ?? ""}`.toLowerCase().includes(text));
  const at = useRows(rows.length, "trigger", (index) => {
    const row = rows[index];
    if (row) go(`${path("flows", row.namespace, row.flow)}?tab=triggers`);
  });
  const chosen = rows.find((row) => keyOf(row) === backfill);
  if (!found.data) return found.error ? <Trouble error={found.error} retry={found.reload} /> : <Skeleton rows={4} />;
  if (rows.length === 0 && text) return <Empty title="No trigger matches" icon="bolt"><a href="/triggers">Take the filter away</a></Empty>;
  if (rows.length === 0) return <Empty title="No trigger" icon="bolt">{one ? <>The flow is started by hand, by the command line or by another flow. <code>triggers:</code> in its source adds schedules, webhooks and more.</> : "No deployed flow has one."}</Empty>;
  return (
    <>
      {found.error ? <Trouble error={found.error} /> : null}
      <div class="table-wrap" tabIndex={0} role="region" aria-label="Triggers"><table class="table triggers">
        <thead><tr><th>Trigger</th>{one ? null : <th>Flow</th>}<th>Type</th><th>Next</th><th>Last</th><th>Late, or what went wrong</th><th><span class="sr">Actions</span></th></tr></thead>
        <tbody>{rows.map((row, index) => {
          const { namespace: ns, flow: of, disabled: off } = row;
          const going = row.backfill && !row.backfill.over ? row.backfill : null;
          // How far a backfill is has a place of its own.
          const detail = row.detail?.split("; ").filter((part) => !part.startsWith("backfill ")).join("; ");
          const late = row.late && row.nextMs !== null ? Math.max(0, now.value - row.nextMs) : null;
          return (
            <tr key={keyOf(row)} class={`row-key${index === at ? " current" : ""}`}>
              <td class="name"><b>{row.id}</b>{off ? <span class="tag">disabled</span> : null}</td>
              {one ? null : <td class="flow"><a class="flow-link" href={path("flows", ns, of)}><span class="muted">{ns} / </span><b>{of}</b></a></td>}
              <td class="kind"><span class="trigger-type">{row.type.split(".").at(-1)}</span>{detail ? <span class="muted detail"> {detail}</span> : null}
                {row.missedDates?.length ? <details class="muted"><summary>Dates that did not fire</summary><ul>{row.missedDates.toReversed().map((one) => <li key={one.dateMs}>{exact(one.dateMs)}: {one.reason ?? "late"}</li>)}</ul></details> : null}
                {row.url ? <Copy text={row.url.startsWith("/") ? window.location.origin + row.url : row.url} label="Copy the webhook's address" /> : null}</td>
              <td class={off || row.nextMs === null ? "next nothing" : "next"} data-label="Next">{off ? <span class="muted">–</span> : <When at={row.nextMs} />}</td>
              <td class={row.lastMs === null ? "last nothing" : "last"} data-label="Last"><When at={row.lastMs} /></td>
              <td class={off && !row.late && !row.lastError && !going ? "state nothing" : "state"}>{late !== null ? <span class="chip tone-warn" title={row.nextMs ? `Was due ${exact(row.nextMs)}` : ""}><Icon name="warn" size={13} />{duration(late)} late</span> : row.late ? <span class="chip tone-warn"><Icon name="warn" size={13} />late</span> : null}{row.lastError ? <span class="tone-text-bad"> {row.lastError}</span> : null}{!row.late && !row.lastError ? <span class="muted">{off ? "–" : row.nextMs === null ? "waits for its event" : "on time"}</span> : null}
                {going ? <Progress of={going} name={row.id} /> : null}</td>
              <td class="right act">{may("operate") ? <span class="actions">
                {/schedule/i.test(row.type) ? <button type="button" class="button ghost" onClick={() => setBackfill(keyOf(row))}>Backfill</button> : null}
                {may("edit") ? <button type="button" class="button ghost" onClick={() => ask(off
                  ? { title: `Enable ${row.id}?`, verb: "Enable", consequences: <p>It starts executions again from now on.</p>, act: async () => { await post(route("triggers", ns, of, row.id, "enable")); found.reload(); return "Enabled"; } }
                  : { title: `Disable ${row.id}?`, verb: "Disable", danger: true, consequences: <p>It starts nothing more until it is enabled. Executions it has started go on; no running container is stopped.</p>, act: async () => { await post(route("triggers", ns, of, row.id, "disable")); found.reload(); return "Disabled"; } })}>{off ? "Enable" : "Disable"}</button> : null}
              </span> : null}</td>
            </tr>
          );
        })}</tbody>
      </table></div>
      {found.data.next ? <p class="muted more">The first {number(found.data.items.length)} are shown.</p> : null}
      {chosen ? <Backfill trigger={chosen} reload={found.reload} close={() => setBackfill(null)} /> : null}
    </>
  );
}

function keyOf(row: Trigger): string {
  return `${row.namespace}/${row.flow}/${row.id}`;
}

/** How far a backfill has come, in words and as a bar. */
function Progress({ of, name }: { of: BackfillState; name: string }): JSX.Element {
  const share = Math.round(backfillShare(of) * 100);
  return (
    <div class="backfill">
      <span class={`chip ${of.over ? "" : of.paused ? "tone-pause" : "tone-run"}`}><Icon name={of.over ? "check" : of.paused ? "pause" : "run"} size={13} />Backfill {backfillWord(of)}</span>
      <progress value={share} max={100} aria-label={`Backfill of ${name}`}>{share} %</progress>
      <span class="muted num">{share} % · {number(of.started)} started, {number(of.skipped)} left out{of.over ? "" : `, ${number(of.active)} in progress`}</span>
    </div>
  );
}

/** The backfill of a schedule as it goes on, and a form for the next one. */
function Backfill({ trigger, reload, close }: { trigger: Trigger; reload: () => void; close: () => void }): JSX.Element {
  const [from, setFrom] = useState("");
  const [to, setTo] = useState("");
  const [error, setError] = useState<ApiError | null>(null);
  const [busy, setBusy] = useState(false);
  const state = trigger.backfill ?? null;
  const going = state !== null && !state.over;
  const at = route("triggers", trigger.namespace, trigger.flow, trigger.id, "backfill");
  const act = async (what: () => Promise<unknown>, said: string): Promise<void> => {
    setBusy(true);
    setError(null);
    try { await what(); say(said); reload(); } catch (failure) { if (failure instanceof ApiError) setError(failure); }
    setBusy(false);
  };
  const steer = (action: string, said: string): Promise<void> => act(() => post(`${at}/${action}`), said);
  const valid = Date.parse(from) < Date.parse(to);
  const start = (): Promise<void> => act(() => post(at, { fromMs: Date.parse(from), toMs: Date.parse(to) }), "The backfill begins");
  return (
    <Dialog title={`Backfill ${trigger.id}`} close={close} foot={<><button type="button" class="button" onClick={close}>Close</button>
      {going ? <>
        <button type="button" class="button danger-quiet" disabled={busy} onClick={() => void steer("end", "The backfill is ended")}>End</button>
        {state.paused ? <button type="button" class="button primary" disabled={busy} onClick={() => void steer("resume", "The backfill goes on")}>Go on</button>
          : <button type="button" class="button" disabled={busy} onClick={() => void steer("pause", "The backfill is paused")}>Pause</button>}
      </> : <button type="button" class="button primary" disabled={!valid || busy} onClick={() => void start()}>Backfill</button>}</>}>
      {state ? <section aria-label="Progress"><p>{exact(state.fromMs)} – {exact(state.toMs)}</p><Progress of={state} name={trigger.id} /></section> : null}
      {going ? <ul class="consequences"><li>Paused or ended, it starts nothing more. What it started goes on; no running container is stopped.</li></ul> : <>
        <div class="form"><label>From<input type="datetime-local" value={from} onInput={(event) => setFrom(event.currentTarget.value)} /></label><label>To<input type="datetime-local" value={to} onInput={(event) => setTo(event.currentTarget.value)} /></label></div>
        <ul class="consequences"><li>One execution per time of the schedule in that range; times that have one already are left out.</li><li>They start new containers within the flow's concurrency limit. No running container is stopped.</li></ul>
      </>}
      {error ? <Trouble error={error} /> : null}
    </Dialog>
  );
}
