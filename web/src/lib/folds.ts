// Which groups are open or closed, as the address holds it. Only what differs from how they are shown by themselves is
// written, and no more than FOLDS_MAX of them, so that a flow of any size has an address that can be sent.
import { listOf } from "./route";

/** Groups that one list names at most: those that were pressed last. */
export const FOLDS_MAX = 60;

/** Of the Gantt: what `open` and `closed` name, whatever would be shown by itself. */
export function foldsOf(params: URLSearchParams): Map<string, boolean> {
  const folds = new Map<string, boolean>();
  for (const id of last(listOf(params.get("closed")))) folds.set(id, false);
  for (const id of last(listOf(params.get("open")))) folds.set(id, true);
  return folds;
}

/** What the address says after a group was opened or closed; nothing about one that is again as it is by itself. */
export function refolded(params: URLSearchParams, id: string, open: boolean, byItself: boolean): { open: string; closed: string } {
  const others = (key: string): string[] => listOf(params.get(key)).filter((other) => other !== id);
  const named = (key: string, is: boolean): string => last(is ? [...others(key), id] : others(key)).join(",");
  return { open: named("open", open && !byItself), closed: named("closed", !open && byItself) };
}

const ALL = "all";

/** Of the topology, where all are open by themselves: the closed ones among `groups`. `all,!a` are all but `a`. */
export function closedOf(text: string | null, groups: readonly string[]): Set<string> {
  const named = listOf(text);
  if (named[0] !== ALL) return new Set(last(named));
  const open = new Set(last(named.slice(1)).map((word) => word.slice(1)));
  return new Set(groups.filter((id) => !open.has(id)));
}

/** The same as text: by the closed ones or by the open ones, whichever are fewer; null when all are open. */
export function closedText(closed: ReadonlySet<string>, groups: readonly string[]): string | null {
  const shut = groups.filter((id) => closed.has(id));
  const open = groups.filter((id) => !closed.has(id));
  if (shut.length === 0) return null;
  return shut.length <= open.length ? last(shut).join(",") : [ALL, ...last(open).map((id) => `!${id}`)].join(",");
}

function last(list: string[]): string[] {
  return list.slice(-FOLDS_MAX);
}
