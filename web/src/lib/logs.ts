// The lines of a log as they are known: each once, in order, whatever order they came in.
//
// Sequence numbers are without gaps within an attempt. A log of several attempts is ordered by time, then by
// task run and sequence number, and a line is known by all three.
import type { LogLevel, LogLine } from "./types";

export const LEVELS: LogLevel[] = ["TRACE", "DEBUG", "INFO", "WARN", "ERROR"];

/** Lines kept; above it the end that is not looked at is let go and can be loaded again. */
export const LINES_MAX = 200_000;

export function keyOf(line: LogLine): string {
  return `${line.taskRun}/${line.attempt}/${line.seq}`;
}

export function compare(a: LogLine, b: LogLine): number {
  if (a.taskRun === b.taskRun && a.attempt === b.attempt) return a.seq - b.seq;
  return a.timeMs - b.timeMs || a.taskRun.localeCompare(b.taskRun) || a.attempt - b.attempt || a.seq - b.seq;
}

export class LogBuffer {
  readonly lines: LogLine[] = [];
  /** Whether the first line of the log is here. */
  complete = false;
  private readonly keys = new Set<string>();

  /** With `sorted` lines find their place by themselves; without it they stay as they came, each once. */
  constructor(private readonly sorted = true, private readonly most = LINES_MAX) {}

  get first(): LogLine | null { return this.lines[0] ?? null; }
  get last(): LogLine | null { return this.lines.at(-1) ?? null; }

  /** Takes lines in. Returns how many were put before those already known, so that the view can stay in place. */
  add(items: readonly LogLine[]): number {
    const fresh = items.filter((line) => { const key = keyOf(line); return !this.keys.has(key) && this.keys.add(key); });
    const head = fresh[0];
    const tail = fresh.at(-1);
    if (!head || !tail) return 0;
    const { first, last } = this;
    if (!this.sorted || !last || !first || (compare(last, head) < 0 && ascending(fresh))) return this.append(fresh);
    if (compare(tail, first) < 0 && ascending(fresh)) { this.lines.unshift(...fresh); return fresh.length; }
    this.append(fresh);
    this.lines.sort(compare);
    return fresh.filter((line) => compare(line, first) < 0).length;
  }

  private append(items: readonly LogLine[]): number {
    for (const line of items) this.lines.push(line);
    if (this.sorted && !ascending(this.lines.slice(-items.length))) this.lines.sort(compare);
    if (this.lines.length > this.most) {
      for (const line of this.lines.splice(0, this.lines.length - this.most)) this.keys.delete(keyOf(line));
      this.complete = false;
    }
    return 0;
  }
}

function ascending(items: readonly LogLine[]): boolean {
  for (let index = 1; index < items.length; index += 1) {
    if (compare(items[index - 1] as LogLine, items[index] as LogLine) >= 0) return false;
  }
  return true;
}

/** Index of the last line that tells of an error; the last line if none does; -1 without lines. */
export function lastError(lines: readonly LogLine[]): number {
  for (let index = lines.length - 1; index >= 0; index -= 1) if (lines[index]?.level === "ERROR") return index;
  for (let index = lines.length - 1; index >= 0; index -= 1) {
    // `ValueError` is one, `0 errors` is none.
    if (/(error|exception)\b|\b(fatal|panic|panicked|traceback)\b/i.test(lines[index]?.text ?? "")) return index;
  }
  return lines.length - 1;
}

/** Escape sequences of terminals are not for a page. */
export function plain(text: string): string {
  return text.includes("\u001b") ? text.replace(/\u001b\[[0-9;?]*[ -/]*[@-~]/g, "").replace(/\u001b[@-_]/g, "") : text;
}
