// Counters and timers that tasks emitted, and what task runs used.
import type { JSX } from "preact";
import { useMemo } from "preact/hooks";
import { get, route } from "../../lib/api";
import { useData } from "../../lib/hooks";
import { isOver } from "../../lib/states";
import { bytes, duration, number } from "../../lib/time";
import type { Execution, MetricTotal, Page, TaskRun } from "../../lib/types";
import { Skeleton, Trouble } from "../../ui/bits";

export function Metrics({ execution, runs }: { execution: Execution; runs: TaskRun[] }): JSX.Element {
  const over = isOver(execution.state);
  const found = useData(`metrics ${execution.id} ${execution.state}`, (signal) => get<Page<MetricTotal>>(route("executions", execution.id, "metrics"), {}, signal), over ? 0 : 3_000);
  const used = useMemo(() => runs.filter((run) => run.usage && ((run.usage.peakRssBytes ?? 0) > 0 || (run.usage.cpuSeconds ?? 0) > 0))
    .sort((a, b) => (b.usage?.peakRssBytes ?? 0) - (a.usage?.peakRssBytes ?? 0)), [runs]);
  const perRun = useMemo(() => runs.filter((run) => run.metrics.length > 0).flatMap((run) => run.metrics.map((metric) => ({ run, metric }))), [runs]);
  const minutes = execution.startedMs === null ? 0 : ((execution.endedMs ?? Date.now()) - execution.startedMs) / 60_000;
  return (
    <div class="columns">
      <section class="card"><h2>Totals</h2>
        {found.error ? <Trouble error={found.error} retry={found.reload} /> : !found.data ? <Skeleton rows={3} /> : found.data.items.length === 0 ? <p class="muted">No task emitted a metric. A script does by printing <code>{'::{"metrics": […]}::'}</code>.</p> : (
          <table class="table compact"><thead><tr><th>Task</th><th>Metric</th><th class="right">Value</th><th class="right">Per minute</th></tr></thead><tbody>
            {found.data.items.map((one) => <tr key={`${one.task} ${one.name}`}><td>{one.task}</td><td>{one.name}</td><td class="right num">{shown(one.type, one.value)}</td><td class="right num">{one.type === "counter" && minutes > 0 ? number(one.value / minutes) : "–"}</td></tr>)}
          </tbody></table>
        )}
      </section>
      <section class="card"><h2>By task run</h2>
        {perRun.length === 0 ? <p class="muted">None.</p> : <table class="table compact"><thead><tr><th>Task run</th><th>Metric</th><th>Tags</th><th class="right">Value</th></tr></thead><tbody>
          {perRun.slice(0, 300).map(({ run, metric }, index) => <tr key={index}><td>{run.name}</td><td>{metric.name}</td><td class="muted">{Object.entries(metric.tags ?? {}).map(([key, value]) => `${key}=${value}`).join(" ")}</td><td class="right num">{shown(metric.type, metric.value)}</td></tr>)}
        </tbody></table>}
      </section>
      <section class="card wide"><h2>Memory and CPU</h2>
        {used.length === 0 ? <p class="muted">Nothing was measured: task runs report when their attempt ends.</p> : <table class="table compact"><thead><tr><th>Task run</th><th class="right">Peak memory</th><th class="right">CPU</th><th class="right">Duration</th></tr></thead><tbody>
          {used.slice(0, 200).map((run) => <tr key={run.id}><td>{run.name}</td><td class="right num">{bytes(run.usage?.peakRssBytes)}</td><td class="right num">{(run.usage?.cpuSeconds ?? 0).toFixed(1)} s</td><td class="right num">{run.startedMs !== null && run.endedMs !== null ? duration(run.endedMs - run.startedMs) : "–"}</td></tr>)}
        </tbody></table>}
      </section>
    </div>
  );
}

/** Timers are in seconds. */
function shown(type: string, value: number): string {
  return /timer/i.test(type) ? duration(value * 1000) : number(value);
}
