// Dialogs are the browser's own: focus stays inside, Escape closes.
import type { ComponentChildren, JSX } from "preact";
import { useEffect, useId, useRef, useState } from "preact/hooks";
import { signal } from "@preact/signals";
import { ApiError } from "../lib/api";
import { Icon } from "./icons";
import { Trouble } from "./bits";

export function Dialog({ title, close, children, wide, foot }: {
  title: string; close: () => void; children: ComponentChildren; wide?: boolean; foot?: ComponentChildren;
}): JSX.Element {
  const ref = useRef<HTMLDialogElement>(null);
  const id = useId();
  useEffect(() => {
    const dialog = ref.current;
    const before = document.activeElement as HTMLElement | null;
    if (dialog && !dialog.open) dialog.showModal();
    return () => { dialog?.close(); before?.focus?.(); };
  }, []);
  return (
    <dialog ref={ref} class={wide ? "dialog wide" : "dialog"} aria-labelledby={id}
      onCancel={(event) => { event.preventDefault(); close(); }}
      onClick={(event) => { if (event.target === ref.current) close(); }}>
      <div class="dialog-box">
        <header><h2 id={id}>{title}</h2><button type="button" class="icon-button" aria-label="Close" onClick={close}><Icon name="close" /></button></header>
        <div class="dialog-body" tabIndex={0} role="group" aria-labelledby={id}>{children}</div>
        {foot ? <footer>{foot}</footer> : null}
      </div>
    </dialog>
  );
}

export interface Question {
  title: string;
  /** What will happen, above all to running containers. */
  consequences: ComponentChildren;
  verb: string;
  danger?: boolean;
  act: () => Promise<string | void>;
}

const asked = signal<Question | null>(null);
export const toast = signal<{ text: string; bad: boolean; key: number } | null>(null);

let toastTimer: ReturnType<typeof setTimeout> | undefined;

export function say(text: string, bad = false): void {
  toast.value = { text, bad, key: Date.now() };
  clearTimeout(toastTimer);
  toastTimer = setTimeout(() => { toast.value = null; }, bad ? 8000 : 4000);
}

/** Asks before anything is done that stops, repeats or changes. */
export function ask(question: Question): void { asked.value = question; }

/** Does something at once and tells of its failure. */
export async function attempt(act: () => Promise<string | void>): Promise<void> {
  try {
    const text = await act();
    if (text) say(text);
  } catch (error) {
    say(error instanceof ApiError ? error.message : String(error), true);
  }
}

export function Questions(): JSX.Element {
  const question = asked.value;
  return <>{question ? <Ask key={question.title} question={question} /> : null}
    <div class="toasts" role="status" aria-live="polite">
      {toast.value ? <div class={`toast${toast.value.bad ? " tone-bad" : ""}`} key={toast.value.key}><Icon name={toast.value.bad ? "cross" : "check"} />{toast.value.text}</div> : null}
    </div></>;
}

function Ask({ question }: { question: Question }): JSX.Element {
  const [busy, setBusy] = useState(false);
  const [error, setError] = useState<ApiError | null>(null);
  const close = (): void => { asked.value = null; };
  const confirm = async (): Promise<void> => {
    setBusy(true);
    setError(null);
    try {
      const text = await question.act();
      close();
      if (text) say(text);
    } catch (failure) {
      setError(failure instanceof ApiError ? failure : new ApiError({ status: 0, title: "It did not work", detail: String(failure) }));
      setBusy(false);
    }
  };
  return (
    <Dialog title={question.title} close={close} foot={<>
      <button type="button" class="button" onClick={close}>Leave it</button>
      <button type="button" class={`button ${question.danger ? "danger" : "primary"}`} disabled={busy} onClick={() => void confirm()} autoFocus>{question.verb}</button>
    </>}>
      <div class="consequences">{question.consequences}</div>
      {error ? <Trouble error={error} /> : null}
    </Dialog>
  );
}
