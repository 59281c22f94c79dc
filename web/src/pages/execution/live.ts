// One execution as it is now: loaded once, then kept up to date by its stream of events.
import { useEffect, useRef, useState } from "preact/hooks";
import { ApiError, get, pages, route, url } from "../../lib/api";
import { stream, type Connection } from "../../lib/sse";
import { isOver } from "../../lib/states";
import type { Execution, ExecutionSummary, TaskRun } from "../../lib/types";

/** Task runs kept in the page; of a larger fan-out the rest is in its table, page by page. */
export const RUNS_MAX = 4_000;

const OVER_POLL_MS = 2_000;

export interface Live {
  execution: Execution | null;
  runs: TaskRun[];
  /** Whether all task runs (up to the limit) have been read. */
  complete: boolean;
  /** Whether there are more than are kept. */
  cut: boolean;
  error: ApiError | null;
  connection: Connection;
  version: number;
  reload: () => void;
}

export function useExecution(id: string): Live {
  const [, setVersion] = useState(0);
  const [round, setRound] = useState(0);
  const state = useRef<Omit<Live, "reload" | "runs"> & { byId: Map<string, TaskRun>; list: TaskRun[] | null; id: string }>(fresh(id));
  if (state.current.id !== id) state.current = fresh(id);

  useEffect(() => {
    const now = state.current;
    const abort = new AbortController();
    let frame = 0;
    let events: { close(): void } | null = null;
    let detail: ReturnType<typeof setTimeout> | undefined;
    let gone = false;

    const refresh = (): void => {
      if (gone) return;
      frame ||= requestAnimationFrame(() => { frame = 0; now.version += 1; setVersion((old) => old + 1); });
    };
    const failed = (error: unknown): void => {
      if (error instanceof ApiError && !gone) { now.error = error; refresh(); }
    };
    const take = (run: TaskRun, surely = false): void => {
      if (now.byId.size >= RUNS_MAX && !now.byId.has(run.id)) { now.cut = true; return; }
      const known = now.byId.get(run.id);
      if (known && !surely && older(run, known)) return;
      now.byId.set(run.id, run);
      now.list = null;
    };
    const loadDetail = async (): Promise<void> => {
      const execution = await get<Execution>(route("executions", id), {}, abort.signal);
      now.execution = execution;
      now.error = null;
      refresh();
    };
    const loadRuns = async (surely: boolean): Promise<void> => {
      await pages<TaskRun>(route("executions", id, "task-runs"), {}, { first: 200, then: 1_000, most: RUNS_MAX }, (items, more) => {
        for (const run of items) take(run, surely);
        now.cut = more && now.byId.size >= RUNS_MAX;
        refresh();
      }, abort.signal);
      now.complete = true;
      refresh();
    };
    // What the summary does not have (history, outputs, cost) is read again soon after it changed.
    const soon = (ms: number): void => {
      clearTimeout(detail);
      detail = setTimeout(() => void loadDetail().catch(failed), ms);
    };

    const load = (surely = false): Promise<void[]> => Promise.all([loadDetail(), loadRuns(surely)]);
    // Somebody may restart what is over: nothing is sent about it, so it is asked for.
    const watch = (): void => {
      clearTimeout(detail);
      detail = setTimeout(() => {
        if (document.hidden) { watch(); return; }
        loadDetail().then(() => {
          if (gone) return;
          if (now.execution && !isOver(now.execution.state)) setRound((old) => old + 1);
          else watch();
        }, (error: unknown) => { failed(error); watch(); });
      }, OVER_POLL_MS);
    };
    void load(true).then(() => {
      if (gone) return;
      if (now.execution && isOver(now.execution.state)) { now.connection = "ended"; refresh(); watch(); return; }
      let first = true;
      events = stream(() => url(route("executions", id, "events")), {
        connection: (connection) => {
          now.connection = connection;
          refresh();
        },
        open: (resumed) => {
          // Whatever happened between the reading and this connection was not sent: read once more.
          if (!resumed && !first) void load().catch(failed);
          if (first) void load().catch(failed);
          first = false;
        },
        event: (event) => {
          if (event.event === "task-run") { take(JSON.parse(event.data) as TaskRun); refresh(); }
          else if (event.event === "refresh") void load().catch(failed);
          else if (event.event === "execution") {
            const change = JSON.parse(event.data) as Partial<ExecutionSummary>;
            if (now.execution) now.execution = { ...now.execution, ...change };
            refresh();
            soon(150);
          } else if (event.event === "end") void load().then(watch, failed);
        },
      });
    }, failed);
    return () => { gone = true; abort.abort(); events?.close(); clearTimeout(detail); cancelAnimationFrame(frame); };
  }, [id, round]);

  const now = state.current;
  now.list ??= [...now.byId.values()];
  return {
    execution: now.execution, runs: now.list, complete: now.complete, cut: now.cut, error: now.error,
    connection: now.connection, version: now.version, reload: () => setRound((old) => old + 1),
  };
}

function fresh(id: string): Omit<Live, "reload" | "runs"> & { byId: Map<string, TaskRun>; list: TaskRun[] | null; id: string } {
  return { id, execution: null, complete: false, cut: false, error: null, connection: "connecting", version: 0, byId: new Map(), list: null };
}

/** A page that was read while events came may be behind them: fewer attempts, or not yet over. */
export function older(run: TaskRun, known: TaskRun): boolean {
  if (run.attempts.length !== known.attempts.length) return run.attempts.length < known.attempts.length;
  const mine = run.attempts.at(-1);
  const theirs = known.attempts.at(-1);
  if (mine && theirs) return mine.endedMs === null && theirs.endedMs !== null;
  return !isOver(run.state) && isOver(known.state) && run.endedMs === null;
}
