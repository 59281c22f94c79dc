// How far a backfill has come.
import type { BackfillState } from "./types";

/** Which part of its range is dealt with, 0 to 1. One that was ended has come as far as it has. */
export function backfillShare({ fromMs, toMs, nextMs }: BackfillState): number {
  if (toMs <= fromMs) return 1;
  return Math.min(1, Math.max(0, (nextMs - fromMs) / (toMs - fromMs)));
}

export function backfillWord(of: BackfillState): string {
  if (of.over) return backfillShare(of) >= 1 ? "done" : "ended";
  return of.paused ? "paused" : "going on";
}
