// Times as people read them. All pure; the ticking clock is the signal at the end.
import { signal } from "@preact/signals";

const SECOND = 1000;
const MINUTE = 60 * SECOND;
const HOUR = 60 * MINUTE;
const DAY = 24 * HOUR;

/** "340 ms", "4.2 s", "3m 05s", "2h 10m", "3d 4h": two units at most, of a steady width. */
export function duration(ms: number): string {
  if (!Number.isFinite(ms)) return "–";
  const value = Math.max(0, ms);
  if (value < SECOND) return `${Math.round(value)} ms`;
  if (value < MINUTE) return `${(Math.floor(value / 100) / 10).toFixed(1)} s`;
  if (value < HOUR) return `${Math.floor(value / MINUTE)}m ${two(Math.floor((value % MINUTE) / SECOND))}s`;
  if (value < DAY) return `${Math.floor(value / HOUR)}h ${two(Math.floor((value % HOUR) / MINUTE))}m`;
  return `${Math.floor(value / DAY)}d ${Math.floor((value % DAY) / HOUR)}h`;
}

/** For ticking: whole seconds, so that it does not flicker. */
export function ticking(ms: number): string {
  const value = Math.max(0, ms);
  return value < MINUTE ? `${Math.floor(value / SECOND)} s` : duration(value);
}

/** "just now", "12 s ago", "4 min ago", "3 h ago", "2 d ago"; "in 4 min" for what comes. */
export function relative(atMs: number, nowMs: number): string {
  const apart = Math.abs(nowMs - atMs);
  const word = apart < 5 * SECOND ? "" : apart < MINUTE ? `${Math.floor(apart / SECOND)} s`
    : apart < HOUR ? `${Math.floor(apart / MINUTE)} min`
    : apart < DAY ? `${Math.floor(apart / HOUR)} h`
    : `${Math.floor(apart / DAY)} d`;
  if (!word) return atMs > nowMs ? "now" : "just now";
  return atMs > nowMs ? `in ${word}` : `${word} ago`;
}

/** "2026-01-31 12:00:00.000 +01:00": exact, sortable, with the zone. */
export function exact(atMs: number): string {
  const date = new Date(atMs);
  const offset = -date.getTimezoneOffset();
  const zone = offset === 0 ? "UTC"
    : `${offset < 0 ? "−" : "+"}${two(Math.floor(Math.abs(offset) / 60))}:${two(Math.abs(offset) % 60)}`;
  return `${date.getFullYear()}-${two(date.getMonth() + 1)}-${two(date.getDate())} ${clock(atMs)}.${
    String(date.getMilliseconds()).padStart(3, "0")} ${zone}`;
}

/** "12:00:00" in the reader's zone. */
export function clock(atMs: number): string {
  const date = new Date(atMs);
  return `${two(date.getHours())}:${two(date.getMinutes())}:${two(date.getSeconds())}`;
}

/** "31 Jan 12:00". */
export function dayClock(atMs: number): string {
  const date = new Date(atMs);
  const months = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
  return `${date.getDate()} ${months[date.getMonth()]} ${two(date.getHours())}:${two(date.getMinutes())}`;
}

export function bytes(count: number | null | undefined): string {
  if (count === null || count === undefined) return "–";
  const units = ["B", "KiB", "MiB", "GiB", "TiB"];
  let value = count;
  let unit = 0;
  while (value >= 1024 && unit < units.length - 1) { value /= 1024; unit += 1; }
  return `${unit === 0 || value >= 100 ? Math.round(value) : value.toFixed(1)} ${units[unit]}`;
}

export function number(value: number): string {
  return value.toLocaleString("en", { maximumFractionDigits: 2 }).replaceAll(",", "\u202f");
}

/** Dollars of a task run are fractions of a cent: three significant digits. */
export function dollars(value: number): string {
  if (value === 0) return "$0";
  return value >= 1 ? `$${value.toFixed(2)}` : `$${Number(value.toPrecision(2)).toString()}`;
}

/** A bound from the address: absolute milliseconds, an ISO time, or "24h" before now. */
export function since(text: string | null, nowMs: number): number | null {
  if (!text) return null;
  const span = /^(\d+)(m|h|d)$/.exec(text);
  if (span) return nowMs - Number(span[1]) * (span[2] === "m" ? MINUTE : span[2] === "h" ? HOUR : DAY);
  if (/^\d+$/.test(text)) return Number(text);
  const parsed = Date.parse(text);
  return Number.isNaN(parsed) ? null : parsed;
}

function two(value: number): string {
  return String(value).padStart(2, "0");
}

/** The present, once a second while the page is seen. */
export const now = signal(Date.now());
if (typeof window !== "undefined") {
  setInterval(() => { if (!document.hidden) now.value = Date.now(); }, SECOND);
  document.addEventListener("visibilitychange", () => { now.value = Date.now(); });
}

/** A count, or the least that it is. */
export function atLeast(value: number, least: boolean): string {
  return `${least ? "≥ " : ""}${number(value)}`;
}
