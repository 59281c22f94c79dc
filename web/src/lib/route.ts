// The address is the state: what is shown follows from it alone, so every view can be copied and sent.
import { computed, signal } from "@preact/signals";

export interface Location { path: string; query: URLSearchParams }

export const here = signal<Location>(read());

function read(): Location {
  if (typeof window === "undefined") return { path: "/", query: new URLSearchParams() };
  return { path: window.location.pathname.replace(/\/+$/, "") || "/", query: new URLSearchParams(window.location.search) };
}

export function go(to: string, replace = false): void {
  if (replace) history.replaceState(null, "", to);
  else {
    history.pushState(null, "", to);
    window.scrollTo(0, 0);
  }
  here.value = read();
}

/** The query with some values changed; `null` and "" take a key away. Keys keep a stable order. */
export function withQuery(query: URLSearchParams, changes: Record<string, string | null | undefined>): string {
  const next = new URLSearchParams(query);
  for (const [key, value] of Object.entries(changes)) {
    if (value === null || value === undefined || value === "") next.delete(key);
    else next.set(key, value);
  }
  next.sort();
  // Commas and colons are readable and legal in a query.
  const text = next.toString().replaceAll("%2C", ",").replaceAll("%3A", ":").replaceAll("%2F", "/");
  return text ? `?${text}` : "";
}

export function patch(changes: Record<string, string | null | undefined>, replace = true): void {
  go(here.value.path + withQuery(here.value.query, changes), replace);
}

export const query = computed(() => here.value.query);

/** A list in the query: "A,B". */
export function listOf(value: string | null): string[] {
  return value ? value.split(",").filter(Boolean) : [];
}

export function toggled(list: readonly string[], word: string): string[] {
  return list.includes(word) ? list.filter((other) => other !== word) : [...list, word];
}

/** `/flows/:ns/:id` against a path; `null` if it does not fit. */
export function match(pattern: string, path: string): Record<string, string> | null {
  const wanted = pattern.split("/");
  const given = path.split("/");
  if (wanted.length !== given.length) return null;
  const found: Record<string, string> = {};
  for (const [index, part] of wanted.entries()) {
    const value = given[index] ?? "";
    if (part.startsWith(":")) {
      try { found[part.slice(1)] = decodeURIComponent(value); } catch { return null; }
      if (!value) return null;
    } else if (part !== value) return null;
  }
  return found;
}

export function path(...parts: (string | number)[]): string {
  return "/" + parts.map((part) => encodeURIComponent(part)).join("/");
}

/** Links of the console are followed without loading the page again. */
export function listen(): void {
  window.addEventListener("popstate", () => { here.value = read(); });
  document.addEventListener("click", (event) => {
    if (event.defaultPrevented || event.button !== 0 || event.metaKey || event.ctrlKey || event.shiftKey || event.altKey) return;
    const link = (event.target as Element | null)?.closest?.("a[href]") as HTMLAnchorElement | null;
    if (!link || link.target || link.hasAttribute("download") || link.origin !== window.location.origin) return;
    if (link.pathname.startsWith("/api/")) return;
    if (link.getAttribute("href")?.startsWith("#")) return;
    event.preventDefault();
    go(link.pathname + link.search);
  });
}
