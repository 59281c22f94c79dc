import { describe, expect, it } from "vitest";
import { listOf, match, path, toggled, withQuery } from "../src/lib/route";
import { since } from "../src/lib/time";

describe("the address as state", () => {
  it("changes only what is asked, in a stable order, and drops what is empty", () => {
    const query = new URLSearchParams("tab=logs&run=0:3&level=ERROR");
    expect(withQuery(query, { level: null, grep: "a b&c" })).toBe("?grep=a+b%26c&run=0:3&tab=logs");
    expect(withQuery(query, { tab: "", run: "", level: "" })).toBe("");
    expect(query.toString()).toBe("tab=logs&run=0%3A3&level=ERROR");
  });
  it("survives a round trip with anything in a value", () => {
    for (const value of ["a,b", "k:v", "%2C", "ä€🧬", "a&b=c#d", "operon:///executions/x/0.5/1/qc.csv", "+ +"]) {
      expect(new URLSearchParams(withQuery(new URLSearchParams(), { q: value })).get("q")).toBe(value);
    }
  });
  it("holds lists", () => {
    expect(listOf("FAILED,KILLED")).toEqual(["FAILED", "KILLED"]);
    expect(listOf(null)).toEqual([]);
    expect(toggled(["FAILED"], "FAILED")).toEqual([]);
    expect(toggled(["FAILED"], "KILLED")).toEqual(["FAILED", "KILLED"]);
  });
  it("takes times absolute or before now", () => {
    expect(since("24h", 100_000_000)).toBe(100_000_000 - 86_400_000);
    expect(since("1700000000000", 0)).toBe(1_700_000_000_000);
    expect(since("2026-01-01T00:00:00Z", 0)).toBe(Date.UTC(2026, 0, 1));
    expect(since("yesterday", 0)).toBeNull();
  });
});

describe("routes", () => {
  it("match with names that have dots and signs", () => {
    expect(match("/flows/:ns/:id", "/flows/a.b/c%20d")).toEqual({ ns: "a.b", id: "c d" });
    expect(match("/flows/:ns/:id", "/flows/a")).toBeNull();
    expect(match("/executions/:id", "/executions/%")).toBeNull();
  });
  it("are built so that they match again", () => {
    expect(match("/flows/:ns/:id", path("flows", "a.b", "x/y?z"))).toEqual({ ns: "a.b", id: "x/y?z" });
  });
});
