// Counters and timers that tasks emitted, and what task runs used.
import type { JSX } from "preact";
import { useMemo } from "preact/hooks";
import { get, route } from "../../lib/api";
import { useData } from "../../lib/hooks";
import { path } from "../../lib/route";
import { bytes, duration, number } from "../../lib/time";
import type { Execution, Metric, TaskRun } from "../../lib/types";
import { Empty, Skeleton, Trouble } from "../../ui/bits";

interface Found extends Metric { taskRun?: string; task?: string; run?: string }

export function Metrics({ execution, runs }: { execution: Execution; runs: TaskRun[] }): JSX.Element {
  const found = useData(`metrics ${execution.id} ${execution.state}`, (signal) => get<{ items: Found[] }>(route("executions", execution.id, "metrics"), {}, signal));
  const names = useMemo(() => new Map(runs.map((run) => [run.id, run.name])), [runs]);
  const used = useMemo(() => runs.filter((run) => run.usage && ((run.usage.peakRssBytes ?? 0) > 0 || (run.usage.cpuSeconds ?? 0) > 0))
    .sort((a, b) => (b.usage?.peakRssBytes ?? 0) - (a.usage?.peakRssBytes ?? 0)), [runs]);
  const totals = useMemo(() => sums(found.data?.items ?? []), [found.data]);
  const minutes = execution.startedMs === null ? 0 : ((execution.endedMs ?? Date.now()) - execution.startedMs) / 60_000;
  return (
    <div class="columns">
      <section class="card"><h2>Totals</h2>
        {found.error ? <Trouble error={found.error} retry={found.reload} /> : !found.data ? <Skeleton rows={3} /> : totals.length === 0 ? <p class="muted">No task emitted a metric. A script does by printing <code>{'::{"metrics": […]}::'}</code>.</p> : (
          <table class="table compact"><thead><tr><th>Metric</th><th class="right">Value</th><th class="right">Per minute</th></tr></thead><tbody>
            {totals.map((one) => <tr key={one.name}><td>{one.name}</td><td class="right num">{one.timer ? duration(one.value) : number(one.value)}</td><td class="right num">{!one.timer && minutes > 0 ? number(one.value / minutes) : "–"}</td></tr>)}
          </tbody></table>
        )}
        <p class="muted"><a href={path("flows", execution.namespace, execution.flow)}>Trend of the flow</a></p>
      </section>
      <section class="card"><h2>By task run</h2>
        {(found.data?.items.length ?? 0) === 0 ? <p class="muted">Nothing to show.</p> : <table class="table compact"><thead><tr><th>Task run</th><th>Metric</th><th>Tags</th><th class="right">Value</th></tr></thead><tbody>
          {found.data?.items.slice(0, 300).map((one, index) => <tr key={index}><td>{one.taskRun ? names.get(one.taskRun) ?? one.taskRun : one.task ?? ""}</td><td>{one.name}</td><td class="muted">{Object.entries(one.tags ?? {}).map(([key, value]) => `${key}=${value}`).join(" ")}</td><td class="right num">{isTimer(one) ? duration(one.value) : number(one.value)}</td></tr>)}
        </tbody></table>}
      </section>
      <section class="card wide"><h2>Use of memory and CPU</h2>
        {used.length === 0 ? <Empty title="Not measured yet" icon="chart" /> : <table class="table compact"><thead><tr><th>Task run</th><th class="right">Peak memory</th><th class="right">CPU</th><th class="right">Duration</th></tr></thead><tbody>
          {used.slice(0, 200).map((run) => <tr key={run.id}><td>{run.name}</td><td class="right num">{bytes(run.usage?.peakRssBytes)}</td><td class="right num">{(run.usage?.cpuSeconds ?? 0).toFixed(1)} s</td><td class="right num">{run.startedMs !== null && run.endedMs !== null ? duration(run.endedMs - run.startedMs) : "–"}</td></tr>)}
        </tbody></table>}
      </section>
    </div>
  );
}

function isTimer(metric: Metric): boolean {
  return /timer/i.test(metric.kind ?? metric.type ?? "");
}

export function sums(items: readonly Metric[]): { name: string; value: number; timer: boolean }[] {
  const found = new Map<string, { name: string; value: number; timer: boolean }>();
  for (const item of items) {
    const known = found.get(item.name);
    if (known) known.value += item.value;
    else found.set(item.name, { name: item.name, value: item.value, timer: isTimer(item) });
  }
  return [...found.values()].sort((a, b) => a.name.localeCompare(b.name));
}
