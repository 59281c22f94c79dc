// One execution as it is now: loaded once, then kept up to date by its stream of events.
import { useEffect, useRef, useState } from "preact/hooks";
import { ApiError, get, pages, route, url } from "../../lib/api";
import { stream, type Connection } from "../../lib/sse";
import { FAILED_FIRST, RUNS_MAX, Runs } from "../../lib/runs";
import { isOver } from "../../lib/states";
import type { Execution, ExecutionSummary, Page, TaskRun } from "../../lib/types";

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
  const state = useRef<Kept>(fresh(id));
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
    const loadDetail = async (): Promise<void> => {
      const execution = await get<Execution>(route("executions", id), {}, abort.signal);
      now.execution = execution;
      now.error = null;
      refresh();
    };
    const loadRuns = async (surely: boolean): Promise<void> => {
      const at = route("executions", id, "task-runs");
      // What failed is read by itself: it may be behind all that is kept, and it is what is looked for.
      const failed = get<Page<TaskRun>>(at, { state: "FAILED", limit: FAILED_FIRST }, abort.signal).then((page) => {
        for (const run of page.items) now.kept.take(run, surely);
        refresh();
      });
      const all = pages<TaskRun>(at, {}, { first: 200, then: 1_000, most: RUNS_MAX }, (items, more) => {
        for (const run of items) now.kept.take(run, surely);
        if (more && now.kept.full) now.kept.cut = true;
        refresh();
      }, abort.signal);
      await Promise.all([failed, all]);
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
          if (event.event === "task-run") { now.kept.take(JSON.parse(event.data) as TaskRun); refresh(); }
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
  return {
    execution: now.execution, runs: now.kept.list, complete: now.complete, cut: now.kept.cut, error: now.error,
    connection: now.connection, version: now.version, reload: () => setRound((old) => old + 1),
  };
}

type Kept = Omit<Live, "reload" | "runs" | "cut"> & { kept: Runs; id: string };

function fresh(id: string): Kept {
  return { id, execution: null, complete: false, error: null, connection: "connecting", version: 0, kept: new Runs() };
}
