// What a flow said before: any two revisions beside each other, and back to one of them.
import type { JSX } from "preact";
import { useMemo } from "preact/hooks";
import { get, list as whole, post, route } from "../../lib/api";
import { diff, folded, type Line } from "../../lib/diff";
import { useData } from "../../lib/hooks";
import { patch, query } from "../../lib/route";
import type { Difference, Revision } from "../../lib/types";
import { Skeleton, Trouble, When } from "../../ui/bits";
import { ask } from "../../ui/dialog";
import { Icon } from "../../ui/icons";
import { may } from "../../ui/shell";

export function Revisions({ namespace, id, current, changed, running }: { namespace: string; id: string; current: number; changed: () => void; running: number }): JSX.Element {
  const params = query.value;
  const list = useData(`revisions ${namespace}/${id} ${current}`, (signal) => whole<Revision>(route("flows", namespace, id, "revisions"), {}, signal));
  const to = Number(params.get("to") ?? current);
  const before = list.data?.items.filter((one) => one.revision < to).reduce((most, one) => Math.max(most, one.revision), 0) ?? 0;
  const from = Number(params.get("from") ?? (before || to));
  const sources = useData(list.data ? `sources ${namespace}/${id} ${from} ${to}` : null, async (signal) => {
    const [a, b] = await Promise.all([from, to].map((revision) => get<Revision>(route("flows", namespace, id, "revisions", revision), {}, signal)));
    return { from: a?.source ?? "", to: b?.source ?? "" };
  });
  const plans = useData(list.data && from !== to ? `plans ${namespace}/${id} ${from} ${to}` : null, (signal) => get<Difference>(route("flows", namespace, id, "diff"), { from, to }, signal));
  const lines = useMemo(() => (sources.data ? diff(sources.data.from, sources.data.to) : null), [sources.data]);
  if (!list.data) return list.error ? <Trouble error={list.error} retry={list.reload} /> : <Skeleton rows={6} />;
  const items = [...list.data.items].sort((a, b) => b.revision - a.revision);
  const restore = (revision: number): void => ask({
    title: `Go back to revision ${revision}?`, verb: "Restore", danger: true,
    consequences: <ul>
      <li>Revision {revision} counts again for executions that start from now on. No revision is deleted: {current} stays in the list.</li>
      <li>{running > 0 ? <><b>{running} execution{running === 1 ? "" : "s"} in progress</b> stay on their revision: </> : "Executions in progress stay on their revision: "}no running container is stopped.</li>
    </ul>,
    act: async () => { await post(route("flows", namespace, id, "rollback"), { revision }); changed(); patch({ from: null, to: null }); return `Revision ${revision} is restored`; },
  });
  return (
    <div class="revisions">
      <ol class="revision-list">
        {items.map((one) => (
          <li key={one.revision} class={one.revision === to ? "current" : ""}>
            <button type="button" class="revision" aria-pressed={one.revision === to} onClick={() => patch({ to: String(one.revision), from: null })}>
              <b>{one.revision}</b>{one.revision === current ? <span class="tag">current</span> : null}
              <span class="muted">{one.createdMs ? <When at={one.createdMs} /> : null}{one.createdBy ? ` by ${one.createdBy}` : ""}</span>{one.message ? <span class="muted clip">{one.message}</span> : null}
            </button>
            {one.revision !== current && may("edit") ? <button type="button" class="button ghost" onClick={() => restore(one.revision)}>Restore</button> : null}
          </li>
        ))}
        {list.data.next ? <li class="muted">The {items.length} newest are shown.</li> : null}
      </ol>
      <section class="card revision-diff">
        <div class="preview-head"><h2>Compare</h2>
          <label class="select">from<select value={String(from)} onChange={(event) => patch({ from: event.currentTarget.value })}>{items.map((one) => <option key={one.revision} value={String(one.revision)}>{one.revision}</option>)}</select></label>
          <Icon name="right" size={13} />
          <label class="select">to<select value={String(to)} onChange={(event) => patch({ to: event.currentTarget.value })}>{items.map((one) => <option key={one.revision} value={String(one.revision)}>{one.revision}</option>)}</select></label>
          <span class="grow" />{lines ? <span class="muted num">+{lines.filter((line) => line.op === "new").length} −{lines.filter((line) => line.op === "gone").length}</span> : null}
        </div>
        {sources.error ? <Trouble error={sources.error} retry={sources.reload} /> : !lines ? <Skeleton rows={8} /> : <DiffView lines={lines} />}
        {plans.data ? (plans.data.samePlan ? <p class="muted">Both compile to the same plan: nothing changes for the engine.</p>
          : <details><summary>What changes in the plan</summary><pre class="diff plan-diff" tabIndex={0}>{plans.data.plan}</pre></details>) : null}
      </section>
    </div>
  );
}

export function DiffView({ lines }: { lines: readonly Line[] }): JSX.Element {
  if (lines.every((line) => line.op === "same")) return <p class="muted">No difference.</p>;
  return (
    <div class="diff" tabIndex={0} role="region" aria-label="Difference">
      <table><tbody>
        {folded(lines).map((line, index) => typeof line === "number" ? <tr key={index} class="fold"><td colSpan={4}>⋯ {line} line{line === 1 ? "" : "s"} as before</td></tr> : (
          <tr key={index} class={`diff-${line.op}`}><td class="num">{line.from ?? ""}</td><td class="num">{line.to ?? ""}</td><td class="sign">{line.op === "new" ? "+" : line.op === "gone" ? "−" : " "}</td><td class="code">{line.text || " "}</td></tr>
        ))}
      </tbody></table>
    </div>
  );
}
