// The list of executions. Filters are in the address; the first page is asked for again and again, so states live.
import type { JSX } from "preact";
import { useEffect, useMemo, useRef, useState } from "preact/hooks";
import { ApiError, get, post } from "../lib/api";
import { BULK, kill, type Report } from "../lib/actions";
import { useData, useDebounced, useKeys, useTitle } from "../lib/hooks";
import { go, listOf, path, patch, query, toggled, withQuery } from "../lib/route";
import { FILTER_STATES, look, reasonText } from "../lib/states";
import { number, since, now } from "../lib/time";
import type { BulkReport, ExecutionSummary, LastTask, Page } from "../lib/types";
import { bucketsOf, StackedBars } from "../ui/charts";
import { Dialog, say, attempt } from "../ui/dialog";
import { Icon } from "../ui/icons";
import { may } from "../ui/shell";
import { Empty, ExecutionLink, FlowLink, Labels, Skeleton, StateChip, StateIcon, Took, Trouble, When } from "../ui/bits";

const PAGE = 100;
/** Of a thousand executions each, for one action on all that match. */
const BULK_PAGES = 20;
const LIVE_MS = 1_200;
const RANGES = [["", "Any time"], ["1h", "Last hour"], ["24h", "Last day"], ["7d", "Last week"], ["30d", "Last month"]] as const;

type Filter = Record<string, string | number | null>;

/** The filters of the address as the API takes them. */
export function filterOf(params: URLSearchParams, nowMs: number): Filter {
  return {
    namespace: params.get("namespace"), flow: params.get("flow"), state: params.get("state"), label: params.get("label"),
    q: params.get("q"), from: since(params.get("from"), nowMs), to: since(params.get("to"), nowMs),
  };
}

export function Executions(): JSX.Element {
  useTitle("Executions");
  const params = query.value;
  const key = params.toString();
  const first = useData(`executions?${key}`, (signal) => get<Page<ExecutionSummary>>("/executions", { ...filterOf(params, Date.now()), limit: PAGE }, signal), LIVE_MS);
  return <List key={key} first={first.data} error={first.error} reload={first.reload} params={params} />;
}

/** The list on the page of a flow: the same, with the flow given. */
export function ExecutionsOf({ namespace, flow }: { namespace: string; flow: string }): JSX.Element {
  const params = new URLSearchParams(query.value);
  params.delete("tab");
  params.set("namespace", namespace);
  params.set("flow", flow);
  const key = params.toString();
  const first = useData(`executions?${key}`, (signal) => get<Page<ExecutionSummary>>("/executions", { ...filterOf(params, Date.now()), limit: PAGE }, signal), LIVE_MS);
  return <List first={first.data} error={first.error} reload={first.reload} params={params} within />;
}

interface ListProps { first: Page<ExecutionSummary> | null; error: ApiError | null; reload: () => void; params: URLSearchParams; within?: boolean }

function List({ first, error, reload, params, within }: ListProps): JSX.Element {
  const [cursor, setCursor] = useState<string | null | undefined>(undefined);
  const [selected, select] = useState<ReadonlySet<string>>(new Set());
  const [all, setAll] = useState(false);
  const [matched, setMatched] = useState<string | null>(null);
  const [at, move] = useState(-1);
  const [bulk, setBulk] = useState<{ action: string; filter: Filter } | null>(null);
  /** Every row that was read, as it was read last. */
  const seen = useRef(new Map<string, ExecutionSummary>());
  const [loadingMore, setLoadingMore] = useState(false);
  const body = useRef<HTMLTableSectionElement>(null);

  const rows = useMemo(() => {
    const newest = first?.items ?? [];
    for (const row of newest) seen.current.set(row.id, row);
    // Nothing earlier is shown: the first page is all.
    if (cursor === undefined) return newest;
    // What new executions have pushed out of the first page is still there, behind it.
    const end = newest.at(-1)?.createdMs ?? Infinity;
    const there = new Set(newest.map((row) => row.id));
    const earlier = [...seen.current.values()].filter((row) => !there.has(row.id) && row.createdMs <= end);
    return [...newest, ...earlier.sort((one, two) => two.createdMs - one.createdMs || (one.id < two.id ? 1 : -1))];
  }, [first, cursor]);
  const next = cursor === undefined ? first?.next ?? null : cursor;

  const loadMore = async (): Promise<void> => {
    if (!next || loadingMore) return;
    setLoadingMore(true);
    try {
      const page = await get<Page<ExecutionSummary>>("/executions", { ...filterOf(params, Date.now()), limit: PAGE, cursor: next });
      for (const row of page.items) seen.current.set(row.id, row);
      setCursor(page.next);
    } catch (failure) {
      say(failure instanceof ApiError ? failure.message : String(failure), true);
    }
    setLoadingMore(false);
  };

  const current = rows[at];
  useKeys([
    { key: "j", label: "Next row", run: () => move(Math.min(rows.length - 1, at + 1)) },
    { key: "k", label: "Previous row", run: () => move(Math.max(0, at - 1)) },
    { key: "Enter", label: "Open", run: () => current && go(path("executions", current.id)) },
    { key: "l", label: "Logs", run: () => current && go(path("executions", current.id) + "?tab=logs") },
    ...(may("operate") ? [
      { key: "x", label: "Kill", run: () => current && (look(current.state).over ? say("It is over: there is nothing to kill") : kill(current, undefined, reload)) },
      { key: "r", label: "Replay", run: () => current && go(path("executions", current.id) + "?replay=1") },
      { key: " ", label: "Select", run: () => current && select(flip(selected, current.id)) },
    ] : []),
  ]);
  useEffect(() => { if (at >= 0) body.current?.querySelectorAll("tr")[at]?.scrollIntoView({ block: "nearest" }); }, [at]);

  const buckets = useMemo(() => bucketsOf(rows, Math.min(60, Math.max(12, rows.length))), [rows]);
  const base = within ? path("flows", params.get("namespace") ?? "", params.get("flow") ?? "") : "/executions";
  const labelHref = (key: string, value: string): string => base + withQuery(within ? withTab(params) : params, { label: `${key}:${value}` });
  const chosen = rows.filter((row) => selected.has(row.id));
  const whole = rows.length > 0 && chosen.length === rows.length;
  // How many match is said before anything is done to them.
  const counted = whole && next !== null;
  useEffect(() => {
    if (!counted) return;
    let gone = false;
    setMatched(null);
    countOf(filterOf(params, now.peek())).then((count) => { if (!gone) setMatched(count); }, (failure: unknown) => say(failure instanceof ApiError ? failure.message : String(failure), true));
    return () => { gone = true; };
  }, [counted]);
  const hasFilter = ["namespace", "flow", "state", "label", "q", "from", "to"].some((name) => params.has(name) && !(within && (name === "namespace" || name === "flow")));

  return (
    <div class={within ? "within" : "page"}>
      {within ? null : <div class="page-head"><h1>Executions</h1><span class="muted">{rows.length}{next ? "+" : ""} shown, newest first</span></div>}
      <Filters params={params} within={within} clear={hasFilter} />
      {rows.length > 0 ? <div class="card pad-small"><StackedBars buckets={buckets} height={64} label={`Executions shown by start, ${rows.length} in all`} pick={(state) => patch({ state })} /></div> : null}
      {error ? <Trouble error={error} retry={reload} /> : null}
      {!first && !error ? <Skeleton rows={10} /> : null}
      {first && rows.length === 0 ? <Empty title={hasFilter ? "No execution matches" : "No execution yet"}>
        {hasFilter ? <a href={base + (within ? "?tab=executions" : "")}>Take all filters away</a> : <>Start one from the page of a <a href="/flows">flow</a>, or with <code>operon run</code>.</>}
      </Empty> : null}
      {rows.length > 0 ? <>
        <div class="table-wrap" tabIndex={0} role="region" aria-label="Executions">
          <table class="table executions">
            <thead><tr>
              <th class="check"><input type="checkbox" aria-label="Select all shown" checked={whole} ref={(box) => { if (box) box.indeterminate = !whole && chosen.length > 0; }}
                onChange={() => { select(whole ? new Set() : new Set(rows.map((row) => row.id))); setAll(false); }} /></th>
              <th>State</th>{within ? null : <th>Flow</th>}<th>Execution</th><th>Created</th><th class="right">Duration</th><th>Last task</th><th class="wide-only roomy">Cause</th><th class="roomy">Labels</th>
            </tr></thead>
            <tbody ref={body}>
              {rows.map((row, index) => (
                <tr key={row.id} data-id={row.id} class={index === at ? "current" : ""} aria-selected={selected.has(row.id)}
                  onClick={(event) => { if (!(event.target as Element).closest("a,button,input")) go(path("executions", row.id)); }}>
                  <td class="check"><input type="checkbox" aria-label={`Select ${row.id}`} checked={selected.has(row.id)} onChange={() => { select(flip(selected, row.id)); setAll(false); }} /></td>
                  <td class="state"><StateChip state={row.state} />{row.reason ? <span class="reason" title={reasonText(row.reason)}>{reasonText(row.reason)}</span> : null}</td>
                  {within ? null : <td class="flow"><FlowLink of={row} /></td>}
                  <td class="id"><ExecutionLink id={row.id} />{row.replayOf ? <span class="muted tiny"> replay</span> : null}</td>
                  <td class="when"><When at={row.createdMs} /></td>
                  <td class="right took"><Took from={row.startedMs} to={row.endedMs} /></td>
                  <td class="last-task"><Last of={row.lastTask} /></td>
                  <td class="wide-only roomy muted">{row.trigger?.type ?? (row.parent ? "execution" : "by hand")}</td>
                  <td class="labels-cell roomy"><Labels labels={row.labels} href={labelHref} most={3} /></td>
                </tr>
              ))}
            </tbody>
          </table>
        </div>
        {next ? <p class="more"><button type="button" class="button" disabled={loadingMore} onClick={() => void loadMore()}>{loadingMore ? "Loading…" : "Show earlier"}</button></p>
          : <p class="muted more">That is all.</p>}
      </> : null}
      {chosen.length > 0 && may("operate") ? (
        <div class="bulk" role="region" aria-label="Actions on the selection">
          <b>{all ? `All ${matched ?? ""} that match` : `${chosen.length} selected`}</b>
          {whole && next && !all ? <button type="button" class="button ghost" disabled={matched === null} onClick={() => setAll(true)}>{matched === null ? "Counting what matches…" : `Select all ${matched} that match the filter`}</button> : null}
          <span class="grow" />
          {Object.entries(BULK).map(([action, { verb, danger }]) => <button key={action} type="button" class={`button${danger ? " danger-quiet" : ""}`} onClick={() => setBulk({ action, filter: filterOf(params, now.peek()) })}>{verb}</button>)}
          <button type="button" class="icon-button" aria-label="Select nothing" onClick={() => { select(new Set()); setAll(false); }}><Icon name="close" /></button>
        </div>
      ) : null}
      {bulk ? <Bulk action={bulk.action} ids={all ? null : chosen.map((row) => row.id)} filter={bulk.filter}
        close={() => setBulk(null)} done={() => { select(new Set()); setAll(false); reload(); }} /> : null}
    </div>
  );
}

/** Where an execution has come to, with the attempts of that task if it needed more than one. */
function Last({ of }: { of: LastTask | undefined }): JSX.Element | null {
  if (!of) return null;
  const words = `${of.task}: ${look(of.state).word.toLowerCase()}${of.attempts > 1 ? `, ${of.attempts} attempts` : ""}`;
  return <span title={words}><StateIcon state={of.state} /> <code>{of.task}</code>{of.attempts > 1 ? <span class="muted"> ×{of.attempts}<span class="sr"> attempts</span></span> : null}</span>;
}

function withTab(params: URLSearchParams): URLSearchParams {
  const next = new URLSearchParams(params);
  next.delete("namespace"); next.delete("flow"); next.set("tab", "executions");
  return next;
}

function flip(set: ReadonlySet<string>, id: string): Set<string> {
  const next = new Set(set);
  if (!next.delete(id)) next.add(id);
  return next;
}

function Filters({ params, within, clear }: { params: URLSearchParams; within?: boolean; clear: boolean }): JSX.Element {
  const states = listOf(params.get("state"));
  const [text, setText] = useState(params.get("q") ?? "");
  const rested = useDebounced(text, 300);
  const known = useRef(params.get("q") ?? "");
  useEffect(() => { if (rested !== known.current) { known.current = rested; patch({ q: rested }); } }, [rested]);
  // On a phone these stay behind a button unless one of them is set.
  const rest = ["namespace", "flow", "label", "from"].filter((name) => params.has(name) && !(within && (name === "namespace" || name === "flow"))).length;
  const [more, setMore] = useState(rest > 0);
  const clearHref = within ? path("flows", params.get("namespace") ?? "", params.get("flow") ?? "") + "?tab=executions" : "/executions";
  return (
    <form class={`filters${more ? " with-more" : ""}`} role="search" onSubmit={(event) => event.preventDefault()}>
      <label class="search"><Icon name="search" size={14} /><span class="sr">Search by id or flow</span>
        <input data-filter type="search" placeholder="Id or flow  ( / )" value={text} onInput={(event) => setText(event.currentTarget.value)} /></label>
      <button type="button" class="button narrow-only" aria-expanded={more} onClick={() => setMore(!more)}><Icon name={more ? "down" : "right"} size={13} />Filters{rest > 0 ? <span class="count">{rest}</span> : null}</button>
      {within ? null : <>
        <Field name="namespace" label="Namespace" value={params.get("namespace")} />
        <Field name="flow" label="Flow" value={params.get("flow")} />
      </>}
      <Field name="label" label="Label key:value" value={params.get("label")} />
      <label class="select"><span class="sr">Created</span>
        <select value={params.get("from") ?? ""} onChange={(event) => patch({ from: event.currentTarget.value })}>
          {RANGES.map(([value, label]) => <option key={value} value={value}>{label}</option>)}
          {params.get("from") && !RANGES.some(([value]) => value === params.get("from")) ? <option value={params.get("from") ?? ""}>since {params.get("from")}</option> : null}
        </select></label>
      {clear ? <a class="button ghost" href={clearHref}><Icon name="close" size={14} />Clear</a> : null}
      <div class="state-filter" role="group" aria-label="States">
        {FILTER_STATES.map((state) => {
          const on = states.includes(state);
          return <button key={state} type="button" class={`chip chip-filter tone-${look(state).tone}`} aria-pressed={on} onClick={() => patch({ state: toggled(states, state).join(",") })}>
            <Icon name={look(state).icon} size={13} />{look(state).word}</button>;
        })}
      </div>
    </form>
  );
}

function Field({ name, label, value }: { name: string; label: string; value: string | null }): JSX.Element {
  const [text, setText] = useState(value ?? "");
  useEffect(() => setText(value ?? ""), [value]);
  const apply = (): void => { if (text !== (value ?? "")) patch({ [name]: text.trim() }); };
  return <label class="field"><span class="sr">{label}</span><input placeholder={label} value={text} onInput={(event) => setText(event.currentTarget.value)}
    onBlur={apply} onKeyDown={(event) => { if (event.key === "Enter") apply(); }} /></label>;
}

/** How many match, in words: changing no label of them is possible for all, so that trying it counts them. */
async function countOf(filter: Filter): Promise<string> {
  const wanted = Object.fromEntries(Object.entries(filter).filter(([, value]) => value !== null));
  const report = await whole({ action: "labels", labels: {}, query: wanted, dryRun: true });
  return `${number(report.matched)}${report.next ? "+" : ""}`;
}

/** Asks page by page, so that what is skipped hides nothing that is behind it. */
async function whole(wish: Record<string, unknown>): Promise<BulkReport> {
  let report = await post<BulkReport>("/executions/bulk", wish);
  for (let page = 1; report.next && page < BULK_PAGES; page++) {
    const next = await post<BulkReport>("/executions/bulk", { ...wish, cursor: report.next });
    report = { ...next, matched: report.matched + next.matched, done: report.done + next.done, skipped: [...report.skipped, ...next.skipped], preview: report.preview };
  }
  return report;
}

/** First what would happen to how many, then a report of what did. */
function Bulk({ action, ids, filter, close, done }: {
  action: string; ids: string[] | null; filter: Filter; close: () => void; done: () => void;
}): JSX.Element {
  const about = BULK[action] ?? { verb: action, meaning: "" };
  const [report, setReport] = useState<Report | null>(null);
  const [busy, setBusy] = useState(false);
  const target = ids ? { ids } : { query: Object.fromEntries(Object.entries(filter).filter(([, value]) => value !== null)) };
  const preview = useData(`bulk ${action} ${JSON.stringify(target)}`, () => whole({ action, ...target, dryRun: true }));
  const act = (): Promise<void> => attempt(async () => {
    setBusy(true);
    try {
      setReport({ ...(await whole({ action, ...target, dryRun: false })), action });
      done();
    } finally { setBusy(false); }
  });
  const would = preview.data;
  const count = would?.done ?? 0;
  if (report) {
    return (
      <Dialog title={`${about.verb}: report`} close={close} foot={<button type="button" class="button primary" onClick={close} autoFocus>Close</button>}>
        <p class="report"><b>{report.done}</b> of {report.matched} done{report.skipped.length > 0 ? <>, <b>{report.skipped.length}</b> skipped</> : null}.</p>
        {report.more ? <p>More match than are done at once. Do it again for the rest.</p> : null}
        <Skipped report={report} />
      </Dialog>
    );
  }
  return (
    <Dialog title={`${about.verb}: preview`} close={close} foot={<>
      <button type="button" class="button" onClick={close}>Leave it</button>
      <button type="button" class={`button ${about.danger ? "danger" : "primary"}`} disabled={!would || count === 0 || busy} onClick={() => void act()} autoFocus>{about.verb}{would ? ` ${count}` : ""}</button>
    </>}>
      {preview.error ? <Trouble error={preview.error} retry={preview.reload} /> : null}
      {!would && !preview.error ? <Skeleton rows={2} /> : null}
      {would ? <p class="report"><b>{count}</b> of {would.matched} execution{would.matched === 1 ? "" : "s"} will be changed{would.more ? " at once; ask again for the rest" : ""}{would.skipped.length > 0 ? <>, {would.skipped.length} skipped</> : null}.</p> : null}
      <p>{about.meaning}</p>
      {would ? <Skipped report={would} /> : null}
    </Dialog>
  );
}

function Skipped({ report }: { report: BulkReport }): JSX.Element | null {
  if (report.skipped.length === 0) return null;
  return (
    <table class="table compact"><thead><tr><th>Skipped</th><th>Reason</th></tr></thead><tbody>
      {report.skipped.slice(0, 200).map((one) => <tr key={one.id}><td><ExecutionLink id={one.id} /></td><td>{one.reason}</td></tr>)}
      {report.skipped.length > 200 ? <tr><td colSpan={2} class="muted">and {report.skipped.length - 200} more</td></tr> : null}
    </tbody></table>
  );
}

