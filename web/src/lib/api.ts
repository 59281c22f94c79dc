// One way to the server: the session's cookie, problem details as errors, and an address for `curl`.
import { signal } from "@preact/signals";
import type { Page, Problem } from "./types";

/** The server does not know any more who calls: the session has ended. */
export const signedOut = signal(false);

export const API = "/api/v1";

export class ApiError extends Error {
  readonly status: number;
  readonly problem: Problem;
  constructor(problem: Problem) {
    super(problem.detail || problem.title);
    this.status = problem.status;
    this.problem = problem;
  }
}

export type Query = Record<string, string | number | boolean | null | undefined>;

export function url(route: string, query: Query = {}): string {
  const search = new URLSearchParams();
  for (const [key, value] of Object.entries(query)) {
    if (value !== null && value !== undefined && value !== "") search.set(key, String(value));
  }
  const text = search.toString();
  return API + route + (text ? `?${text}` : "");
}

/** Encodes the parts of a route: ids come from outside. */
export function route(...parts: (string | number)[]): string {
  return "/" + parts.map((part) => encodeURIComponent(part)).join("/");
}

interface Options { query?: Query; body?: unknown; text?: string; file?: Blob; headers?: Record<string, string>; signal?: AbortSignal }

export async function call<T>(method: string, at: string, options: Options = {}): Promise<T> {
  const headers: Record<string, string> = { Accept: "application/json", ...options.headers };
  let body: string | Blob | undefined;
  if (options.body !== undefined) { headers["Content-Type"] = "application/json"; body = JSON.stringify(options.body); }
  if (options.text !== undefined) { headers["Content-Type"] ??= "application/yaml"; body = options.text; }
  if (options.file !== undefined) { headers["Content-Type"] = "application/octet-stream"; body = options.file; }
  if (method !== "GET") headers["X-Operon-Request"] = "1";
  let response: Response;
  try {
    response = await fetch(url(at, options.query), { method, headers, body, signal: options.signal, credentials: "same-origin" });
  } catch (error) {
    if ((error as Error).name === "AbortError") throw error;
    throw new ApiError({ status: 0, title: "The server does not answer", detail: "The server does not answer. Is `operon server` running? The page tries again by itself." });
  }
  if (response.status === 401) signedOut.value = true;
  if (!response.ok) throw new ApiError(await problemOf(response));
  if (response.status === 204) return undefined as T;
  const type = response.headers.get("Content-Type") ?? "";
  return (type.includes("json") ? await response.json() : await response.text()) as T;
}

async function problemOf(response: Response): Promise<Problem> {
  const fallback: Problem = { status: response.status, title: response.statusText || `Status ${response.status}` };
  try {
    const found = (await response.json()) as Partial<Problem>;
    return { ...fallback, ...found, status: response.status };
  } catch {
    return fallback;
  }
}

export const get = <T>(at: string, query?: Query, signal?: AbortSignal): Promise<T> => call<T>("GET", at, { query, signal });
export const post = <T>(at: string, body: unknown = {}, headers?: Record<string, string>): Promise<T> =>
  call<T>("POST", at, { body, headers });

/** Brings a file to the server, for an input of type FILE; returns its address. */
export async function upload(file: File): Promise<string> {
  // Names of artifacts are plain: what else is in one becomes a dash.
  const name = file.name.normalize("NFKD").replace(/[^A-Za-z0-9._-]+/g, "-").replace(/^[.-]+/, "").slice(-128) || "file";
  return (await call<{ uri: string }>("POST", "/artifacts", { query: { name }, file })).uri;
}

/** Rows that a list shows at most, and requests for them; of more it says so. */
export const LIST_MAX = 5_000;
const LIST_PAGES = 20;

/** A whole list, page by page; `next` is where more would begin, if it is longer than what is shown. */
export async function list<T>(at: string, query: Query = {}, signal?: AbortSignal, most = LIST_MAX): Promise<Page<T>> {
  const items: T[] = [];
  let next: string | null = null;
  let pages = 0;
  do {
    const page: Page<T> = await get<Page<T>>(at, { ...query, limit: Math.min(1_000, most - items.length), cursor: next }, signal);
    items.push(...page.items);
    next = page.next;
    pages += 1;
  } while (next !== null && items.length < most && pages < LIST_PAGES);
  return { items, next };
}

/** All pages of a list up to a limit, each given away as it comes; the first is small, so that it is painted soon. */
export async function pages<T>(
  at: string, query: Query, sizes: { first: number; then: number; most: number }, each: (items: T[], more: boolean) => void, signal?: AbortSignal,
): Promise<void> {
  let cursor: string | null = null;
  let seen = 0;
  for (;;) {
    const page: Page<T> = await get<Page<T>>(at, { ...query, limit: seen === 0 ? sizes.first : sizes.then, cursor }, signal);
    seen += page.items.length;
    cursor = page.next;
    each(page.items, cursor !== null);
    if (cursor === null || seen >= sizes.most || page.items.length === 0) return;
  }
}
