// The keyboard: one listener, many pages. Keys typed into fields are text, not commands.
import { signal } from "@preact/signals";

export interface Command { key: string; label: string; run: (event: KeyboardEvent) => void }

const layers: Command[][] = [];

/** What `?` shows. */
export const commands = signal<{ key: string; label: string }[]>([]);

/** Adds commands while a page or dialog is shown; later ones win. Returns how to take them away. */
export function bind(list: Command[]): () => void {
  layers.push(list);
  publish();
  return () => {
    const index = layers.indexOf(list);
    if (index >= 0) layers.splice(index, 1);
    publish();
  };
}

function publish(): void {
  const seen = new Set<string>();
  const shown: { key: string; label: string }[] = [];
  for (const layer of [...layers].reverse()) {
    for (const { key, label } of layer) {
      if (seen.has(key) || !label) continue;
      seen.add(key);
      shown.push({ key, label });
    }
  }
  commands.value = shown;
}

export function isTyping(target: EventTarget | null): boolean {
  if (!(target instanceof HTMLElement)) return false;
  return target.isContentEditable || target.matches("textarea, select, input:not([type=checkbox]):not([type=radio]):not([type=button])");
}

export function handle(event: KeyboardEvent): void {
  if (event.ctrlKey || event.metaKey || event.altKey || event.defaultPrevented) return;
  if (isTyping(event.target)) {
    if (event.key === "Escape") (event.target as HTMLElement).blur();
    return;
  }
  // A dialog keeps the keyboard to itself.
  if (document.querySelector("dialog[open]")) return;
  // Enter and space belong to whatever has the focus.
  const focused = event.target instanceof HTMLElement && event.target.matches("a, button, summary, [role=button], [role=tab]");
  if (focused && (event.key === "Enter" || event.key === " ")) return;
  for (let index = layers.length - 1; index >= 0; index -= 1) {
    const command = layers[index]?.find((one) => one.key === event.key);
    if (command) {
      event.preventDefault();
      command.run(event);
      return;
    }
  }
}
