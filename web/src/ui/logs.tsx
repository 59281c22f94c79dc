// A log of any length: the end first, earlier lines when one scrolls up, new ones as they are written.
// Only the lines in view are drawn. Level and search are applied by the server, which has all lines.
import type { JSX } from "preact";
import { useEffect, useLayoutEffect, useMemo, useRef, useState } from "preact/hooks";
import { API, ApiError, get, route, url } from "../lib/api";
import { useDebounced, useSize } from "../lib/hooks";
import { compare, keyOf, LEVELS, LogBuffer, lastError, plain } from "../lib/logs";
import { patch, query } from "../lib/route";
import { stream, type Connection } from "../lib/sse";
import { clock, exact, number } from "../lib/time";
import type { LogLevel, LogLine, LogPage } from "../lib/types";
import { even, uneven, windowOf } from "../lib/virtual";
import { Toggle, Trouble } from "./bits";
import { Icon } from "./icons";

const LINE = 20;
const PAGE = 1_000;
/** Rows that leave one end of the view are taken for those that come in at the other, which costs less than new ones. */
const RING = 1_024;
/** Above every sequence number: "the last lines". JSON numbers are exact up to here. */
const END = Number.MAX_SAFE_INTEGER;
/** Lines read of an execution as a whole; more are looked at task run by task run. */
const ALL_MAX = 50_000;
const NARROW = "(max-width: 720px)";

interface Props {
  execution: string;
  taskRun?: string | null;
  attempt?: number | null;
  /** Where the view begins: at the last error, or at the end. */
  focus?: "error" | "end";
  names?: ReadonlyMap<string, string>;
  level: LogLevel | null;
  grep: string;
  change: (changes: { level?: LogLevel | null; grep?: string }) => void;
  label: string;
}

export function Logs({ execution, taskRun = null, attempt = null, focus = "end", names, level, grep, change, label }: Props): JSX.Element {
  const buffer = useRef(new LogBuffer());
  const [version, setVersion] = useState(0);
  const [error, setError] = useState<ApiError | null>(null);
  const [connection, setConnection] = useState<Connection>("connecting");
  const [loaded, setLoaded] = useState(false);
  const [ended, setEnded] = useState(false);
  // How it is shown is in the address: whoever is sent it sees the same.
  const asked = { follow: query.value.get("follow"), wrap: query.value.get("wrap") };
  const [follow, setFollow] = useState(asked.follow === null ? focus === "end" : asked.follow === "1");
  const narrow = useMemo(() => matchMedia(NARROW).matches, []);
  const wrap = asked.wrap === null ? narrow : asked.wrap === "1";
  /** A search that has not looked at all earlier lines goes on before this one. */
  const [searched, setSearched] = useState<number | null>(null);
  const [searching, setSearching] = useState(false);
  const [leftOut, setLeftOut] = useState<string | null>(null);
  const [marked, setMarked] = useState<string | null>(null);
  const [scrollTop, setScrollTop] = useState(0);
  const [again, setAgain] = useState(0);
  const byTime = taskRun === null && query.value.get("order") === "time";
  const [cut, setCut] = useState(false);
  const [box, size] = useSize<HTMLDivElement>();
  const followNow = useRef(follow);
  followNow.current = follow;
  const earlier = useRef(false);
  const held = useRef<{ key: string; offset: number } | null>(null);
  const wanted = useDebounced(grep, 300);
  const at = route("executions", execution, "logs");
  const filter = { taskRun, attempt, level, q: wanted };
  const filtered = level !== null || grep !== "";
  const key = JSON.stringify([execution, filter, again]);

  useEffect(() => {
    const mine = new LogBuffer(taskRun !== null);
    buffer.current = mine;
    const abort = new AbortController();
    let frame = 0;
    let waiting: LogLine[] = [];
    let open: { close(): void } | null = null;
    const refresh = (): void => setVersion((old) => old + 1);
    const flush = (): void => {
      frame = 0;
      if (waiting.length === 0) return;
      mine.add(waiting);
      waiting = [];
      refresh();
    };
    setLoaded(false); setEnded(false); setError(null); setMarked(null); setSearched(null); setSearching(false); setLeftOut(null);
    refresh();
    const follow = (after: number | null): void => {
      // With an id the server goes on after it; on the first connection we say so ourselves.
      open = stream((lastId) => url(`${at}/stream`, { ...filter, after: lastId === null ? after : null }), {
        connection: setConnection,
        event: (event) => {
          if (event.event === "end") { flush(); setEnded(true); return; }
          if (event.event === "left-out") { setLeftOut(JSON.parse(event.data) as string); return; }
          if (event.event !== "line") return;
          waiting.push(JSON.parse(event.data) as LogLine);
          frame ||= requestAnimationFrame(flush);
        },
      });
    };
    const fail = (failure: unknown): void => { if (failure instanceof ApiError) setError(failure); };
    // All attempts have no common numbers: they are read from their beginning, one after the other.
    const readAll = async (): Promise<void> => {
      mine.complete = true;
      for (let cursor: string | null = null; ;) {
        const page: LogPage = await get<LogPage>(at, { ...filter, cursor, limit: PAGE }, abort.signal);
        mine.add(page.items);
        setLoaded(true);
        refresh();
        if (page.ended) { setEnded(true); setConnection("ended"); return; }
        setLeftOut(page.leftOut);
        setSearching(page.more && page.items.length < PAGE);
        if (!page.more || mine.lines.length > ALL_MAX) break;
        cursor = page.next;
      }
      if (mine.lines.length > ALL_MAX) { setCut(true); return; }
      follow(null);
    };
    setCut(false);
    if (taskRun === null) void readAll().catch(fail);
    else get<LogPage>(at, { ...filter, before: END, limit: PAGE }, abort.signal).then((page) => {
      mine.add(page.items);
      mine.complete = !page.more;
      setSearched(page.searchedUpTo);
      const error = focus === "error" ? lastError(mine.lines) : -1;
      const found = mine.lines[error];
      if (found) { setMarked(keyOf(found)); setFollow(false); followNow.current = false; }
      setLoaded(true);
      refresh();
      if (page.ended) { setEnded(true); setConnection("ended"); return; }
      // What a filter hides counts as read: `next` is the last line that was looked at.
      follow(Math.max(mine.last?.seq ?? -1, Number(page.next ?? -1)) >= 0 ? Math.max(mine.last?.seq ?? -1, Number(page.next ?? -1)) : null);
    }, fail);
    return () => { abort.abort(); open?.close(); cancelAnimationFrame(frame); };
  }, [key]);

  const lines = useMemo(() => (byTime ? buffer.current.lines.toSorted(compare) : buffer.current.lines), [version, byTime]);
  const cell = 7.25;
  const gutter = size.width < 560 ? 104 : names ? 330 : 190;
  const columns = Math.max(20, Math.floor((size.width - gutter - 24) / cell));
  const offsets = useMemo(() => (wrap ? uneven(lines.map((line) => Math.max(1, Math.ceil(width(line.text) / columns)) * LINE)) : even(lines.length, LINE)),
    [lines, version, wrap, columns]);
  const total = offsets.at(lines.length);
  const shown = windowOf(offsets, Math.max(0, scrollTop - LINE), size.height, 20);

  // Where the view stands after lines came: at the end, at the error, or where the reader was.
  const settled = useRef("");
  useLayoutEffect(() => {
    const element = box.current;
    if (!element || !loaded) return;
    if (held.current) {
      const index = lines.findIndex((line) => keyOf(line) === held.current?.key);
      if (index >= 0) element.scrollTop = offsets.at(index) + held.current.offset;
      held.current = null;
    } else if (settled.current !== key && size.height > 0) {
      settled.current = key;
      const index = marked === null ? -1 : lines.findIndex((line) => keyOf(line) === marked);
      element.scrollTop = index >= 0 ? Math.max(0, offsets.at(index) - size.height * 0.6) : element.scrollHeight;
    } else if (followNow.current) element.scrollTop = element.scrollHeight;
    setScrollTop(element.scrollTop);
  }, [version, loaded, size.height, wrap, ended, byTime]);

  const onScroll = (): void => {
    const element = box.current;
    if (!element) return;
    setScrollTop(element.scrollTop);
    const below = element.scrollHeight - element.scrollTop - element.clientHeight;
    if (!ended) setFollow(below < LINE * 1.5);
    if (element.scrollTop < LINE * 40) void loadEarlier();
  };

  const loadEarlier = async (): Promise<void> => {
    const mine = buffer.current;
    const before = searched ?? mine.first?.seq ?? null;
    if (earlier.current || taskRun === null || mine.complete || before === null) return;
    earlier.current = true;
    setSearching(true);
    try {
      const page = await get<LogPage>(at, { ...filter, before, limit: PAGE });
      if (mine !== buffer.current) return;
      const element = box.current;
      const first = mine.lines[shown.first];
      const top = mine.lines[0];
      if (element && (first ?? top)) {
        const anchor = (first ?? top) as LogLine;
        const index = mine.lines.indexOf(anchor);
        held.current = { key: keyOf(anchor), offset: element.scrollTop - offsets.at(index) };
      }
      mine.add(page.items);
      if (!page.more) mine.complete = true;
      setSearched(page.searchedUpTo);
      setVersion((old) => old + 1);
    } catch (failure) {
      if (failure instanceof ApiError) setError(failure);
    } finally {
      earlier.current = false;
      if (mine === buffer.current) setSearching(false);
    }
  };

  // A search that has found less than a view of lines goes on by itself, one request after the other.
  useEffect(() => {
    if (loaded && searched !== null && !buffer.current.complete && lines.length * LINE < size.height + LINE * 40) void loadEarlier();
  }, [loaded, searched, version]);

  const jump = (to: "start" | "end"): void => {
    const element = box.current;
    if (!element) return;
    element.scrollTop = to === "end" ? element.scrollHeight : 0;
    if (to === "end") setFollow(true);
  };

  return (
    <section class="logs" aria-label={label}>
      <div class="logs-bar">
        <label class="select"><span class="sr">Lowest level</span>
          <select value={level ?? ""} onChange={(event) => change({ level: (event.currentTarget.value || null) as LogLevel | null })}>
            <option value="">All levels</option>
            {LEVELS.slice(1).map((one) => <option key={one} value={one}>{one === "ERROR" ? "Errors" : `${one} and above`}</option>)}
          </select></label>
        <label class="search"><Icon name="search" size={14} /><span class="sr">Search in the log</span>
          <input data-filter type="search" placeholder="Search  ( / )" value={grep} onInput={(event) => change({ grep: event.currentTarget.value })} /></label>
        <span class="logs-state muted" data-connection={ended ? "ended" : connection}>
          {ended ? "Complete" : connection === "live" ? <><i class="pulse" />Live</> : connection === "waiting" ? "Reconnecting…" : "Connecting…"}
        </span>
        <span class="grow" />
        {ended ? null : <Toggle on={follow} set={(on) => { setFollow(on); patch({ follow: on === (focus === "end") ? null : on ? "1" : "0" }); if (on) jump("end"); }} title="Stay at the newest line"><Icon name="end" size={14} />Follow</Toggle>}
        {taskRun === null ? <Toggle on={byTime} set={(on) => patch({ order: on ? "time" : null })} title="One order for all task runs, instead of one task run after the other">By time</Toggle> : null}
        <Toggle on={wrap} set={(on) => patch({ wrap: on === narrow ? null : on ? "1" : "0" })} title="Break long lines">Wrap</Toggle>
        <a class="icon-button" href={`${API}${at}/download${taskRun ? `?taskRun=${encodeURIComponent(taskRun)}${attempt === null ? "" : `&attempt=${attempt}`}` : ""}`} download aria-label="Download the log" title="Download the log"><Icon name="download" /></a>
      </div>
      {error ? <Trouble error={error} retry={() => setAgain((old) => old + 1)} /> : null}
      <div class={`log-lines${wrap ? " wrapped" : ""}`} ref={box} role="log" aria-live="off" aria-label={label} tabIndex={0} onScroll={onScroll}
        data-lines={lines.length} data-ended={ended ? "true" : "false"}>
        <div class="log-mark">{!loaded ? "Loading…" : buffer.current.complete ? (searching ? "Searching…" : lines.length > 0 ? "Start of log" : "") : searching && filtered ? `Searching before line ${number(searched ?? 0)}…` : "Earlier lines load as you scroll up"}</div>
        <div class="log-body" style={{ height: `${total}px` }}>
          <div class="log-window" style={{ transform: `translateY(${shown.before}px)` }}>
            {lines.slice(shown.first, shown.last).map((line, offset) => (
              <Row key={(shown.first + offset) % RING} line={line} height={offsets.at(shown.first + offset + 1) - offsets.at(shown.first + offset)}
                name={names ? names.get(line.taskRun) ?? line.taskRun : null} marked={keyOf(line) === marked} grep={wanted} />
            ))}
          </div>
        </div>
        {leftOut ? <div class="log-mark">{leftOut}</div> : null}
        {loaded ? <div class={`log-mark${ended ? " log-end" : ""}`}>
          {cut ? `The first ${number(lines.length)} lines. Choose a task run, or download the log, for the rest.` : ended ? (lines.length === 0 ? (filtered ? (buffer.current.complete ? "No line matches" : "No line matches so far") : "Nothing was written") : `End of log · ${buffer.current.complete ? `${number(lines.length)} ${filtered ? "matching " : ""}line${lines.length === 1 ? "" : "s"}` : `up to line ${number(buffer.current.last?.seq ?? 0)}`}`)
            : lines.length === 0 ? (filtered ? "No line matches so far" : "Nothing written yet") : <><i class="pulse" />More to come</>}
        </div> : null}
      </div>
    </section>
  );
}

function Row({ line, height, name, marked, grep }: { line: LogLine; height: number; name: string | null; marked: boolean; grep: string }): JSX.Element {
  return (
    <div class={`log-line level-${line.level.toLowerCase()}${marked ? " marked" : ""}`} data-seq={line.seq} style={{ height: `${height}px` }}>
      <span class="seq">{line.seq}</span>
      <time title={exact(line.timeMs)}>{clock(line.timeMs)}</time>
      {name === null ? null : <span class="name" title={name}>{name}</span>}
      <span class="level">{line.level}</span>
      <span class="text">{marks(plain(line.text), grep)}</span>
    </div>
  );
}

/** Cells of a monospaced font; characters of East Asian scripts take two. */
function width(text: string): number {
  // eslint-disable-next-line no-control-regex
  if (/^[\x20-\x7e]*$/.test(text)) return text.length;
  let cells = 0;
  for (const char of text) cells += char > "\u1100" && /[\u1100-\u115f\u2e80-\ua4cf\uac00-\ud7a3\uf900-\ufaff\ufe30-\ufe6f\uff00-\uff60]/.test(char) ? 2 : char === "\t" ? 8 : 1;
  return cells;
}

function marks(text: string, grep: string): JSX.Element | string {
  if (!grep) return text;
  const wanted = grep.toLowerCase();
  const lower = text.toLowerCase();
  const parts: (JSX.Element | string)[] = [];
  let at = 0;
  for (let index = lower.indexOf(wanted); index >= 0; index = lower.indexOf(wanted, at)) {
    parts.push(text.slice(at, index), <mark key={index}>{text.slice(index, index + wanted.length)}</mark>);
    at = index + wanted.length;
  }
  parts.push(text.slice(at));
  return <>{parts}</>;
}
