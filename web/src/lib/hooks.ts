// Data for pages: loaded, polled while the page is seen, kept while it is loaded again.
import { useCallback, useEffect, useLayoutEffect, useRef, useState } from "preact/hooks";
import { ApiError } from "./api";
import { bind, type Command } from "./keys";

export interface Loaded<T> { data: T | null; error: ApiError | null; loading: boolean; reload: () => void }

/**
 * Loads what `load` gives for `key`. Another key forgets the data; polling keeps it and only replaces it.
 * A page that is not seen does not ask.
 */
export function useData<T>(key: string | null, load: (signal: AbortSignal) => Promise<T>, pollMs = 0): Loaded<T> {
  const [state, set] = useState<{ key: string | null; data: T | null; error: ApiError | null }>({ key: null, data: null, error: null });
  const [loading, setLoading] = useState(true);
  const loader = useRef(load);
  loader.current = load;
  const again = useRef<() => void>(() => undefined);

  useEffect(() => {
    if (key === null) { setLoading(false); return; }
    let gone = false;
    let timer: ReturnType<typeof setTimeout> | undefined;
    let abort: AbortController | null = null;
    let failures = 0;
    const plan = (): void => {
      clearTimeout(timer);
      if (pollMs > 0 && !gone) timer = setTimeout(once, Math.min(pollMs * 2 ** Math.min(failures, 4), 15_000));
    };
    const once = (): void => {
      if (document.hidden && pollMs > 0) { plan(); return; }
      abort?.abort();
      const mine = new AbortController();
      abort = mine;
      loader.current(mine.signal).then(
        (data) => { if (gone || mine.signal.aborted) return; failures = 0; set({ key, data, error: null }); setLoading(false); plan(); },
        (error: unknown) => {
          if (gone || mine.signal.aborted) return;
          failures += 1;
          const known = error instanceof ApiError ? error : new ApiError({ status: 0, title: "The page made a mistake", detail: String(error) });
          set((old) => ({ key, data: old.key === key ? old.data : null, error: known }));
          setLoading(false);
          plan();
        },
      );
    };
    again.current = once;
    setLoading(true);
    once();
    const seen = (): void => { if (!document.hidden && pollMs > 0) once(); };
    document.addEventListener("visibilitychange", seen);
    return () => { gone = true; clearTimeout(timer); abort?.abort(); document.removeEventListener("visibilitychange", seen); };
  }, [key, pollMs]);

  const reload = useCallback(() => again.current(), []);
  const mine = state.key === key;
  return { data: mine ? state.data : null, error: mine ? state.error : null, loading: loading || !mine, reload };
}

export function useKeys(list: Command[]): void {
  const latest = useRef(list);
  latest.current = list;
  const shape = list.map((one) => one.key + one.label).join("\n");
  useEffect(() => bind(list.map((one) => ({
    key: one.key, label: one.label,
    run: (event) => latest.current.find((other) => other.key === one.key)?.run(event),
  }))), [shape]);
}

/** Rows of a page under j, k and Enter; gives the one that is chosen, -1 before any is. The rows have the class `row-key`. */
export function useRows(count: number, what: string, open: (index: number) => void): number {
  const [at, move] = useState(-1);
  const now = Math.min(at, count - 1);
  const to = (index: number): void => {
    move(index);
    document.querySelectorAll(".row-key")[index]?.scrollIntoView({ block: "nearest" });
  };
  useKeys([
    { key: "j", label: `Next ${what}`, run: () => to(Math.min(count - 1, now + 1)) },
    { key: "k", label: `Previous ${what}`, run: () => to(Math.max(0, now - 1)) },
    { key: "Enter", label: "Open", run: () => { if (now >= 0) open(now); } },
  ]);
  return now;
}

export function useTitle(title: string): void {
  useEffect(() => { document.title = title ? `${title} · Operon` : "Operon"; }, [title]);
}

/** Width and height of an element, kept up to date. */
export function useSize<T extends Element>(): [{ current: T | null }, { width: number; height: number }] {
  const ref = useRef<T>(null);
  const [size, set] = useState({ width: 0, height: 0 });
  useLayoutEffect(() => {
    const element = ref.current;
    if (!element) return;
    const measure = (): void => set({ width: element.clientWidth, height: element.clientHeight });
    measure();
    const observer = new ResizeObserver(measure);
    observer.observe(element);
    return () => observer.disconnect();
  }, []);
  return [ref, size];
}

/** The value once it has rested. */
export function useDebounced<T>(value: T, ms: number): T {
  const [rested, set] = useState(value);
  useEffect(() => {
    const timer = setTimeout(() => set(value), ms);
    return () => clearTimeout(timer);
  }, [value, ms]);
  return rested;
}
