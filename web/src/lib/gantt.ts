// From task runs to bars: rows in the order of their start, phases of each attempt, and a scale for time.
import { isGroup, isOver } from "./states";
import type { TaskRun } from "./types";

export type Phase = "queue" | "provision" | "run";

export interface Segment {
  phase: Phase;
  fromMs: number;
  toMs: number;
  attempt: number;
  /** How the attempt ended, at the end of its last segment; "live" while it has not. */
  ends: "good" | "bad" | "live" | "off" | null;
}

export interface Row {
  run: TaskRun;
  depth: number;
  /** How many it has, and how many of them are shown although it is closed. */
  children: number;
  shown: number;
  open: boolean;
  /** What pressing it does: opens it, closes it, or (null) leaves it as it is by itself. */
  next: boolean | null;
  /** Of what has task runs inside: when the first of them began, and when the last one ended or null. */
  within: Within | null;
}

export type Within = readonly [fromMs: number, toMs: number | null];

/**
 * What a task run did when. Waiting before an attempt is `queue` (for its turn, a place, or the next
 * retry), from the claim to the start of the process is `provision`, then it runs.
 */
export function segments(run: TaskRun, nowMs: number, within: Within | null = null): Segment[] {
  // A group does nothing itself: it lasts as long as what is in it.
  if (within && isGroup(run)) {
    const end = isOver(run.state) ? within[1] ?? run.endedMs ?? nowMs : nowMs;
    return [{ phase: "run", fromMs: within[0], toMs: Math.max(within[0], end), attempt: 0, ends: endOf(run.state) }];
  }
  if (run.attempts.length === 0) {
    if (!isGroup(run) || run.startedMs === null) {
      if (run.startedMs === null) return [];
    }
    const end = run.endedMs ?? nowMs;
    return [{ phase: "run", fromMs: run.startedMs ?? run.createdMs, toMs: end, attempt: 0, ends: endOf(run.state) }];
  }
  const found: Segment[] = [];
  let free = run.createdMs;
  const add = (phase: Phase, fromMs: number, toMs: number, attempt: number): void => {
    if (toMs > fromMs) found.push({ phase, fromMs, toMs, attempt, ends: null });
  };
  for (const attempt of run.attempts) {
    add("queue", Math.min(free, attempt.createdMs), attempt.createdMs, attempt.attempt);
    const end = attempt.endedMs ?? nowMs;
    const start = attempt.startedMs;
    if (start === null) add("provision", attempt.createdMs, end, attempt.attempt);
    else {
      add("provision", attempt.createdMs, start, attempt.attempt);
      // A process that ended within the millisecond still ran.
      found.push({ phase: "run", fromMs: start, toMs: Math.max(start, end), attempt: attempt.attempt, ends: null });
    }
    const last = found.at(-1);
    if (last && last.attempt === attempt.attempt) last.ends = endOf(attempt.state);
    free = end;
  }
  if (!isOver(run.state) && run.attempts.at(-1)?.endedMs != null && nowMs > free) {
    found.push({ phase: "queue", fromMs: free, toMs: nowMs, attempt: run.attempts.length + 1, ends: "live" });
  }
  return found;
}

function endOf(state: string): Segment["ends"] {
  if (!isOver(state)) return "live";
  return state === "FAILED" ? "bad" : state === "SUCCESS" || state === "WARNING" ? "good" : "off";
}

/** Earliest and latest moment of a set of task runs; a live one reaches to the present. */
export function extent(runs: readonly TaskRun[], nowMs: number, fromMs?: number | null, toMs?: number | null): [number, number] {
  let from = fromMs ?? Number.POSITIVE_INFINITY;
  let to = toMs ?? Number.NEGATIVE_INFINITY;
  for (const run of runs) {
    if (run.createdMs > 0) from = Math.min(from, run.createdMs);
    to = Math.max(to, run.endedMs ?? (isOver(run.state) ? run.createdMs : nowMs));
  }
  if (!Number.isFinite(from)) from = nowMs;
  if (!Number.isFinite(to)) to = from;
  return [from, Math.max(to, from + 1)];
}

/** Position of a moment in percent of the extent. */
export function at(ms: number, [from, to]: readonly [number, number]): number {
  return Math.min(100, Math.max(0, ((ms - from) / (to - from)) * 100));
}

const STEPS = [
  1, 2, 5, 10, 20, 50, 100, 200, 500, 1_000, 2_000, 5_000, 10_000, 15_000, 30_000, 60_000, 120_000, 300_000, 600_000, 900_000,
  1_800_000, 3_600_000, 7_200_000, 10_800_000, 21_600_000, 43_200_000, 86_400_000,
];

/** Round distances from the start for at most `most` marks. */
export function ticks([from, to]: readonly [number, number], most: number): number[] {
  const span = to - from;
  const step = STEPS.find((one) => span / one <= most) ?? Math.ceil(span / most / 86_400_000) * 86_400_000;
  const marks: number[] = [];
  for (let mark = 0; mark <= span; mark += step) marks.push(mark);
  return marks;
}

/** What is shown of a loop with many items until it is opened: so many of the failed ones. */
const FAILED_SHOWN = 5;

/** A group with more task runs than this is closed by itself. */
export const CLOSED_ABOVE = 24;

/**
 * Rows as shown: sorted by start, children below their parent. A parent with many children stays closed until it
 * is opened; until then only those in `kept` and the first that failed are shown. `open` overrides: of what it closes,
 * only those in `kept` are shown.
 */
export function rowsOf(runs: readonly TaskRun[], open: ReadonlyMap<string, boolean>, kept: ReadonlySet<string> = new Set()): Row[] {
  const children = new Map<string, TaskRun[]>();
  const names = new Map<string, string>();
  for (const run of runs) { names.set(run.id, run.id); if (!names.has(run.name)) names.set(run.name, run.id); }
  const roots: TaskRun[] = [];
  for (const run of runs) {
    const parent = run.parent === null ? undefined : names.get(run.parent);
    if (parent === undefined || parent === run.id) roots.push(run);
    else {
      const list = children.get(parent);
      if (list) list.push(run);
      else children.set(parent, [run]);
    }
  }
  const rows: Row[] = [];
  const seen = new Set<string>();
  const spans = new Map<string, Within | null>();
  const withinOf = (run: TaskRun): Within | null => {
    const known = spans.get(run.id);
    if (known !== undefined) return known;
    // Before its children are looked at: one that names itself as its parent must not go on for ever.
    spans.set(run.id, null);
    let from = Infinity;
    let to: number | null = -Infinity;
    for (const child of children.get(run.id) ?? []) {
      const inside = withinOf(child);
      const start = inside?.[0] ?? startOf(child);
      if (start === NEVER) continue;
      from = Math.min(from, start);
      const end = inside ? inside[1] : child.endedMs;
      to = to === null || end === null ? null : Math.max(to, end);
    }
    const found: Within | null = from === Infinity ? null : [from, to];
    spans.set(run.id, found);
    return found;
  };
  const began = (run: TaskRun): number => withinOf(run)?.[0] ?? startOf(run);
  const visit = (list: TaskRun[], depth: number): void => {
    for (const run of list.sort((a, b) => began(a) - began(b) || byPlace(a, b))) {
      if (seen.has(run.id)) continue;
      seen.add(run.id);
      const below = children.get(run.id) ?? [];
      const few = below.length <= CLOSED_ABOVE;
      const said = open.get(run.id);
      const isOpen = said ?? few;
      const least = below.filter((one) => kept.has(one.id));
      const between = few ? least : worth(below, kept);
      const some = isOpen ? below : said === undefined ? between : least;
      const next = pressed(said, few, between.length > least.length);
      rows.push({ run, depth, children: below.length, shown: some.length, open: isOpen, next, within: withinOf(run) });
      if (some.length > 0) visit(some, depth + 1);
    }
  };
  visit(roots, 0);
  return rows;
}

/** A large group with failed ones has three looks: these by itself, then all, then none of them. Every other group has two. */
function pressed(said: boolean | undefined, few: boolean, failed: boolean): boolean | null {
  if (few) return said === false ? null : false;
  if (said === undefined) return true;
  if (said) return failed ? false : null;
  return failed ? null : true;
}

function worth(list: TaskRun[], kept: ReadonlySet<string>): TaskRun[] {
  const failed = new Set(list.filter((run) => run.state === "FAILED").sort((a, b) => (a.endedMs ?? 0) - (b.endedMs ?? 0)).slice(0, FAILED_SHOWN));
  return list.filter((run) => kept.has(run.id) || failed.has(run));
}

/** What has not started comes last, in the order of the flow. */
const NEVER = Number.MAX_SAFE_INTEGER;

function byPlace(a: TaskRun, b: TaskRun): number {
  return a.createdMs - b.createdMs || slot(a.id) - slot(b.id) || a.id.localeCompare(b.id);
}

function startOf(run: TaskRun): number {
  return run.attempts[0]?.createdMs ?? run.startedMs ?? NEVER;
}

function slot(id: string): number {
  const found = /(\d+)$/.exec(id);
  return found ? Number(found[1]) : 0;
}
