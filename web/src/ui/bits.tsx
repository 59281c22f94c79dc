// The small parts every page is made of.
import type { ComponentChildren, JSX } from "preact";
import { useEffect, useRef, useState } from "preact/hooks";
import { type ApiError } from "../lib/api";
import { look } from "../lib/states";
import { duration, exact, now, relative, ticking } from "../lib/time";
import type { ExecutionSummary, State } from "../lib/types";
import { path } from "../lib/route";
import { Icon } from "./icons";

export function StateChip({ state, small }: { state: State | string; small?: boolean }): JSX.Element {
  const { tone, icon, word, over } = look(state);
  return (
    <span class={`chip tone-${tone}${small ? " chip-small" : ""}${over ? "" : " chip-live"}`} data-state={state}>
      <Icon name={icon} size={14} />{word}
    </span>
  );
}

export function StateIcon({ state, word }: { state: State | string; word?: boolean }): JSX.Element {
  const { tone, icon, word: text } = look(state);
  return <span class={`state-icon tone-${tone}`} data-state={state} title={text}><Icon name={icon} label={word ? undefined : text} />{word ? <span>{text}</span> : null}</span>;
}

/** Relative time; the exact one on hover and for assistive technology. */
export function When({ at, prefix }: { at: number | null | undefined; prefix?: string }): JSX.Element {
  if (at === null || at === undefined) return <span class="muted">–</span>;
  return <time dateTime={new Date(at).toISOString()} title={exact(at)}>{prefix}{relative(at, now.value)}</time>;
}

/** How long it took, or takes so far. */
export function Took({ from, to }: { from: number | null | undefined; to: number | null | undefined }): JSX.Element {
  if (from === null || from === undefined) return <span class="muted num">–</span>;
  if (to !== null && to !== undefined) return <span class="num">{duration(to - from)}</span>;
  return <span class="num ticking">{ticking(now.value - from)}</span>;
}

export function ExecutionLink({ id, children }: { id: string; children?: ComponentChildren }): JSX.Element {
  return <a class="mono" href={path("executions", id)} title={id}>{children ?? shortId(id)}</a>;
}

/** Ids are long and differ at their ends. */
export function shortId(id: string): string {
  return id.length <= 14 ? id : `${id.slice(0, 5)}…${id.slice(-6)}`;
}

export function FlowLink({ of }: { of: Pick<ExecutionSummary, "namespace" | "flow"> }): JSX.Element {
  return (
    <a class="flow-link" href={path("flows", of.namespace, of.flow)}><span class="muted">{of.namespace} / </span><b>{of.flow}</b></a>
  );
}

/** A way down, each part a link; what is long is cut in its middle, and whole on hover. */
export function Crumbs({ parts }: { parts: [text: string, href: string][] }): JSX.Element {
  return <div class="crumbs">{parts.map(([text, href], index) => <span key={href} class="crumb">{index > 0 ? <span class="slash">/</span> : null}<a href={href} title={text}>{middle(text, 36)}</a></span>)}</div>;
}

/** At most so many characters, of both ends: names differ there. */
export function middle(text: string, most: number): string {
  const chars = [...text];
  if (chars.length <= most) return text;
  const end = Math.floor((most - 1) / 2);
  return `${chars.slice(0, most - 1 - end).join("")}…${chars.slice(chars.length - end).join("")}`;
}

export function Copy({ text, label = "Copy", children, plain }: { text: string; label?: string; children?: ComponentChildren; plain?: boolean }): JSX.Element {
  const [done, set] = useState(false);
  const timer = useRef<ReturnType<typeof setTimeout> | undefined>(undefined);
  useEffect(() => () => clearTimeout(timer.current), []);
  const copy = async (): Promise<void> => {
    try { await navigator.clipboard.writeText(text); } catch { return; }
    set(true);
    clearTimeout(timer.current);
    timer.current = setTimeout(() => set(false), 1500);
  };
  return (
    <button type="button" class={plain ? "button ghost" : "icon-button"} onClick={() => void copy()} aria-label={children ? undefined : label} title={label}>
      <Icon name={done ? "check" : "copy"} />{children}<span class="sr" role="status">{done ? "Copied" : ""}</span>
    </button>
  );
}

export function Empty({ title, children, icon = "list" }: { title: string; children?: ComponentChildren; icon?: string }): JSX.Element {
  return <div class="empty"><Icon name={icon} size={24} /><h2>{title}</h2>{children ? <p>{children}</p> : null}</div>;
}

export function Trouble({ error, retry }: { error: ApiError; retry?: () => void }): JSX.Element {
  const { problem } = error;
  return (
    <div class="trouble" role="alert">
      <Icon name="cross" />
      <div>
        <b>{problem.title}</b>
        {problem.detail && problem.detail !== problem.title ? <p>{problem.detail}</p> : null}
        {problem.errors?.length ? <ul>{problem.errors.map((one) => <li>{one.line ? `Line ${one.line}: ` : ""}{one.message}{one.fix ? ` ${one.fix}` : ""}</li>)}</ul> : null}
      </div>
      {retry ? <button type="button" class="button" onClick={retry}>Try again</button> : null}
    </div>
  );
}

export function Skeleton({ rows = 6 }: { rows?: number }): JSX.Element {
  return <div class="skeleton" role="status" aria-label="Loading">{Array.from({ length: rows }, (_, index) => <span key={index} />)}</div>;
}

export interface Tab { id: string; label: string; count?: number | string | null; tone?: string }

export function Tabs({ tabs, current, href, label }: { tabs: Tab[]; current: string; href: (id: string) => string; label: string }): JSX.Element {
  const row = useRef<HTMLElement>(null);
  // On a phone not all fit: the chosen one is brought into view.
  useEffect(() => {
    const chosen = row.current?.querySelector<HTMLElement>("[aria-current]");
    if (row.current && chosen) row.current.scrollLeft = chosen.offsetLeft - (row.current.clientWidth - chosen.offsetWidth) / 2;
  }, [current, tabs.length]);
  return (
    <nav class="tabs" aria-label={label} ref={row}>
      {tabs.map((tab) => (
        <a key={tab.id} href={href(tab.id)} aria-current={tab.id === current ? "page" : undefined}>
          {tab.label}{tab.count !== null && tab.count !== undefined ? <span class={`count${tab.tone ? ` tone-${tab.tone}` : ""}`}>{tab.count}</span> : null}
        </a>
      ))}
    </nav>
  );
}

export function Labels({ labels, href, most = 4 }: { labels: Record<string, string>; href?: (key: string, value: string) => string; most?: number }): JSX.Element | null {
  const all = Object.entries(labels);
  if (all.length === 0) return null;
  return (
    <span class="labels">
      {all.slice(0, most).map(([key, value]) => {
        const text = <><span class="muted">{key}</span>{" "}{value}</>;
        return href
          ? <a key={key} class="label" href={href(key, value)} title={`Only executions with ${key}: ${value}`}>{text}</a>
          : <span key={key} class="label">{text}</span>;
      })}
      {all.length > most ? <span class="muted" title={all.slice(most).map(([key, value]) => `${key}: ${value}`).join("\n")}>+{all.length - most}</span> : null}
    </span>
  );
}

export function Toggle({ on, set, children, title }: { on: boolean; set: (on: boolean) => void; children: ComponentChildren; title?: string }): JSX.Element {
  return <button type="button" class="button toggle" aria-pressed={on} title={title} onClick={() => set(!on)}>{children}</button>;
}

export function Fact({ name, children }: { name: string; children: ComponentChildren }): JSX.Element {
  return <div class="fact"><dt>{name}</dt><dd>{children}</dd></div>;
}

export function Key({ children }: { children: string }): JSX.Element {
  return <kbd>{children}</kbd>;
}
