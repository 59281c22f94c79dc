// What starts executions: when next, when last, what is late; and events nobody could process.
import type { JSX } from "preact";
import { useState } from "preact/hooks";
import { ApiError, get, post, route } from "../lib/api";
import { useData, useTitle } from "../lib/hooks";
import { path } from "../lib/route";
import { duration, exact, now } from "../lib/time";
import type { DeadLetter, Page, Trigger } from "../lib/types";
import { Copy, Empty, ExecutionLink, Skeleton, Trouble, When } from "../ui/bits";
import { ask, Dialog, say } from "../ui/dialog";
import { Icon } from "../ui/icons";
import { may } from "../ui/shell";

export function Triggers(): JSX.Element {
  useTitle("Triggers");
  const dead = useData("dead letters", (signal) => get<Page<DeadLetter>>("/dead-letters", { limit: 100 }, signal), 5_000);
  return (
    <div class="page">
      <div class="page-head"><h1>Triggers</h1></div>
      <TriggerTable />
      <h2 class="section-head">Dead letters</h2>
      {dead.error ? <Trouble error={dead.error} retry={dead.reload} /> : !dead.data ? <Skeleton rows={2} /> : dead.data.items.length === 0 ? <p class="muted">None. Events that cannot be processed appear here with the reason, and can be sent again.</p> : (
        <div class="table-wrap" tabIndex={0} role="region" aria-label="Dead letters"><table class="table dead"><thead><tr><th>Given up</th><th>Queue</th><th>Reason</th><th><span class="sr">Actions</span></th></tr></thead><tbody>
          {dead.data.items.map((one) => <tr key={one.id}><td class="nowrap"><When at={one.atMs} /></td><td>{one.queue}{one.execution ? <> · <ExecutionLink id={one.execution} /></> : null}</td><td><b>{one.reason}</b><div class="muted clip mono">{one.body}</div></td><td class="right">{may("operate") ? <button type="button" class="button" onClick={() => ask({
            title: "Send this event again?", verb: "Send again", consequences: <p>It is processed as if it had just come. If it had started an execution already, that one is found by its identity and no second one starts. No running container is stopped.</p>,
            act: async () => { await post(route("dead-letters", one.id, "redrive")); dead.reload(); return "Sent again"; },
          })}>Send again</button> : null}</td></tr>)}
        </tbody></table></div>
      )}
    </div>
  );
}

export function TriggerTable({ namespace, flow }: { namespace?: string; flow?: string }): JSX.Element {
  const one = namespace !== undefined && flow !== undefined;
  const found = useData(`triggers ${namespace}/${flow}`, (signal) => get<Page<Trigger>>(one ? route("flows", namespace, flow, "triggers") : "/triggers", { limit: 500 }, signal), 3_000);
  const [backfill, setBackfill] = useState<Trigger | null>(null);
  if (!found.data) return found.error ? <Trouble error={found.error} retry={found.reload} /> : <Skeleton rows={4} />;
  const rows = found.data.items;
  if (rows.length === 0) return <Empty title="No trigger" icon="bolt">{one ? <>The flow is started by hand, by the command line or by another flow. <code>triggers:</code> in its source adds schedules, webhooks and more.</> : "No deployed flow has one."}</Empty>;
  return (
    <>
      {found.error ? <Trouble error={found.error} /> : null}
      <div class="table-wrap" tabIndex={0} role="region" aria-label="Triggers"><table class="table triggers">
        <thead><tr><th>Trigger</th>{one ? null : <th>Flow</th>}<th>Type</th><th>Next</th><th>Last</th><th>Late, or what went wrong</th><th><span class="sr">Actions</span></th></tr></thead>
        <tbody>{rows.map((row) => {
          const { namespace: ns, flow: of, disabled: off } = row;
          const late = row.late && row.nextMs !== null ? Math.max(0, now.value - row.nextMs) : null;
          return (
            <tr key={`${ns}/${of}/${row.id}`}>
              <td class="name"><b>{row.id}</b>{off ? <span class="tag">disabled</span> : null}</td>
              {one ? null : <td class="flow"><a class="flow-link" href={path("flows", ns, of)}><span class="muted">{ns} / </span><b>{of}</b></a></td>}
              <td class="kind"><span class="trigger-type">{row.type.split(".").at(-1)}</span>{row.detail ? <span class="muted detail"> {row.detail}</span> : null}
                {row.missedDates?.length ? <details class="muted"><summary>Dates that did not fire</summary><ul>{row.missedDates.toReversed().map((one) => <li key={one.dateMs}>{exact(one.dateMs)}: {one.reason ?? "late"}</li>)}</ul></details> : null}
                {row.url ? <Copy text={row.url.startsWith("/") ? window.location.origin + row.url : row.url} label="Copy the webhook's address" /> : null}</td>
              <td class={off || row.nextMs === null ? "next nothing" : "next"} data-label="Next">{off ? <span class="muted">–</span> : <When at={row.nextMs} />}</td>
              <td class={row.lastMs === null ? "last nothing" : "last"} data-label="Last"><When at={row.lastMs} /></td>
              <td class={off && !row.late && !row.lastError ? "state nothing" : "state"}>{late !== null ? <span class="chip tone-warn" title={row.nextMs ? `Was due ${exact(row.nextMs)}` : ""}><Icon name="warn" size={13} />{duration(late)} late</span> : row.late ? <span class="chip tone-warn"><Icon name="warn" size={13} />late</span> : null}{row.lastError ? <span class="tone-text-bad"> {row.lastError}</span> : null}{!row.late && !row.lastError ? <span class="muted">{off ? "–" : row.nextMs === null ? "waits for its event" : "on time"}</span> : null}</td>
              <td class="right act">{may("operate") ? <span class="actions">
                {/schedule/i.test(row.type) ? <button type="button" class="button ghost" onClick={() => setBackfill(row)}>Backfill</button> : null}
                {may("edit") ? <button type="button" class="button ghost" onClick={() => ask(off
                  ? { title: `Enable ${row.id}?`, verb: "Enable", consequences: <p>It starts executions again from now on.</p>, act: async () => { await post(route("triggers", ns, of, row.id, "enable")); found.reload(); return "Enabled"; } }
                  : { title: `Disable ${row.id}?`, verb: "Disable", danger: true, consequences: <p>It starts nothing more until it is enabled. Executions it has started go on; no running container is stopped.</p>, act: async () => { await post(route("triggers", ns, of, row.id, "disable")); found.reload(); return "Disabled"; } })}>{off ? "Enable" : "Disable"}</button> : null}
              </span> : null}</td>
            </tr>
          );
        })}</tbody>
      </table></div>
      {backfill ? <Backfill trigger={backfill} close={() => setBackfill(null)} /> : null}
    </>
  );
}

function Backfill({ trigger, close }: { trigger: Trigger; close: () => void }): JSX.Element {
  const [from, setFrom] = useState("");
  const [to, setTo] = useState("");
  const [error, setError] = useState<ApiError | null>(null);
  const act = async (): Promise<void> => {
    try {
      await post(route("triggers", trigger.namespace, trigger.flow, trigger.id, "backfill"), { fromMs: Date.parse(from), toMs: Date.parse(to) });
      close();
      say("The backfill begins");
    } catch (failure) { if (failure instanceof ApiError) setError(failure); }
  };
  const valid = Date.parse(from) < Date.parse(to);
  return (
    <Dialog title={`Backfill ${trigger.id}`} close={close} foot={<><button type="button" class="button" onClick={close}>Leave it</button><button type="button" class="button primary" disabled={!valid} onClick={() => void act()}>Backfill</button></>}>
      <div class="form"><label>From<input type="datetime-local" value={from} onInput={(event) => setFrom(event.currentTarget.value)} /></label><label>To<input type="datetime-local" value={to} onInput={(event) => setTo(event.currentTarget.value)} /></label></div>
      <ul class="consequences"><li>One execution per time of the schedule in that range; times that have one already are left out.</li><li>They start new containers within the flow's concurrency limit. No running container is stopped.</li></ul>
      {error ? <Trouble error={error} /> : null}
    </Dialog>
  );
}
