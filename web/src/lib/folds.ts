// Which groups are open or closed, as the address holds it. Only what differs from how they are shown by themselves is
// written, and no more than FOLDS_MAX of them, so that a flow of any size has an address that can be sent.
import { listOf } from "./route";

/** Groups that one list names at most; of more, those that were pressed last. */
export const FOLDS_MAX = 60;

/** Of the Gantt: what `open` and `closed` name, whatever would be shown by itself. */
export function foldsOf(params: URLSearchParams): Map<string, boolean> {
  const folds = new Map<string, boolean>();
  for (const id of last(listOf(params.get("closed")))) folds.set(id, false);
  for (const id of last(listOf(params.get("open")))) folds.set(id, true);
  return folds;
}

/** What the address says after a group was opened, closed, or (null) left again as it is by itself. */
export function refolded(params: URLSearchParams, id: string, open: boolean | null): { open: string; closed: string } {
  const named = (key: string, is: boolean): string => {
    const others = listOf(params.get(key)).filter((other) => other !== id);
    return last(is ? [...others, id] : others).join(",");
  };
  return { open: named("open", open === true), closed: named("closed", open === false) };
}

/** All groups of a topology are closed, but those named after it. No task has such an id, nor one that begins with `-`. */
export const EVERY = "*";
const BUT = "-";

/** Of the topology, where all are open by themselves: the closed ones among `groups`. `*,-a` are all but `a`. */
export function closedOf(text: string | null, groups: readonly string[]): Set<string> {
  const { every, ids } = named(text, groups);
  return new Set(every ? groups.filter((id) => !ids.includes(id)) : ids);
}

/** What the address says after a group of the topology was pressed: the closed or the open ones, whichever are fewer. */
export function turned(text: string | null, groups: readonly string[], id: string): string {
  const { every, ids } = named(text, groups);
  // In the order in which they were pressed, so that the limit never takes this one.
  const next = ids.includes(id) ? ids.filter((other) => other !== id) : [...ids, id];
  const others = groups.filter((other) => !next.includes(other));
  return others.length < next.length ? written(!every, others) : written(every, next);
}

function named(text: string | null, groups: readonly string[]): { every: boolean; ids: string[] } {
  const words = listOf(text);
  const every = words[0] === EVERY;
  const ids = new Set(every ? words.filter((word) => word.startsWith(BUT)).map((word) => word.slice(BUT.length)) : words);
  const known = new Set(groups);
  return { every, ids: last([...ids].filter((id) => known.has(id))) };
}

function written(every: boolean, ids: string[]): string {
  return (every ? [EVERY, ...last(ids).map((id) => BUT + id)] : last(ids)).join(",");
}

function last(list: string[]): string[] {
  return list.slice(-FOLDS_MAX);
}
