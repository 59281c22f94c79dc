// An editor for flow sources: a plain text field, so that everything the browser and assistive technology know
// about text works, over a highlighted copy of the same text with the marks of what is wrong.
import type { JSX } from "preact";
import { useEffect, useMemo, useRef } from "preact/hooks";
import type { Diagnostic } from "../lib/types";
import { START, tokens, type Carry, type Token } from "../lib/yaml";

interface Props { text: string; set?: (text: string) => void; diagnostics?: Diagnostic[]; label: string; goTo?: { line: number; column: number; key: number } | null }

export function Editor({ text, set, diagnostics = [], label, goTo }: Props): JSX.Element {
  const field = useRef<HTMLTextAreaElement>(null);
  const lines = useMemo(() => text.split("\n"), [text]);
  const painted = useMemo(() => {
    let carry: Carry = START;
    return lines.map((line) => { const done = tokens(line, carry); carry = done.carry; return done.tokens; });
  }, [lines]);
  const byLine = useMemo(() => {
    const map = new Map<number, Diagnostic[]>();
    for (const one of diagnostics) map.set(one.line, [...(map.get(one.line) ?? []), one]);
    return map;
  }, [diagnostics]);

  useEffect(() => {
    const area = field.current;
    if (!goTo || !area) return;
    const start = lines.slice(0, goTo.line - 1).reduce((sum, line) => sum + line.length + 1, 0) + Math.max(0, goTo.column - 1);
    area.focus({ preventScroll: true });
    area.setSelectionRange(start, start);
    area.closest(".editor")?.querySelector(`[data-line="${goTo.line}"]`)?.scrollIntoView({ block: "center" });
  }, [goTo?.key]);

  const onKey = (event: KeyboardEvent): void => {
    const area = field.current;
    if (!area || !set || event.key !== "Enter" || event.ctrlKey || event.metaKey) return;
    // A new line begins where the last one did, one level deeper after a colon.
    const before = area.value.slice(0, area.selectionStart);
    const line = before.slice(before.lastIndexOf("\n") + 1);
    const indent = /^\s*/.exec(line)?.[0] ?? "";
    const deeper = /:\s*([|>][+-]?)?$/.test(line) ? "  " : "";
    const after = /^\s*- \S/.test(line) ? "  " : "";
    if (!indent && !deeper && !after) return;
    event.preventDefault();
    // The only way to insert that keeps undo.
    document.execCommand("insertText", false, `\n${indent}${after}${deeper}`);
  };

  return (
    <div class="editor" data-diagnostics={diagnostics.length}>
      <div class="editor-grid">
        <div class="editor-gutter" aria-hidden="true">
          {lines.map((_, index) => {
            const worst = byLine.get(index + 1)?.reduce<string>((old, one) => (one.severity === "error" ? "error" : old || one.severity), "");
            return <span key={index} data-line={index + 1} class={worst ? `gutter-${worst}` : ""} title={byLine.get(index + 1)?.map((one) => one.message).join("\n")}>{worst ? (worst === "error" ? "✕" : "!") : ""}{index + 1}</span>;
          })}
        </div>
        <div class="editor-text">
          <pre aria-hidden="true">{painted.map((line, index) => <div key={index} class={`code-line${byLine.has(index + 1) ? ` line-${byLine.get(index + 1)?.some((one) => one.severity === "error") ? "error" : "warning"}` : ""}`}>{
            marked(line, byLine.get(index + 1), index + 1)}{line.length === 0 ? "\u200b" : ""}</div>)}</pre>
          <textarea ref={field} value={text} spellcheck={false} autocapitalize="off" autocomplete="off" wrap="off" readOnly={!set} aria-label={label} aria-invalid={diagnostics.some((one) => one.severity === "error")}
            onInput={(event) => set?.(event.currentTarget.value)} onKeyDown={onKey} />
        </div>
      </div>
    </div>
  );
}

/** Tokens cut where a diagnostic begins and ends. */
function marked(line: Token[], diagnostics: Diagnostic[] | undefined, number: number): JSX.Element[] {
  if (!diagnostics) return line.map((token, index) => <span key={index} class={`tok-${token.kind}`}>{token.text}</span>);
  const length = line.reduce((sum, token) => sum + token.text.length, 0);
  const ranges = diagnostics.map((one) => {
    const from = Math.min(Math.max(0, one.column - 1), Math.max(0, length - 1));
    const to = one.endColumn && (one.endLine ?? number) === number ? Math.max(from + 1, one.endColumn - 1) : endOfWord(line, from);
    return { from, to, severity: one.severity };
  });
  const cuts = [...new Set(ranges.flatMap((one) => [one.from, one.to]))].sort((a, b) => a - b);
  const found: JSX.Element[] = [];
  let at = 0;
  for (const token of line) {
    let rest = token.text;
    while (rest) {
      const cut = cuts.find((one) => one > at && one < at + rest.length);
      const part = cut === undefined ? rest : rest.slice(0, cut - at);
      const under = ranges.find((one) => one.from <= at && at < one.to);
      found.push(<span key={at} class={`tok-${token.kind}${under ? ` wrong wrong-${under.severity}` : ""}`}>{part}</span>);
      at += part.length;
      rest = rest.slice(part.length);
    }
  }
  return found;
}

function endOfWord(line: Token[], from: number): number {
  const text = line.map((token) => token.text).join("");
  const word = /^[^\s:,]+/.exec(text.slice(from));
  return from + Math.max(1, word?.[0].length ?? 1);
}

/** A source that is only read. */
export function Source({ text, label }: { text: string; label: string }): JSX.Element {
  return <Editor text={text} label={label} />;
}
