import { afterEach, describe, expect, it, vi } from "vitest";
import { list } from "../src/lib/api";
import { backfillShare, backfillWord } from "../src/lib/backfill";
import { Runs } from "../src/lib/runs";
import { rootFailure } from "../src/lib/states";
import { atLeast } from "../src/lib/time";
import type { TaskRun } from "../src/lib/types";
import { middle } from "../src/ui/bits";

afterEach(() => vi.unstubAllGlobals());

/** A server whose list has so many rows. */
function serve(rows: number): string[] {
  const asked: string[] = [];
  vi.stubGlobal("fetch", async (address: string) => {
    asked.push(address);
    const query = new URLSearchParams(address.split("?")[1]);
    const from = Number(query.get("cursor") ?? 0);
    const to = Math.min(rows, from + Number(query.get("limit")));
    const items = Array.from({ length: to - from }, (_, index) => from + index);
    return new Response(JSON.stringify({ items, next: to < rows ? String(to) : null }), { headers: { "Content-Type": "application/json" } });
  });
  return asked;
}

describe("a whole list", () => {
  it("comes page by page, and each row once", async () => {
    const asked = serve(2_500);
    const { items, next } = await list<number>("/flows", { namespace: "a" });
    expect(items).toEqual(Array.from({ length: 2_500 }, (_, index) => index));
    expect(next).toBeNull();
    expect(asked).toHaveLength(3);
    expect(asked.every((one) => one.includes("namespace=a"))).toBe(true);
  });
  it("says that there is more than is shown", async () => {
    serve(9_000);
    const { items, next } = await list<number>("/flows", {}, undefined, 1_500);
    expect([items.length, next]).toEqual([1_500, "1500"]);
  });
});

const run = (id: string, state: string, endedMs = 1): TaskRun => ({
  id, task: "t", name: id, item: null, parent: null, kind: "task", state, reason: null, message: null, exitCode: null,
  createdMs: 0, startedMs: 0, endedMs, outputs: null, metrics: [], usage: null,
  attempts: [{ attempt: 1, state, reason: null, message: null, exitCode: null, createdMs: 0, startedMs: 0, endedMs }],
} as unknown as TaskRun);

describe("task runs that are kept", () => {
  it("hold what failed, however many there are", () => {
    const runs = new Runs(10, 2);
    for (let index = 0; index < 20; index += 1) runs.take(run(`0:${index}`, "SUCCESS"));
    expect([runs.list.length, runs.cut, runs.full]).toEqual([10, true, true]);
    runs.take(run("0:30", "FAILED", 5));
    runs.take(run("0:31", "FAILED", 9));
    runs.take(run("0:32", "FAILED", 3));
    expect(rootFailure(runs.list)?.id).toBe("0:30");
    expect(runs.list).toHaveLength(12);
  });
  it("hold as many others as ever when failed ones came first", () => {
    const runs = new Runs(10, 5);
    for (let index = 0; index < 5; index += 1) runs.take(run(`9:${index}`, "FAILED"));
    for (let index = 0; index < 20; index += 1) runs.take(run(`0:${index}`, "SUCCESS"));
    expect(runs.list).toHaveLength(15);
    // One that failed and was retried counts among the others.
    runs.take(run("9:0", "SUCCESS"), true);
    expect(runs.full).toBe(true);
  });
});

describe("words", () => {
  it("cut a name in its middle", () => {
    expect(middle("short", 36)).toBe("short");
    expect(middle("abcdefghij", 5)).toBe("ab…ij");
    expect(middle("organisation.department.team.project", 20)).toHaveLength(20);
  });
  it("say that a count is the least", () => {
    expect([atLeast(1_000, true), atLeast(3, false)]).toEqual(["≥ 1\u202f000", "3"]);
  });
  it("tell how far a backfill is", () => {
    const state = { fromMs: 100, toMs: 200, nextMs: 150, paused: false, over: false, started: 1, skipped: 0, active: 1 };
    expect([backfillShare(state), backfillWord(state)]).toEqual([0.5, "going on"]);
    expect(backfillWord({ ...state, paused: true })).toBe("paused");
    expect(backfillWord({ ...state, over: true })).toBe("ended");
    expect(backfillWord({ ...state, over: true, nextMs: 200 })).toBe("done");
    expect(backfillShare({ ...state, nextMs: 999 })).toBe(1);
  });
});
