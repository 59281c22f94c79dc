import { describe, expect, it } from "vitest";
import { LogBuffer, lastError, plain } from "../src/lib/logs";
import type { LogLevel, LogLine } from "../src/lib/types";

const line = (seq: number, extra: Partial<LogLine> = {}): LogLine => ({ seq, timeMs: 1000 + seq, level: "INFO", text: `line ${seq}`, taskRun: "0:1", attempt: 1, ...extra });
const lines = (from: number, to: number): LogLine[] => Array.from({ length: to - from }, (_, index) => line(from + index));

describe("a log joined midway", () => {
  it("has each of 100,000 lines once, in order, whatever came twice or out of order", () => {
    const log = new LogBuffer();
    log.add(lines(60_000, 61_000)); // The tail at the moment of joining.
    for (let at = 60_500; at < 100_000; at += 500) log.add(lines(at, at + 500)); // The stream overlaps it.
    log.add(lines(70_000, 70_050)); // A reconnection tells some again.
    for (let at = 60_000; at > 0; at -= 1000) expect(log.add(lines(at - 1000, at))).toBe(1000); // Scrolled up.
    expect(log.lines.length).toBe(100_000);
    expect(log.lines.every((one, index) => one.seq === index)).toBe(true);
  });

  it("puts a gap that is filled later into its place", () => {
    const log = new LogBuffer();
    log.add(lines(0, 10));
    log.add(lines(20, 30));
    log.add(lines(10, 20));
    expect(log.lines.map((one) => one.seq)).toEqual(Array.from({ length: 30 }, (_, index) => index));
  });

  it("lets the oldest lines go above its limit and says that the beginning is not here", () => {
    const log = new LogBuffer(true, 100);
    log.complete = true;
    log.add(lines(0, 150));
    expect(log.lines.length).toBe(100);
    expect(log.first?.seq).toBe(50);
    expect(log.complete).toBe(false);
  });
});

describe("a log of several attempts", () => {
  it("keeps equal numbers of different attempts apart and stays in the order in which they came", () => {
    const log = new LogBuffer(false);
    log.add([line(0, { taskRun: "0:2" }), line(1, { taskRun: "0:2" }), line(0, { taskRun: "0:1" })]);
    log.add([line(0, { taskRun: "0:1" }), line(0, { taskRun: "0:1", attempt: 2 })]);
    expect(log.lines.map((one) => `${one.taskRun}/${one.attempt}/${one.seq}`)).toEqual(["0:2/1/0", "0:2/1/1", "0:1/1/0", "0:1/2/0"]);
  });
});

describe("the last error", () => {
  const of = (...levels: LogLevel[]): number => lastError(levels.map((level, seq) => line(seq, { level })));
  it("is the last line of level ERROR", () => expect(of("INFO", "ERROR", "ERROR", "WARN")).toBe(2));
  it("is a line that speaks of an error when no level does", () => {
    expect(lastError([line(0), line(1, { text: "Traceback (most recent call last):" }), line(2)])).toBe(1);
    expect(lastError([line(0, { text: "Traceback (most recent call last):" }), line(1, { text: "ValueError: too long" }), line(2, { text: "0 errors were found" })])).toBe(1);
  });
  it("is the last line otherwise", () => expect(of("INFO", "INFO")).toBe(1));
  it("is nowhere in an empty log", () => expect(lastError([])).toBe(-1));
});

it("escape sequences of terminals are taken out", () => {
  expect(plain("\u001b[1;31merror\u001b[0m: \u001b[2Kdone")).toBe("error: done");
});
