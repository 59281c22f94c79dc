import { describe, expect, it } from "vitest";
import { closedOf, EVERY, FOLDS_MAX, foldsOf, refolded, turned } from "../src/lib/folds";
import { CLOSED_ABOVE, rowsOf } from "../src/lib/gantt";
import { withQuery } from "../src/lib/route";
import type { TaskRun } from "../src/lib/types";

const at = (text: string): URLSearchParams => new URLSearchParams(text);
/** Opens or closes a group, or (null) leaves it again as it is by itself. */
const press = (params: URLSearchParams, id: string, open: boolean | null): URLSearchParams => at(withQuery(params, refolded(params, id, open)));

describe("groups of the Gantt in the address", () => {
  it("are named only while they differ from how they are by themselves", () => {
    const start = at("tab=gantt&run=0:1");
    const closed = press(start, "0:3", false);
    expect(closed.toString()).toBe("closed=0%3A3&run=0%3A1&tab=gantt");
    expect(press(closed, "0:3", null).toString()).toBe("run=0%3A1&tab=gantt");
    const opened = press(start, "0:4", true);
    expect(opened.get("open")).toBe("0:4");
    expect(press(opened, "0:4", null).has("open")).toBe(false);
  });

  it("are read as they were written", () => {
    const params = press(press(press(at(""), "0:3", false), "0.1/12.4/7:2", false), "0:9", true);
    expect([...foldsOf(params)]).toEqual([["0:3", false], ["0.1/12.4/7:2", false], ["0:9", true]]);
    expect(foldsOf(at("")).size).toBe(0);
  });

  it("change sides", () => {
    expect(press(at("closed=0:3"), "0:3", true).toString()).toBe("open=0%3A3");
    expect(press(at("open=0:3"), "0:3", false).toString()).toBe("closed=0%3A3");
  });

  it("make no monstrous address, however many are pressed or named", () => {
    let params = at("");
    for (let group = 0; group < 1000; group += 1) params = press(params, `0.1/${group}:12`, group % 2 === 0);
    expect(withQuery(params, {}).length).toBeLessThan(2_000);
    expect(foldsOf(params).get("0.1/999:12")).toBe(false);
    const foreign = Array.from({ length: 5_000 }, (_, group) => `0:${group}`).join(",");
    expect(foldsOf(at(`open=${foreign}&closed=${foreign}`)).size).toBeLessThanOrEqual(2 * FOLDS_MAX);
  });

  const run = (id: string, parent: string | null, kind: string, failed = false): TaskRun => ({
    id, task: id, name: id, item: null, parent, kind, state: failed ? "FAILED" : "SUCCESS", reason: null, message: null, exitCode: null, createdMs: 0,
    startedMs: 1, endedMs: 2, outputs: {}, metrics: [], usage: null, attempts: [],
  });
  const of = (loop: string, count: number, failed = 0): TaskRun[] =>
    [run(loop, null, "loop"), ...Array.from({ length: count }, (_, item) => run(`${loop}/${item}`, loop, "task", item < failed))];
  const many = CLOSED_ABOVE + 1;

  it("decide which rows there are", () => {
    const runs = [...of("few", CLOSED_ABOVE), ...of("many", many)];
    const rows = (text: string): number => rowsOf(runs, foldsOf(at(text))).length;
    expect(rows("")).toBe(2 + CLOSED_ABOVE);
    expect(rows("closed=few")).toBe(2);
    expect(rows("open=many")).toBe(3 + 2 * CLOSED_ABOVE);
    expect(rows("open=few&closed=many")).toBe(rows(""));
  });

  /** Rows shown of a loop, and the address, as they are and after each press. */
  const presses = (runs: TaskRun[], start: string, count: number, kept: string[] = []): [number, string][] => {
    let params = at(start);
    const seen: [number, string][] = [];
    for (let pressed = 0; pressed <= count; pressed += 1) {
      const rows = rowsOf(runs, foldsOf(params), new Set(kept));
      seen.push([rows.length - 1, params.toString()]);
      params = press(params, "it", rows[0]?.next ?? null);
    }
    return seen;
  };

  it("of a large loop with failed items go from these to all, to none, and back", () => {
    const start: [number, string] = [2, ""];
    expect(presses(of("it", many, 2), "", 3)).toEqual([start, [many, "open=it"], [0, "closed=it"], start]);
  });

  it("of every other loop have two looks, and no press without an effect", () => {
    expect(presses(of("it", many), "", 2)).toEqual([[0, ""], [many, "open=it"], [0, ""]]);
    expect(presses(of("it", 3, 2), "", 2)).toEqual([[3, ""], [0, "closed=it"], [3, ""]]);
    // What is open at its log is shown anyway; nothing else failed.
    expect(presses(of("it", many, 1), "", 2, ["it/0"])).toEqual([[1, ""], [many, "open=it"], [1, ""]]);
  });

  it("that grew since they were closed are opened by a press", () => {
    expect(presses(of("it", many), "closed=it", 2)).toEqual([[0, "closed=it"], [many, "open=it"], [0, ""]]);
  });
});

describe("groups of the topology in the address", () => {
  const groups = Array.from({ length: 400 }, (_, number) => `group-${number}`);
  const after = (text: string | null, all: readonly string[], ...ids: string[]): string => ids.reduce<string>((said, id) => turned(said, all, id), text ?? "");

  it("are written by the closed or the open ones, whichever are fewer", () => {
    const few = groups.slice(0, 5);
    expect(after(null, few, "group-3")).toBe("group-3");
    expect(after(null, few, "group-3", "group-1")).toBe("group-3,group-1");
    expect(after(null, few, "group-3", "group-1", "group-4")).toBe("*,-group-0,-group-2");
    expect(after(null, few, "group-3", "group-3")).toBe("");
    expect(after(null, few, ...few)).toBe(EVERY);
    expect(after(EVERY, few, ...few)).toBe("");
    expect(after(EVERY, groups, "group-7")).toBe("*,-group-7");
    expect(after(null, groups.slice(0, 1), "group-0")).toBe(EVERY);
    expect(after("gone", few, "group-2")).toBe("group-2");
  });

  it("are read as they were written", () => {
    let shut = new Set<string>();
    let text = "";
    const all = groups.slice(0, 2 * FOLDS_MAX + 1);
    // Every one is closed, the even ones are opened, the others after them: each press turns one and no other.
    for (const id of [...all, ...all.filter((_, number) => number % 2 === 0), ...all.filter((_, number) => number % 2 !== 0)]) {
      text = turned(text, all, id);
      shut = new Set(all.filter((one) => shut.has(one) !== (one === id)));
      expect([...closedOf(text, all)].toSorted()).toEqual([...shut].toSorted());
    }
    expect(text).toBe("");
    expect([...closedOf("gone,group-1", groups)]).toEqual(["group-1"]);
    expect(closedOf("*,-gone", groups).size).toBe(groups.length);
    expect(closedOf(null, groups).size).toBe(0);
  });

  it("that were pressed last are those that are named, wherever they are in the graph", () => {
    const late = groups.slice(-FOLDS_MAX);
    const closed = closedOf(after(null, groups, ...late, "group-0"), groups);
    expect([...closed].toSorted()).toEqual([...late.slice(1), "group-0"].toSorted());
    const shut = closedOf(after(EVERY, groups, ...late, "group-0"), groups);
    expect(groups.filter((id) => !shut.has(id)).toSorted()).toEqual([...late.slice(1), "group-0"].toSorted());
  });

  it("make no monstrous address, however many are pressed or named", () => {
    for (const start of [null, EVERY]) expect(withQuery(at(""), { groups: after(start, groups, ...groups) }).length).toBeLessThan(1_000);
    const foreign = Array.from({ length: 5_000 }, (_, number) => `group-${number}`);
    expect(closedOf(foreign.join(","), foreign).size).toBe(FOLDS_MAX);
  });

  it("may have any id that a task may have", () => {
    for (const id of ["all", "a-b", "0", "a_"]) {
      const named = turned(null, [id, "x", "y"], id);
      expect(withQuery(at(""), { groups: named })).toBe(`?groups=${id}`);
      expect([...closedOf(named, [id, "x", "y"])]).toEqual([id]);
      expect([...closedOf(turned(EVERY, [id, "x", "y"], id), [id, "x", "y"])]).toEqual(["x", "y"]);
    }
    expect([...closedOf("all,x", ["all", "x", "y"])]).toEqual(["all", "x"]);
    expect(withQuery(at(""), { groups: `${EVERY},-a` })).toBe("?groups=*,-a");
  });
});
