// What a state means to the eye: a tone, an icon of its own and a word. Never colour alone.
import type { State, TaskRun } from "./types";

export type Tone = "good" | "run" | "bad" | "warn" | "wait" | "pause" | "off";

interface Look { tone: Tone; icon: string; word: string; over: boolean }

const LOOKS: Record<State, Look> = {
  CREATED: { tone: "wait", icon: "dots", word: "Created", over: false },
  SUBMITTED: { tone: "wait", icon: "launch", word: "Submitted", over: false },
  QUEUED: { tone: "wait", icon: "clock", word: "Queued", over: false },
  RUNNING: { tone: "run", icon: "run", word: "Running", over: false },
  PAUSED: { tone: "pause", icon: "pause", word: "Paused", over: false },
  RETRYING: { tone: "warn", icon: "retry", word: "Retrying", over: false },
  RETRIED: { tone: "off", icon: "retry", word: "Retried", over: true },
  RESTARTED: { tone: "run", icon: "retry", word: "Restarted", over: false },
  KILLING: { tone: "bad", icon: "stop", word: "Killing", over: false },
  SUCCESS: { tone: "good", icon: "check", word: "Success", over: true },
  WARNING: { tone: "warn", icon: "warn", word: "Warning", over: true },
  FAILED: { tone: "bad", icon: "cross", word: "Failed", over: true },
  KILLED: { tone: "off", icon: "stop", word: "Killed", over: true },
  CANCELLED: { tone: "off", icon: "slash", word: "Cancelled", over: true },
  SKIPPED: { tone: "off", icon: "skip", word: "Skipped", over: true },
};

export const STATES = Object.keys(LOOKS) as State[];

/** States offered as filters, in the order of an operator's interest. */
export const FILTER_STATES: State[] = [
  "RUNNING", "FAILED", "PAUSED", "QUEUED", "RETRYING", "KILLING", "WARNING", "SUCCESS", "KILLED", "CANCELLED", "CREATED",
];

/** Order of segments in stacked bars: what is over at the bottom, trouble on top. */
export const STACK_STATES: State[] = [
  "SUCCESS", "SKIPPED", "CANCELLED", "KILLED", "RETRIED", "CREATED", "SUBMITTED", "QUEUED", "RUNNING", "RESTARTED", "PAUSED", "RETRYING",
  "KILLING", "WARNING", "FAILED",
];

const UNKNOWN: Look = { tone: "wait", icon: "dots", word: "Unknown", over: false };

export function look(state: State | string | null | undefined): Look {
  return LOOKS[state as State] ?? { ...UNKNOWN, word: state ? title(state) : "Waiting" };
}

export function isOver(state: State | string): boolean {
  return look(state).over;
}

function title(word: string): string {
  return word.charAt(0) + word.slice(1).toLowerCase().replaceAll("_", " ");
}

/** The reason words of the engine as sentences for people. */
export function reasonText(reason: string | null | undefined, exitCode?: number | null): string {
  if (!reason || reason === "none") return "";
  const word = reason.replaceAll("_", " ").replaceAll("-", " ");
  if (/^exit ?code$/i.test(word) && exitCode !== null && exitCode !== undefined) return `exit code ${exitCode}`;
  return word.replace(/([a-z])([A-Z])/g, "$1 $2").toLowerCase();
}

/** Whether a task run holds other task runs, so that it has no attempts of its own. */
export function isGroup(run: { kind: string }): boolean {
  return run.kind === "group" || run.kind === "choice" || run.kind === "loop";
}

export function isLoop(run: { kind: string }): boolean {
  return run.kind === "loop";
}

/**
 * The task run that explains the failure: the earliest end among failed ones that had an attempt,
 * since later failures often follow from it.
 */
export function rootFailure(runs: readonly TaskRun[]): TaskRun | null {
  let best: TaskRun | null = null;
  for (const run of runs) {
    if (run.state !== "FAILED" || isGroup(run)) continue;
    if (!best || rank(run) < rank(best)) best = run;
  }
  return best;
  function rank(run: TaskRun): number {
    return (run.attempts.length > 0 ? 0 : 1e15) + (run.endedMs ?? run.createdMs);
  }
}

/** What a program said last, without that it ended, which is told beside it. */
export function said(message: string | null): string | null {
  return message === null ? null : message.replace(/^`[^`]*` ended with exit code \d+: (?=.)/, "");
}
