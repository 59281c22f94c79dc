// The task runs of an execution that a page keeps: all of most executions, of a large fan-out the first ones, and what failed.
import { isOver } from "./states";
import type { TaskRun } from "./types";

/** Task runs kept in the page; of a larger fan-out the rest is in its table, page by page. */
export const RUNS_MAX = 4_000;
/** Failed ones that are asked for by themselves, and kept above that limit. */
export const FAILED_FIRST = 200;

export class Runs {
  /** Whether there are more than are kept. */
  cut = false;
  private readonly byId = new Map<string, TaskRun>();
  private failed = 0;
  private known: TaskRun[] | null = null;

  constructor(private readonly most = RUNS_MAX, private readonly failedMost = FAILED_FIRST) {}

  /** Whether no other task run is kept, unless it failed. */
  get full(): boolean { return this.byId.size - this.failed >= this.most; }

  get list(): TaskRun[] { return (this.known ??= [...this.byId.values()]); }

  /** Takes in what is known of a task run now; `surely` if nothing newer can be known of it. */
  take(run: TaskRun, surely = false): void {
    const before = this.byId.get(run.id);
    const bad = run.state === "FAILED";
    if (!before && this.full && !(bad && this.failed < this.failedMost)) { this.cut = true; return; }
    if (before && !surely && older(run, before)) return;
    this.failed += Number(bad) - Number(before?.state === "FAILED");
    this.byId.set(run.id, run);
    this.known = null;
  }
}

/** A page that was read while events came may be behind them: fewer attempts, or not yet over. */
export function older(run: TaskRun, known: TaskRun): boolean {
  if (run.attempts.length !== known.attempts.length) return run.attempts.length < known.attempts.length;
  const mine = run.attempts.at(-1);
  const theirs = known.attempts.at(-1);
  if (mine && theirs) return mine.endedMs === null && theirs.endedMs !== null;
  return !isOver(run.state) && isOver(known.state) && run.endedMs === null;
}
