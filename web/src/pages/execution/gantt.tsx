// The Gantt: what ran when, which part of it was waiting, and the log of a task run in its place.
// The page scrolls; only the rows in view are drawn.
import type { JSX } from "preact";
import { useEffect, useLayoutEffect, useMemo, useRef, useState } from "preact/hooks";
import { outputsOf } from "../../lib/expressions";
import { foldsOf, refolded } from "../../lib/folds";
import { at, extent, rowsOf, segments, ticks, type Row } from "../../lib/gantt";
import { useKeys } from "../../lib/hooks";
import { isGroup, isOver, look, reasonText, rootFailure } from "../../lib/states";
import { bytes, clock, duration, exact, now, ticking } from "../../lib/time";
import { listOf, patch, query } from "../../lib/route";
import type { Attempt, Execution, LogLevel, TaskRun } from "../../lib/types";
import { uneven, windowOf } from "../../lib/virtual";
import { Copy, ExecutionLink, StateChip, StateIcon } from "../../ui/bits";
import { Icon } from "../../ui/icons";
import { Logs } from "../../ui/logs";
import { may } from "../../ui/shell";

const NARROW = "(max-width: 720px)";

interface Props { execution: Execution; runs: TaskRun[]; complete: boolean; version: number; replayFrom: (run: TaskRun) => void; openItems: (run: TaskRun) => void }

export function Gantt({ execution, runs, complete, version, replayFrom, openItems }: Props): JSX.Element {
  const narrow = useMedia(NARROW);
  const ROW = narrow ? 54 : 32;
  const PANEL = narrow ? 500 : 400;
  const asked = query.value.get("run");
  const failure = useMemo(() => (complete && execution.state !== "SUCCESS" ? rootFailure(runs) : null), [version, complete, execution.state]);
  const opened = useMemo(() => new Set(asked !== null ? listOf(asked) : failure ? [failure.id] : []), [asked, failure?.id]);
  const folds = useMemo(() => foldsOf(query.value), [query.value.get("open"), query.value.get("closed")]);
  const rows = useMemo(() => rowsOf(runs, folds, opened), [version, folds, opened]);
  const live = !isOver(execution.state);
  const present = live ? now.value : execution.endedMs ?? now.peek();
  const span = useMemo(() => extent(runs, present, execution.createdMs, execution.endedMs), [version, present]);
  const offsets = useMemo(() => uneven(rows.map((row) => ROW + (opened.has(row.run.id) ? PANEL : 0))), [rows, opened, ROW]);
  const [chosen, choose] = useState<string | null>(null);
  const cursor = useMemo(() => rows.findIndex((row) => row.run.id === chosen), [rows, chosen]);
  const setCursor = (index: number): void => choose(rows[index]?.run.id ?? null);

  const body = useRef<HTMLDivElement>(null);
  const [view, setView] = useState({ top: 0, height: 900 });
  useEffect(() => {
    let frame = 0;
    const measure = (): void => {
      frame = 0;
      const box = body.current?.getBoundingClientRect();
      if (box) setView({ top: Math.max(0, -box.top), height: globalThis.innerHeight });
    };
    const soon = (): void => { frame ||= requestAnimationFrame(measure); };
    measure();
    addEventListener("scroll", soon, { passive: true });
    addEventListener("resize", soon);
    return () => { removeEventListener("scroll", soon); removeEventListener("resize", soon); cancelAnimationFrame(frame); };
  }, []);
  const shown = windowOf(offsets, view.top, view.height, 10);

  const show = (index: number): void => {
    const box = body.current?.getBoundingClientRect();
    if (!box) return;
    const top = offsets.at(index) + box.top;
    const tall = offsets.at(index + 1) - offsets.at(index);
    if (top < 110) scrollBy({ top: top - 130 });
    else if (top + tall > innerHeight - 20) scrollBy({ top: Math.min(top - 130, top + tall - innerHeight + 40) });
  };

  // The failing row is brought into view once, without a click.
  const showed = useRef("");
  useLayoutEffect(() => {
    const target = asked === null ? failure?.id : listOf(asked)[0];
    const key = `${execution.id} ${target}`;
    if (!target || showed.current === key) return;
    const index = rows.findIndex((row) => row.run.id === target);
    if (index < 0) return;
    const first = showed.current === "" || asked === null;
    showed.current = key;
    setCursor(index);
    if (first) show(index);
  }, [rows, failure?.id, asked]);

  const toggle = (row: Row): void => {
    if (row.children > 0) {
      patch(refolded(query.value, row.run.id, row.next));
      return;
    }
    const next = new Set(opened);
    if (!next.delete(row.run.id)) next.add(row.run.id);
    patch({ run: [...next].join(",") || "none" });
  };
  const logs = (row: Row | undefined): void => { if (row && row.children === 0) toggle(row); };
  const current = rows[cursor];
  useKeys([
    { key: "j", label: "Next task run", run: () => { const next = Math.min(rows.length - 1, cursor + 1); setCursor(next); show(next); } },
    { key: "k", label: "Previous task run", run: () => { const next = Math.max(0, cursor - 1); setCursor(next); show(next); } },
    { key: "Enter", label: "Open", run: () => { if (current) toggle(current); } },
    { key: "l", label: "Logs of the task run", run: () => logs(current) },
  ]);

  const marks = ticks(span, narrow ? 4 : 8);
  return (
    <section class="gantt" aria-label="Gantt" data-rows={rows.length}>
      <div class="gantt-head">
        <div class="gantt-name muted">{rows.length} task run{rows.length === 1 ? "" : "s"}</div>
        <div class="gantt-axis" aria-hidden="true">
          {marks.filter((mark) => at(span[0] + mark, span) < (narrow ? 86 : 96)).map((mark) => <span key={mark} class="mark" style={{ left: `${at(span[0] + mark, span)}%` }}>{mark === 0 ? clock(span[0]) : `+${duration(mark).replace(" 00s", "").replace(/\.0 s/, " s").replace(/m 00s/, "m")}`}</span>)}
        </div>
      </div>
      <div class="gantt-body" ref={body} role="list" style={{ height: `${offsets.at(rows.length)}px` }}>
        <div class="gantt-window" style={{ transform: `translateY(${shown.before}px)` }} role="presentation">
          {rows.slice(shown.first, shown.last).map((row, offset) => (
            <GanttRow key={row.run.id} row={row} height={ROW} panel={PANEL} span={span} marks={marks} nowMs={present} current={shown.first + offset === cursor}
              open={opened.has(row.run.id)} toggle={() => { setCursor(shown.first + offset); toggle(row); }} execution={execution} replayFrom={replayFrom} openItems={openItems} />
          ))}
        </div>
      </div>
      <div class="gantt-legend muted" aria-hidden="true">
        <span><i class="seg seg-queue" />queued</span><span><i class="seg seg-provision" />provisioned</span><span><i class="seg seg-run tone-good" />ran</span><span><i class="seg seg-run tone-bad" />failed attempt ✕</span>
      </div>
    </section>
  );
}

interface RowProps {
  row: Row; height: number; panel: number; span: [number, number]; marks: number[]; nowMs: number; current: boolean; open: boolean;
  toggle: () => void; execution: Execution; replayFrom: (run: TaskRun) => void; openItems: (run: TaskRun) => void;
}

function GanttRow({ row, height, panel, span, marks, nowMs, current, open, toggle, execution, replayFrom, openItems }: RowProps): JSX.Element {
  const { run } = row;
  const parts = segments(run, nowMs, row.within);
  const end = parts.at(-1)?.toMs ?? span[0];
  const over = isOver(run.state);
  const whole = row.within && isGroup(run) ? parts[0] : undefined;
  const took = whole ? (over ? duration(whole.toMs - whole.fromMs) : ticking(nowMs - whole.fromMs)) : run.startedMs === null ? "" : over && run.endedMs !== null ? duration(run.endedMs - run.startedMs) : over ? "" : ticking(nowMs - run.startedMs);
  const left = at(parts[0]?.fromMs ?? span[0], span);
  const right = at(end, span);
  // Beside the bar where there is room, else on it.
  const room = right <= 84 ? { style: { left: `calc(${right}% + 6px)` }, name: "" } : left >= 14 ? { style: { right: `${100 - left + 0.6}%` }, name: " inside" } : { style: { right: `calc(${100 - right}% + 10px)` }, name: " on-bar" };
  return (
    <div class={`gantt-item${current ? " current" : ""}${open ? " open" : ""}`} role="listitem" data-run={run.id} data-name={run.name} data-state={run.state}>
      <div class="gantt-row" style={{ height: `${height}px` }}>
        <button type="button" class="gantt-name" aria-expanded={row.children > 0 ? row.open : open} onClick={toggle} title={`${run.name}: ${look(run.state).word}${run.message ? `\n${run.message}` : ""}`}
          style={{ paddingLeft: `${8 + row.depth * 16}px` }}>
          <Icon name={(row.children > 0 ? row.open : open) ? "down" : "right"} size={12} />
          <StateIcon state={run.state} />
          <span class="run-name">{run.name}</span>
          {typeof run.item === "string" || typeof run.item === "number" ? <span class="item muted">{String(run.item)}</span> : null}
          {row.children > 0 ? <span class="count" title={row.next === true && row.shown > 0 ? "Only failed ones are shown; press for all" : ""}>{row.open || row.shown === 0 ? row.children : `${row.shown} of ${row.children}`}</span> : null}
          {run.attempts.length > 1 ? <span class="tries muted" title={`${run.attempts.length} attempts`}>×{run.attempts.length}</span> : null}
          {run.reusedFrom ? <span class="tag">reused</span> : run.cached ? <span class="tag">cached</span> : null}
        </button>
        <div class="gantt-bars" onClick={toggle}>
          {marks.map((mark) => <i key={mark} class="grid" style={{ left: `${at(span[0] + mark, span)}%` }} />)}
          {parts.map((part) => {
            const left = at(part.fromMs, span);
            const width = at(part.toMs, span) - left;
            const tone = part.phase !== "run" ? "" : part.ends === "bad" ? "tone-bad" : part.ends === "live" ? "tone-run" : part.ends === "good" ? `tone-${run.state === "WARNING" ? "warn" : "good"}` : "tone-off";
            return <i key={`${part.attempt}${part.phase}`} class={`seg seg-${part.phase} ${tone}${isGroup(run) ? " seg-group" : ""}${part.ends === "live" && part.phase === "run" ? " seg-live" : ""}`}
              style={{ left: `${left}%`, width: `max(3px, ${width}%)` }}
              title={`${part.phase === "queue" ? "Queued" : part.phase === "provision" ? "Provisioned" : "Ran"} ${duration(part.toMs - part.fromMs)}${part.attempt > 0 ? `, attempt ${part.attempt}` : ""}\n${exact(part.fromMs)}`}>
              {part.phase === "run" && part.ends === "bad" && !isGroup(run) ? <span class="seg-fail">✕</span> : null}</i>;
          })}
          {took ? <span class={`bar-took num${room.name}`} style={room.style}>{took}</span>
            : parts.length === 0 ? <span class="bar-took muted">{look(run.state).word.toLowerCase()}{run.reason ? `: ${reasonText(run.reason)}` : ""}</span> : null}
        </div>
      </div>
      {open ? <Panel run={run} execution={execution} height={panel} replayFrom={replayFrom} openItems={openItems} children={row.children} /> : null}
    </div>
  );
}

function Panel({ run, execution, height, replayFrom, openItems, children }: { run: TaskRun; execution: Execution; height: number; replayFrom: (run: TaskRun) => void; openItems: (run: TaskRun) => void; children: number }): JSX.Element {
  const params = query.value;
  const wanted = params.get("attempt") ? Number(params.get("attempt")) : null;
  const last = run.attempts.at(-1)?.attempt ?? null;
  const attempt = run.attempts.find((one) => one.attempt === wanted) ?? run.attempts.at(-1) ?? null;
  const about: Attempt | TaskRun = attempt ?? run;
  return (
    <div class="gantt-panel" style={{ height: `${height}px` }}>
      <div class="panel-head">
        <StateChip state={run.state} small />
        {run.attempts.length > 1 ? (
          <span class="attempts" role="group" aria-label="Attempts">
            {run.attempts.map((one) => (
              <button key={one.attempt} type="button" aria-pressed={one.attempt === attempt?.attempt} title={`Attempt ${one.attempt}: ${look(one.state).word}`}
                onClick={() => patch({ attempt: one.attempt === last ? null : String(one.attempt) })}><StateIcon state={one.state} />{one.attempt}</button>
            ))}
          </span>
        ) : null}
        {about.reason ? <span class="panel-reason">{reasonText(about.reason, about.exitCode)}</span> : null}
        <span class="panel-facts muted">
          {about.usage?.peakRssBytes ? <span>peak {bytes(about.usage.peakRssBytes)}</span> : null}
          {about.usage?.cpuSeconds ? <span>{about.usage.cpuSeconds.toFixed(1)} CPU s</span> : null}
          {about.exitCode !== null && about.exitCode !== 0 && !/exit/i.test(about.reason ?? "") ? <span>exit code {about.exitCode}</span> : null}
          {run.reusedFrom ? <span>reused with its log from <ExecutionLink id={run.reusedFrom} /></span> : null}
        </span>
        <span class="grow" />
        <span class="panel-actions">{children > 0 || isGroup(run) ? <button type="button" class="button ghost" onClick={() => openItems(run)}><Icon name="item" size={14} />Items</button> : null}
        <Copy plain text={`{{ ${outputsOf(run)} }}`} label="Copy the expression of its outputs">Expression</Copy>
        {isOver(execution.state) && may("operate") ? <button type="button" class="button ghost" onClick={() => replayFrom(run)}><Icon name="replay" size={14} />Replay from here</button> : null}</span>
      </div>
      {about.message ? <p class={`panel-message tone-${look(about.state).tone}`}>{about.message}</p> : null}
      <Logs key={`${run.id}/${attempt?.attempt ?? 0}`} execution={execution.id} taskRun={run.id} attempt={attempt?.attempt ?? null} focus={about.state === "FAILED" ? "error" : "end"}
        level={params.get("level") as LogLevel | null} grep={params.get("grep") ?? ""} label={`Log of ${run.name}`}
        change={(changes) => patch({ ...("level" in changes ? { level: changes.level } : {}), ...("grep" in changes ? { grep: changes.grep } : {}) })} />
    </div>
  );
}

export function useMedia(media: string): boolean {
  const [matches, set] = useState(() => matchMedia(media).matches);
  useEffect(() => {
    const list = matchMedia(media);
    const change = (): void => set(list.matches);
    list.addEventListener("change", change);
    return () => list.removeEventListener("change", change);
  }, [media]);
  return matches;
}
