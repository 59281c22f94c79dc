// What an operator may do to executions, each with what it means for running containers.
import type { JSX } from "preact";
import { look } from "./states";
import { go, path } from "./route";
import { post, route } from "./api";
import { ask } from "../ui/dialog";
import type { BulkReport, Execution, ExecutionSummary, TaskRun } from "./types";

type Target = Pick<ExecutionSummary, "id" | "flow" | "state">;

export function canKill(of: Pick<ExecutionSummary, "state">): boolean {
  return !look(of.state).over && of.state !== "KILLING";
}
export function canRestart(of: Pick<ExecutionSummary, "state">): boolean {
  return of.state === "FAILED" || of.state === "KILLED" || of.state === "CANCELLED" || of.state === "WARNING";
}
export function canReplay(of: Pick<ExecutionSummary, "state">): boolean {
  return look(of.state).over;
}

function running(runs?: readonly TaskRun[]): JSX.Element {
  if (!runs) return <>Containers that run for it</>;
  const live = runs.filter((run) => run.attempts.some((attempt) => attempt.endedMs === null && attempt.startedMs !== null));
  if (live.length === 0) return <>No container of it runs at this moment. Those that have started by then</>;
  const names = live.slice(0, 3).map((run) => run.name).join(", ");
  return <><b>{live.length} running container{live.length === 1 ? "" : "s"}</b> ({names}{live.length > 3 ? ", …" : ""})</>;
}

export function kill(of: Target, runs?: readonly TaskRun[], done?: () => void): void {
  ask({
    title: `Kill this execution of ${of.flow}?`,
    danger: true,
    verb: "Kill",
    consequences: <ul>
      <li>{running(runs)} are told to stop, and killed if still there after the grace period. That nothing is left is verified.</li>
      <li>Executions that it started are killed, too.</li>
      <li>What waits is cancelled. Outputs that are stored stay, and it can be restarted.</li>
    </ul>,
    act: async () => { await post(route("executions", of.id, "kill")); done?.(); return "Killing: containers are being stopped"; },
  });
}

export function restart(of: Target, done?: () => void): void {
  ask({
    title: `Restart what has not succeeded?`,
    verb: "Restart",
    consequences: <ul>
      <li>The same execution goes on: task runs that failed, were killed or never began start again with a new attempt, each in a new container.</li>
      <li>No running container is stopped. Task runs that succeeded are not repeated.</li>
    </ul>,
    act: async () => { await post(route("executions", of.id, "restart")); done?.(); return "Restarted"; },
  });
}

export function retryFailed(of: Target, failed: number, done?: () => void): void {
  ask({
    title: `Retry the ${failed} failed item${failed === 1 ? "" : "s"}?`,
    verb: "Retry failed",
    consequences: <ul>
      <li>Failed items begin again, with a new attempt in a new container each. Those that succeeded are not touched.</li>
      <li>What follows their loop runs again, because the loop's outputs change: also if it succeeded without them.</li>
      <li>No running container is stopped. The results join the same execution.</li>
    </ul>,
    act: async () => { await post(route("executions", of.id, "retry-failed")); done?.(); return `Retrying ${failed} item${failed === 1 ? "" : "s"}`; },
  });
}

export function resume(of: Target, taskRun: string | null, goOn: boolean, inputs: Record<string, unknown>, done?: () => void): void {
  ask({
    title: goOn ? "Approve, and go on?" : "Decline?",
    danger: !goOn,
    verb: goOn ? "Approve" : "Decline",
    consequences: goOn
      ? <p>The pause ends and the tasks after it start in new containers. What runs beside it is not touched.</p>
      : <p>The pause fails, and the execution with it as the flow says. Containers that run in other branches go on to their end.</p>,
    act: async () => { await post(route("executions", of.id, "resume"), { taskRun, goOn, inputs }); done?.(); return goOn ? "Approved" : "Declined"; },
  });
}

export async function replay(of: Execution | ExecutionSummary, from: string, revision: number | null): Promise<void> {
  const made = await post<{ id: string }>(route("executions", of.id, "replay"), { from, ...(revision ? { revision } : {}) });
  go(path("executions", made.id));
}

/** What a bulk action means, for its preview. */
export const BULK: Record<string, { verb: string; danger?: boolean; meaning: string }> = {
  kill: { verb: "Kill", danger: true, meaning: "Running containers are told to stop, and killed if still there after the grace period. Executions they started are killed, too. What waits is cancelled." },
  restart: { verb: "Restart", meaning: "What has not succeeded begins again in new containers. No running container is stopped." },
  resume: { verb: "Resume", meaning: "Pauses end and the tasks after them start in new containers." },
  "retry-failed": { verb: "Retry failed items", meaning: "Failed items begin again, and what follows their loop, in new containers. No running container is stopped." },
};

export type Report = BulkReport & { action: string };
