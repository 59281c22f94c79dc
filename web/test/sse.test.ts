import { afterEach, describe, expect, it, vi } from "vitest";
import { backoff, SseParser, stream, type SseEvent } from "../src/lib/sse";

describe("the parser", () => {
  const text = ": hello\r\nretry: 1500\r\n\r\nid: 7\r\nevent: line\r\ndata: {\"a\":\r\ndata: 1}\r\n\r\nid:8\ndata:plain\n\ndata: no end";
  it("gives the same events wherever chunks are cut", () => {
    const whole = new SseParser().push(text);
    expect(whole).toEqual([{ event: "line", data: "{\"a\":\n1}", id: "7" }, { event: "message", data: "plain", id: "8" }]);
    for (let cut = 0; cut <= text.length; cut += 1) {
      const parser = new SseParser();
      expect([...parser.push(text.slice(0, cut)), ...parser.push(text.slice(cut))]).toEqual(whole);
      expect(parser.lastId).toBe("8");
      expect(parser.retryMs).toBe(1500);
    }
  });
  it("does not join what a cut connection half said with what the next one says", () => {
    const parser = new SseParser();
    parser.push("id: 1\ndata: one\n\nid: 2\ndata: tw");
    parser.reset();
    expect(parser.push("data: two\n\n")).toEqual([{ event: "message", data: "two", id: "1" }]);
  });
});

it("waits longer after each failure, at most about ten seconds", () => {
  expect(backoff(0, 0.5)).toBe(250);
  expect(backoff(3, 0.5)).toBe(2000);
  for (let failures = 0; failures < 50; failures += 1) expect(backoff(failures, 1)).toBeLessThanOrEqual(12_500);
});

describe("a stream", () => {
  afterEach(() => { vi.unstubAllGlobals(); vi.useRealTimers(); });

  it("goes on after the last id when the connection breaks, and loses and repeats nothing", async () => {
    vi.useFakeTimers();
    const asked: (string | null)[] = [];
    const all = Array.from({ length: 20 }, (_, index) => `id: ${index}\nevent: line\ndata: ${index}\n\n`);
    vi.stubGlobal("window", { addEventListener: () => undefined, removeEventListener: () => undefined });
    vi.stubGlobal("fetch", async (_: string, init: { headers: Record<string, string> }) => {
      const last = init.headers["Last-Event-ID"] ?? null;
      asked.push(last);
      if (asked.length === 2) return new Response("busy", { status: 503 });
      const from = last === null ? 0 : Number(last) + 1;
      const part = all.slice(from, from + 7);
      // Cut in the middle of the event after these.
      const end = from + 7 >= all.length ? "event: end\ndata: {}\n\n" : (all[from + 7] ?? "").slice(0, 12);
      return new Response(part.join("") + end);
    });
    const seen: string[] = [];
    const states: string[] = [];
    let ended = false;
    stream(() => "/x", { event: (event: SseEvent) => { if (event.event === "end") ended = true; else seen.push(event.data); }, connection: (now) => states.push(now) });
    for (let turn = 0; turn < 40 && !ended; turn += 1) await vi.advanceTimersByTimeAsync(500);
    expect(seen).toEqual(all.map((_, index) => String(index)));
    expect(asked[0]).toBeNull();
    expect(asked.length).toBeGreaterThanOrEqual(4);
    expect(states).toContain("waiting");
    expect(states.at(-1)).toBe("ended");
  });
});
