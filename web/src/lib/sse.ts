// Server-sent events that survive a broken connection: the last id seen is asked for again.
// `EventSource` gives up on an HTTP error and forgets the id, so this reads the stream itself.
import { signedOut } from "./api";

export interface SseEvent { event: string; data: string; id: string | null }

/** Cuts a stream of text into events. Chunks may end anywhere, even between CR and LF. */
export class SseParser {
  private rest = "";
  private data: string[] = [];
  private event = "";
  private id: string | null = null;
  /** The id of the last whole event; what a new connection resumes after. */
  lastId: string | null = null;
  /** Milliseconds the server asks to wait before connecting again. */
  retryMs: number | null = null;

  push(chunk: string): SseEvent[] {
    const events: SseEvent[] = [];
    this.rest += chunk;
    for (;;) {
      const end = /\r\n|\n|\r(?!$)/.exec(this.rest);
      if (!end) return events;
      const line = this.rest.slice(0, end.index);
      this.rest = this.rest.slice(end.index + end[0].length);
      const event = this.line(line);
      if (event) events.push(event);
    }
  }

  /** What a cut connection left half said must not become part of what the next one says. */
  reset(): void {
    this.rest = "";
    this.data = [];
    this.event = "";
    this.id = this.lastId;
  }

  private line(line: string): SseEvent | null {
    if (line === "") {
      const { data, event } = this;
      // Not before: of an event that is cut nothing was given away, so it must be asked for again.
      this.lastId = this.id;
      this.data = [];
      this.event = "";
      return data.length === 0 ? null : { event: event || "message", data: data.join("\n"), id: this.lastId };
    }
    if (line.startsWith(":")) return null;
    const colon = line.indexOf(":");
    const field = colon < 0 ? line : line.slice(0, colon);
    let value = colon < 0 ? "" : line.slice(colon + 1);
    if (value.startsWith(" ")) value = value.slice(1);
    if (field === "data") this.data.push(value);
    else if (field === "event") this.event = value;
    else if (field === "id" && !value.includes("\0")) this.id = value;
    else if (field === "retry" && /^\d+$/.test(value)) this.retryMs = Number(value);
    return null;
  }
}

/** How long to wait before the n-th attempt to connect: soon at first, then at most 10 s. */
export function backoff(failures: number, random: number): number {
  const base = Math.min(10_000, 250 * 2 ** Math.min(failures, 8));
  return Math.round(base * (0.75 + random * 0.5));
}

export type Connection = "connecting" | "live" | "waiting" | "ended";

export interface Stream { close(): void }

interface Handlers {
  event(event: SseEvent): void;
  /** `resumed` tells whether the server was asked to go on after an id. */
  open?(resumed: boolean): void;
  connection?(now: Connection): void;
}

/** Keeps a stream open until it is closed or the server says `end`. */
export function stream(address: (lastId: string | null) => string, handlers: Handlers): Stream {
  const parser = new SseParser();
  let closed = false;
  let failures = 0;
  let abort = new AbortController();
  let timer: ReturnType<typeof setTimeout> | undefined;
  let wake: (() => void) | undefined;

  const online = (): void => wake?.();
  window.addEventListener("online", online);
  void loop();
  return { close };

  function close(): void {
    if (closed) return;
    closed = true;
    abort.abort();
    clearTimeout(timer);
    wake?.();
    window.removeEventListener("online", online);
  }

  async function loop(): Promise<void> {
    while (!closed) {
      handlers.connection?.("connecting");
      abort = new AbortController();
      parser.reset();
      try {
        await once();
        failures = 0;
      } catch {
        failures += 1;
      }
      if (closed) return;
      handlers.connection?.("waiting");
      await new Promise<void>((resolve) => {
        wake = resolve;
        timer = setTimeout(resolve, failures === 0 ? parser.retryMs ?? 250 : backoff(failures, Math.random()));
      });
    }
  }

  async function once(): Promise<void> {
    const headers: Record<string, string> = { Accept: "text/event-stream" };
    const resumed = parser.lastId !== null;
    if (parser.lastId !== null) headers["Last-Event-ID"] = parser.lastId;
    const response = await fetch(address(parser.lastId), { headers, signal: abort.signal, cache: "no-store", credentials: "same-origin" });
    if (response.status === 401) signedOut.value = true;
    if (!response.ok || !response.body) throw new Error(`status ${response.status}`);
    failures = 0;
    handlers.connection?.("live");
    handlers.open?.(resumed);
    const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
    for (;;) {
      const { done, value } = await reader.read();
      if (done || closed) return;
      for (const event of parser.push(value)) {
        handlers.event(event);
        if (event.event === "end") {
          handlers.connection?.("ended");
          close();
          return;
        }
      }
    }
  }
}
