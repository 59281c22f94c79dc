// Differences of two texts by line (Myers), for revisions.

export type Op = "same" | "gone" | "new";
export interface Line { op: Op; text: string; from: number | null; to: number | null }

/** Beyond this many differences the whole text counts as replaced. */
const EDITS_MAX = 4_000;

export function diff(before: string, after: string): Line[] {
  const a = split(before);
  const b = split(after);
  let head = 0;
  while (head < a.length && head < b.length && a[head] === b[head]) head += 1;
  let tail = 0;
  while (tail < a.length - head && tail < b.length - head && a[a.length - 1 - tail] === b[b.length - 1 - tail]) tail += 1;
  const middle = myers(a.slice(head, a.length - tail), b.slice(head, b.length - tail));
  const ops: Op[] = [...Array<Op>(head).fill("same"), ...middle, ...Array<Op>(tail).fill("same")];
  let from = 0;
  let to = 0;
  return ops.map((op) => {
    const text = (op === "new" ? b[to] : a[from]) ?? "";
    const line: Line = { op, text, from: op === "new" ? null : from + 1, to: op === "gone" ? null : to + 1 };
    if (op !== "new") from += 1;
    if (op !== "gone") to += 1;
    return line;
  });
}

function split(text: string): string[] {
  const lines = text.split("\n");
  if (lines.at(-1) === "") lines.pop();
  return lines;
}

function myers(a: string[], b: string[]): Op[] {
  const replaced = (): Op[] => [...a.map((): Op => "gone"), ...b.map((): Op => "new")];
  if (a.length === 0 || b.length === 0) return replaced();
  const most = Math.min(a.length + b.length, EDITS_MAX);
  let reach = new Map<number, number>([[1, 0]]);
  const trace: Map<number, number>[] = [];
  for (let d = 0; d <= most; d += 1) {
    trace.push(new Map(reach));
    for (let k = -d; k <= d; k += 2) {
      const down = k === -d || (k !== d && (reach.get(k - 1) ?? -1) < (reach.get(k + 1) ?? -1));
      let x = down ? (reach.get(k + 1) ?? 0) : (reach.get(k - 1) ?? 0) + 1;
      let y = x - k;
      while (x < a.length && y < b.length && a[x] === b[y]) { x += 1; y += 1; }
      reach.set(k, x);
      if (x >= a.length && y >= b.length) return back(trace, a.length, b.length);
    }
    reach = new Map(reach);
  }
  return replaced();
}

function back(trace: Map<number, number>[], n: number, m: number): Op[] {
  const ops: Op[] = [];
  let x = n;
  let y = m;
  for (let d = trace.length - 1; d >= 0; d -= 1) {
    const reach = trace[d] as Map<number, number>;
    const k = x - y;
    const down = k === -d || (k !== d && (reach.get(k - 1) ?? -1) < (reach.get(k + 1) ?? -1));
    const before = down ? k + 1 : k - 1;
    const px = d === 0 ? 0 : reach.get(before) ?? 0;
    const py = d === 0 ? 0 : px - before;
    while (x > px && y > py) { ops.push("same"); x -= 1; y -= 1; }
    if (d === 0) break;
    if (down) { ops.push("new"); y -= 1; } else { ops.push("gone"); x -= 1; }
  }
  return ops.reverse();
}

/** Of long stretches without a change, only how many lines they have. */
export function folded(lines: readonly Line[], context = 3): (Line | number)[] {
  const near = new Uint8Array(lines.length);
  lines.forEach((line, index) => {
    if (line.op === "same") return;
    for (let i = Math.max(0, index - context); i <= Math.min(lines.length - 1, index + context); i += 1) near[i] = 1;
  });
  const shown: (Line | number)[] = [];
  lines.forEach((line, index) => {
    const before = shown.at(-1);
    if (near[index]) shown.push(line);
    else if (typeof before === "number") shown[shown.length - 1] = before + 1;
    else shown.push(1);
  });
  return shown;
}
