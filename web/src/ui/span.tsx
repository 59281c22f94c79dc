// How far back one looks: a choice that is kept in the address, as hours.
import type { JSX } from "preact";
import { patch, query } from "../lib/route";

const SPANS = [[1, "1 h"], [6, "6 h"], [24, "24 h"], [168, "7 d"]] as const;
const USUAL = 24;

/** What the address asks for, if it is one of those offered. */
export function hours(): number {
  const asked = Number(query.value.get("hours"));
  return SPANS.some(([span]) => span === asked) ? asked : USUAL;
}

export function Spans(): JSX.Element {
  const now = hours();
  return (
    <div class="segmented" role="group" aria-label="Time span">
      {SPANS.map(([span, text]) => <button key={span} type="button" aria-pressed={span === now} onClick={() => patch({ hours: span === USUAL ? null : String(span) })}>{text}</button>)}
    </div>
  );
}
