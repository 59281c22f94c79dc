// What starts executions: when next, when last, what is late; and events nobody could process.
import type { JSX } from "preact";
import { useState } from "preact/hooks";
import { ApiError, get, post, route } from "../lib/api";
import { useData, useTitle } from "../lib/hooks";
import { path } from "../lib/route";
import { duration, exact, now } from "../lib/time";
import type { Page, Trigger } from "../lib/types";
import { Copy, Empty, ExecutionLink, Skeleton, Trouble, When } from "../ui/bits";
import { ask, Dialog, say } from "../ui/dialog";
import { Icon } from "../ui/icons";
import { may } from "../ui/shell";

interface DeadLetter { id: string; reason?: string | null; source?: string | null; receivedMs?: number | null; atMs?: number | null; detail?: unknown }

export function Triggers(): JSX.Element {
  useTitle("Triggers");
  const dead = useData("dead letters", (signal) => get<Page<DeadLetter>>("/dead-letters", { limit: 100 }, signal), 5_000);
  return (
    <div class="page">
      <div class="page-head"><h1>Triggers</h1></div>
      <TriggerTable />
      <h2 class="section-head">Dead letters</h2>
      {dead.error ? <Trouble error={dead.error} retry={dead.reload} /> : !dead.data ? <Skeleton rows={2} /> : dead.data.items.length === 0 ? <p class="muted">None. Events that cannot be processed appear here with the reason, and can be sent again.</p> : (
        <div class="table-wrap" tabIndex={0} role="region" aria-label="Dead letters"><table class="table"><thead><tr><th>Received</th><th>From</th><th>Reason</th><th><span class="sr">Actions</span></th></tr></thead><tbody>
          {dead.data.items.map((one) => <tr key={one.id}><td><When at={one.receivedMs ?? one.atMs} /></td><td>{one.source ?? ""}</td><td>{one.reason ?? ""}</td><td class="right">{may("operate") ? <button type="button" class="button" onClick={() => ask({
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
      <div class="table-wrap" tabIndex={0} role="region" aria-label="Triggers"><table class="table">
        <thead><tr><th>Trigger</th>{one ? null : <th>Flow</th>}<th>Type</th><th>Next</th><th>Last</th><th>Late or skipped</th><th><span class="sr">Actions</span></th></tr></thead>
        <tbody>{rows.map((row) => {
          const ns = row.namespace ?? namespace ?? "";
          const of = row.flow ?? flow ?? "";
          const off = row.disabled === true || row.enabled === false;
          const late = row.lateMs ?? (row.nextMs && !off && row.nextMs < now.value - 5_000 ? now.value - row.nextMs : null);
          return (
            <tr key={`${ns}/${of}/${row.id}`}>
              <td><b>{row.id}</b>{off ? <span class="tag">disabled</span> : null}{row.description ? <div class="muted clip">{row.description}</div> : null}</td>
              {one ? null : <td><a class="flow-link" href={path("flows", ns, of)}><span class="muted">{ns} / </span><b>{of}</b></a></td>}
              <td><span class="trigger-type">{row.type.split(".").at(-1)}</span>{row.cron ?? row.schedule ? <span class="mono muted"> {row.cron ?? row.schedule}{row.timezone ? ` ${row.timezone}` : ""}</span> : null}
                {/webhook/i.test(row.type) ? <Copy text={`${window.location.origin}/api/v1/webhooks/${ns}/${of}/${row.id}`} label="Copy the webhook's address" /> : null}</td>
              <td>{off ? <span class="muted">–</span> : <When at={row.nextMs} />}</td>
              <td>{row.lastExecution ? <ExecutionLink id={row.lastExecution}><When at={row.lastMs} /></ExecutionLink> : <When at={row.lastMs} />}</td>
              <td>{late ? <span class="chip tone-warn" title={row.nextMs ? `Was due ${exact(row.nextMs)}` : ""}><Icon name="warn" size={13} />{duration(late)} late</span> : null}{row.skipped ? <span class="chip tone-off"> {row.skipped} skipped</span> : null}{row.reason ? <span class="muted"> {row.reason}</span> : null}{!late && !row.skipped && !row.reason ? <span class="muted">on time</span> : null}</td>
              <td class="right">{may("operate") ? <span class="actions">
                {/schedule/i.test(row.type) ? <button type="button" class="button ghost" onClick={() => setBackfill({ ...row, namespace: ns, flow: of })}>Backfill</button> : null}
                <button type="button" class="button ghost" onClick={() => ask(off
                  ? { title: `Enable ${row.id}?`, verb: "Enable", consequences: <p>It starts executions again from now on.</p>, act: async () => { await post(route("triggers", ns, of, row.id, "enable")); found.reload(); return "Enabled"; } }
                  : { title: `Disable ${row.id}?`, verb: "Disable", danger: true, consequences: <p>It starts nothing more until it is enabled. Executions it has started go on; no running container is stopped.</p>, act: async () => { await post(route("triggers", ns, of, row.id, "disable")); found.reload(); return "Disabled"; } })}>{off ? "Enable" : "Disable"}</button>
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
      await post(route("triggers", trigger.namespace ?? "", trigger.flow ?? "", trigger.id, "backfill"), { from: Date.parse(from), to: Date.parse(to) });
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
