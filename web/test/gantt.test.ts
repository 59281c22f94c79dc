import { describe, expect, it } from "vitest";
import { at, extent, rowsOf, segments, ticks } from "../src/lib/gantt";
import { rootFailure, said } from "../src/lib/states";
import type { Attempt, State, TaskRun } from "../src/lib/types";

const attempt = (number: number, state: State, createdMs: number, startedMs: number | null, endedMs: number | null): Attempt =>
  ({ attempt: number, state, reason: null, message: null, exitCode: null, createdMs, startedMs, endedMs });
const run = (id: string, extra: Partial<TaskRun> = {}): TaskRun => ({
  id, task: id, name: id, item: null, parent: null, kind: "task", state: "SUCCESS", reason: null, message: null, exitCode: null, createdMs: 0,
  startedMs: null, endedMs: null, outputs: {}, metrics: [], usage: null, attempts: [], ...extra,
});

describe("segments", () => {
  it("tell queue, provision and run of each attempt apart", () => {
    const found = segments(run("a", { createdMs: 0, state: "SUCCESS", attempts: [attempt(1, "FAILED", 100, 250, 400), attempt(2, "SUCCESS", 900, 1000, 1500)] }), 9999);
    expect(found.map(({ phase, fromMs, toMs, attempt: number }) => [number, phase, fromMs, toMs])).toEqual([
      [1, "queue", 0, 100], [1, "provision", 100, 250], [1, "run", 250, 400], [2, "queue", 400, 900], [2, "provision", 900, 1000], [2, "run", 1000, 1500],
    ]);
    expect(found.filter((one) => one.ends).map((one) => one.ends)).toEqual(["bad", "good"]);
  });

  it("reach to the present while an attempt lives", () => {
    const found = segments(run("a", { state: "RUNNING", attempts: [attempt(1, "RUNNING", 0, 10, null)] }), 500);
    expect(found.at(-1)).toMatchObject({ phase: "run", fromMs: 10, toMs: 500, ends: "live" });
    expect(segments(run("a", { state: "SUBMITTED", attempts: [attempt(1, "SUBMITTED", 5, null, null)] }), 500).at(-1)).toMatchObject({ phase: "provision", toMs: 500 });
  });

  it("show the waiting for a retry as queue", () => {
    const found = segments(run("a", { state: "RETRYING", attempts: [attempt(1, "FAILED", 0, 10, 100)] }), 400);
    expect(found.at(-1)).toMatchObject({ phase: "queue", fromMs: 100, toMs: 400, attempt: 2, ends: "live" });
  });

  it("keep a process of no measurable length visible", () => {
    expect(segments(run("a", { attempts: [attempt(1, "SUCCESS", 5, 5, 5)] }), 9).filter((one) => one.phase === "run")).toHaveLength(1);
  });

  it("of a group reach from the first that began in it to the last that ended", () => {
    const group = run("0:1", { name: "each", kind: "loop", state: "SUCCESS", startedMs: 900, endedMs: 900, attempts: [attempt(1, "SUCCESS", 900, 900, 900)] });
    const one = run("0.1/0:0", { parent: "each", startedMs: 110, endedMs: 300, attempts: [attempt(1, "SUCCESS", 100, 110, 300)] });
    const two = run("0.1/1:0", { parent: "each", startedMs: 310, endedMs: 800, attempts: [attempt(1, "SUCCESS", 200, 310, 800)] });
    const later = run("0:2", { startedMs: 850, endedMs: 870, attempts: [attempt(1, "SUCCESS", 850, 850, 870)] });
    const rows = rowsOf([later, group, two, one], new Map());
    expect(rows.map((row) => row.run.id)).toEqual(["0:1", "0.1/0:0", "0.1/1:0", "0:2"]);
    expect(segments(group, 9999, rows[0]?.within)).toEqual([{ phase: "run", fromMs: 100, toMs: 800, attempt: 0, ends: "good" }]);
    const open = rowsOf([{ ...group, state: "RUNNING", endedMs: null }, one, { ...two, state: "RUNNING", endedMs: null }], new Map());
    expect(segments(open[0]?.run ?? group, 9999, open[0]?.within).at(-1)).toMatchObject({ fromMs: 100, toMs: 9999, ends: "live" });
  });

  it("of what never began are none", () => expect(segments(run("a", { state: "SKIPPED", endedMs: 5 }), 9)).toEqual([]));
});

describe("the scale", () => {
  it("maps moments to percent and keeps them inside", () => {
    expect(at(1500, [1000, 2000])).toBe(50);
    expect(at(0, [1000, 2000])).toBe(0);
    expect(at(5000, [1000, 2000])).toBe(100);
  });
  it("has round marks, no more than wanted", () => {
    for (const span of [3, 70, 950, 8_000, 61_000, 3_500_000, 40_000_000, 900_000_000]) {
      const marks = ticks([0, span], 8);
      expect(marks.length).toBeGreaterThan(1);
      expect(marks.length).toBeLessThanOrEqual(9);
      expect(marks.at(-1)).toBeLessThanOrEqual(span);
    }
    expect(ticks([0, 61_000], 8)).toEqual([0, 10_000, 20_000, 30_000, 40_000, 50_000, 60_000]);
  });
  it("spans what is known, and the present while something lives", () => {
    const done = run("a", { createdMs: 100, endedMs: 900 });
    expect(extent([done], 5000)).toEqual([100, 900]);
    expect(extent([done, run("b", { createdMs: 200, state: "RUNNING" })], 5000)).toEqual([100, 5000]);
    expect(extent([], 7)).toEqual([7, 8]);
  });
});

describe("rows", () => {
  const loop = run("0:3", { name: "align", kind: "loop", state: "FAILED", startedMs: 10 });
  const items = Array.from({ length: 100 }, (_, index) => run(`0.3/0:${index}`, {
    name: `nextclade[${index}]`, parent: "align", state: index % 10 === 7 ? "FAILED" : "SUCCESS", endedMs: 1000 - index, attempts: [attempt(1, "SUCCESS", 20 + index, 30, 40)],
  }));
  const first = run("0:1", { name: "fetch", attempts: [attempt(1, "SUCCESS", 1, 2, 3)] });

  it("are sorted by start, what has not begun last", () => {
    const rows = rowsOf([run("0:9", { name: "later", state: "CREATED" }), loop, first], new Map());
    expect(rows.map((row) => row.run.name)).toEqual(["fetch", "align", "later"]);
  });
  it("of a large loop are only what failed first, and what is open, until it is opened", () => {
    const closed = rowsOf([first, loop, ...items], new Map(), new Set(["0.3/0:3"]));
    expect(closed.map((row) => row.run.name)).toEqual(["fetch", "align", "nextclade[3]", "nextclade[57]", "nextclade[67]", "nextclade[77]", "nextclade[87]", "nextclade[97]"]);
    expect(closed[1]).toMatchObject({ children: 100, shown: 6, open: false });
    expect(rowsOf([first, loop, ...items], new Map([["0:3", true]]))).toHaveLength(102);
    expect(rowsOf([first, loop, ...items], new Map([["0:3", false]]))).toHaveLength(2);
  });
  it("lose nothing when a parent is not known", () => {
    expect(rowsOf(items.slice(0, 3), new Map())).toHaveLength(3);
  });
});

describe("the failure that explains the others", () => {
  it("is the earliest with an attempt, never a group", () => {
    expect(rootFailure([
      run("group", { kind: "group", state: "FAILED", endedMs: 1 }), run("upstream", { state: "FAILED", endedMs: 2 }),
      run("late", { state: "FAILED", endedMs: 50, attempts: [attempt(1, "FAILED", 0, 1, 50)] }), run("early", { state: "FAILED", endedMs: 30, attempts: [attempt(1, "FAILED", 0, 1, 30)] }),
    ])?.id).toBe("early");
    expect(rootFailure([run("a")])).toBeNull();
  });
});

it("what a program said last is told without that it ended", () => {
  expect(said("`python3` ended with exit code 1: ValueError: too long")).toBe("ValueError: too long");
  expect(said("`sh` ended with exit code 3")).toBe("`sh` ended with exit code 3");
  expect(said(null)).toBe(null);
});
