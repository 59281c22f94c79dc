import { describe, expect, it } from "vitest";
import { closedOf, closedText, FOLDS_MAX, foldsOf, refolded } from "../src/lib/folds";
import { CLOSED_ABOVE, rowsOf } from "../src/lib/gantt";
import { withQuery } from "../src/lib/route";
import type { TaskRun } from "../src/lib/types";

const at = (text: string): URLSearchParams => new URLSearchParams(text);
/** Presses a group that is shown open or closed by itself. */
const press = (params: URLSearchParams, id: string, open: boolean, byItself: boolean): URLSearchParams =>
  at(withQuery(params, refolded(params, id, open, byItself)));

describe("groups of the Gantt in the address", () => {
  it("are named only while they differ from how they are by themselves", () => {
    const start = at("tab=gantt&run=0:1");
    const closed = press(start, "0:3", false, true);
    expect(closed.toString()).toBe("closed=0%3A3&run=0%3A1&tab=gantt");
    expect(press(closed, "0:3", true, true).toString()).toBe("run=0%3A1&tab=gantt");
    const opened = press(start, "0:4", true, false);
    expect(opened.get("open")).toBe("0:4");
    expect(press(opened, "0:4", false, false).has("open")).toBe(false);
  });

  it("are read as they were written", () => {
    const params = press(press(press(at(""), "0:3", false, true), "0.1/12.4/7:2", false, true), "0:9", true, false);
    expect([...foldsOf(params)]).toEqual([["0:3", false], ["0.1/12.4/7:2", false], ["0:9", true]]);
    expect(foldsOf(at("")).size).toBe(0);
  });

  it("change sides when what is shown by itself changed meanwhile", () => {
    // It was closed when it had few items; now it has many, and is closed by itself.
    expect(press(at("closed=0:3"), "0:3", true, false).toString()).toBe("open=0%3A3");
  });

  it("make no monstrous address, however many are pressed or named", () => {
    let params = at("");
    for (let group = 0; group < 1000; group += 1) params = press(params, `0.1/${group}:12`, group % 2 === 0, group % 2 !== 0);
    expect(withQuery(params, {}).length).toBeLessThan(2_000);
    expect(foldsOf(params).get("0.1/999:12")).toBe(false);
    const foreign = Array.from({ length: 5_000 }, (_, group) => `0:${group}`).join(",");
    expect(foldsOf(at(`open=${foreign}&closed=${foreign}`)).size).toBeLessThanOrEqual(2 * FOLDS_MAX);
  });

  it("decide which rows there are", () => {
    const run = (id: string, parent: string | null, kind: string): TaskRun => ({
      id, task: id, name: id, item: null, parent, kind, state: "SUCCESS", reason: null, message: null, exitCode: null, createdMs: 0,
      startedMs: 1, endedMs: 2, outputs: {}, metrics: [], usage: null, attempts: [],
    });
    const of = (loop: string, count: number): TaskRun[] => [run(loop, null, "loop"), ...Array.from({ length: count }, (_, item) => run(`${loop}/${item}`, loop, "task"))];
    const runs = [...of("few", CLOSED_ABOVE), ...of("many", CLOSED_ABOVE + 1)];
    const rows = (text: string): number => rowsOf(runs, foldsOf(at(text))).length;
    expect(rows("")).toBe(2 + CLOSED_ABOVE);
    expect(rows("closed=few")).toBe(2);
    expect(rows("open=many")).toBe(3 + 2 * CLOSED_ABOVE);
    expect(rows("open=few&closed=many")).toBe(rows(""));
  });
});

describe("groups of the topology in the address", () => {
  const groups = Array.from({ length: 400 }, (_, number) => `group-${number}`);

  it("are written by the closed or the open ones, whichever are fewer", () => {
    expect(closedText(new Set(), groups)).toBeNull();
    expect(closedText(new Set(["group-3"]), groups)).toBe("group-3");
    expect(closedText(new Set(groups), groups)).toBe("all");
    expect(closedText(new Set(groups.slice(2)), groups)).toBe("all,!group-0,!group-1");
    expect(closedText(new Set(["gone"]), groups)).toBeNull();
  });

  it("are read as they were written", () => {
    for (const closed of [[], ["group-1"], groups, groups.slice(5), groups.slice(0, 50)]) {
      expect([...closedOf(closedText(new Set(closed), groups), groups)].toSorted()).toEqual(closed.toSorted());
    }
    expect(closedText(new Set(groups.filter((_, number) => number % 2 === 0)), groups)?.length).toBeLessThan(1_000);
  });
});
