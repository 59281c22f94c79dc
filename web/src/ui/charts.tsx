// Small charts in SVG. What they show is told in words, too.
import type { JSX } from "preact";
import { look, STACK_STATES } from "../lib/states";
import { dayClock, number } from "../lib/time";
import type { State } from "../lib/types";
import { useSize } from "../lib/hooks";

export interface Bucket { at: number; counts: Partial<Record<State, number>> }

/** States over time as stacked bars. */
export function StackedBars({ buckets, height = 96, label, pick }: { buckets: Bucket[]; height?: number; label: string; pick?: (state: State) => void }): JSX.Element {
  const [ref, { width }] = useSize<HTMLDivElement>();
  const most = Math.max(1, ...buckets.map((bucket) => total(bucket)));
  const step = buckets.length > 0 ? width / buckets.length : width;
  // A few executions must not become walls.
  const wide = Math.max(1, Math.min(44, step - 2));
  const present = STACK_STATES.filter((state) => buckets.some((bucket) => (bucket.counts[state] ?? 0) > 0));
  const sums = present.map((state) => `${look(state).word} ${buckets.reduce((sum, bucket) => sum + (bucket.counts[state] ?? 0), 0)}`);
  return (
    <figure class="chart" ref={ref}>
      <svg width={width} height={height} role="img" aria-label={`${label}: ${sums.join(", ") || "none"}`}>
        <line class="axis" x1="0" x2={width} y1={height - 0.5} y2={height - 0.5} />
        {buckets.map((bucket, index) => {
          let y = height - 1;
          return (
            <g key={bucket.at}>
              <title>{`${dayClock(bucket.at)}\n${present.filter((state) => bucket.counts[state]).map((state) => `${look(state).word}: ${bucket.counts[state]}`).join("\n") || "nothing"}`}</title>
              <rect class="hit" x={index * step} y="0" width={step} height={height} />
              {present.map((state) => {
                const count = bucket.counts[state] ?? 0;
                if (count === 0) return null;
                const tall = Math.max(2, (count / most) * (height - 8));
                y -= tall;
                return <rect key={state} class={`bar tone-${look(state).tone} bar-${state.toLowerCase()}`} x={index * step + (step - wide) / 2} y={y} width={wide} height={Math.max(1, tall - 1)} rx="1" />;
              })}
            </g>
          );
        })}
      </svg>
      <figcaption class="legend">
        {buckets.length > 0 ? <span class="muted">{dayClock(buckets[0]?.at ?? 0)} – {dayClock(buckets.at(-1)?.at ?? 0)}</span> : null}
        <span class="grow" />
        {present.toReversed().map((state) => {
          const count = buckets.reduce((sum, bucket) => sum + (bucket.counts[state] ?? 0), 0);
          const inside = <><i class={`swatch tone-${look(state).tone} bar-${state.toLowerCase()}`} />{look(state).word} <b>{count}</b></>;
          return pick ? <button key={state} type="button" class="legend-item" onClick={() => pick(state)}>{inside}</button> : <span key={state} class="legend-item">{inside}</span>;
        })}
      </figcaption>
    </figure>
  );
}

export function total(bucket: Bucket): number {
  return Object.values(bucket.counts).reduce((sum, count) => sum + (count ?? 0), 0);
}

/** A value over time as a line with its area. */
export function Line({ points, height = 96, label, unit }: { points: { at: number; value: number }[]; height?: number; label: string; unit: string }): JSX.Element {
  const [ref, { width }] = useSize<HTMLDivElement>();
  const most = Math.max(1e-9, ...points.map((point) => point.value));
  const x = (index: number): number => (points.length < 2 ? width / 2 : (index / (points.length - 1)) * (width - 4) + 2);
  const y = (value: number): number => height - 2 - (value / most) * (height - 12);
  const line = points.map((point, index) => `${index === 0 ? "M" : "L"}${x(index).toFixed(1)} ${y(point.value).toFixed(1)}`).join("");
  const last = points.at(-1);
  return (
    <figure class="chart" ref={ref}>
      <svg width={width} height={height} role="img" aria-label={`${label}: at most ${number(most)} ${unit}, last ${number(last?.value ?? 0)} ${unit}`}>
        <line class="axis" x1="0" x2={width} y1={height - 0.5} y2={height - 0.5} />
        {points.length > 0 ? <><path class="area" d={`${line}L${x(points.length - 1)} ${height}L${x(0)} ${height}Z`} /><path class="line" d={line} /></> : null}
        {last ? <circle class="dot" cx={x(points.length - 1)} cy={y(last.value)} r="3" /> : null}
      </svg>
      <figcaption class="legend"><span class="muted">{points.length ? `${dayClock(points[0]?.at ?? 0)} – ${dayClock(last?.at ?? 0)}` : ""}</span><span class="grow" /><span>highest {number(most < 1e-6 ? 0 : most)} {unit}</span></figcaption>
    </figure>
  );
}

/** Executions by the time of their start, for the bar on top of the list. */
export function bucketsOf(rows: readonly { createdMs: number; state: State }[], count: number): Bucket[] {
  if (rows.length === 0) return [];
  let from = Infinity;
  let to = -Infinity;
  for (const row of rows) { from = Math.min(from, row.createdMs); to = Math.max(to, row.createdMs); }
  const step = Math.max(1, (to - from + 1) / count);
  const buckets: Bucket[] = Array.from({ length: count }, (_, index) => ({ at: from + index * step, counts: {} }));
  for (const row of rows) {
    const bucket = buckets[Math.min(count - 1, Math.floor((row.createdMs - from) / step))];
    if (bucket) bucket.counts[row.state] = (bucket.counts[row.state] ?? 0) + 1;
  }
  return buckets;
}
