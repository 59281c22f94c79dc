// Expressions that people copy into a flow.
import type { Json } from "./types";

const NAME = /^[A-Za-z_][A-Za-z0-9_]*$/;

function quoted(text: string): string {
  return `'${text.replaceAll("\\", "\\\\").replaceAll("'", "\\'")}'`;
}

/** Where the outputs of a task run are found: those of an item by the item, a name with a hyphen in brackets. */
export function outputsOf(run: { task: string; item: Json }): string {
  const task = NAME.test(run.task) ? `outputs.${run.task}` : `outputs[${quoted(run.task)}]`;
  const { item } = run;
  return typeof item === "string" || typeof item === "number" || typeof item === "boolean" ? `${task}[${quoted(String(item))}]` : task;
}
