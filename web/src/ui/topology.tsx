// A flow as a graph, alive. Near, tasks are cards with their state in words; far, one path per state is drawn, so
// that a thousand tasks pan as smoothly as ten. Panning moves one layer that is painted already: what is new at its
// edges is painted, nothing else, and nothing is laid out again. Only zooming paints all that is in view.
import type { JSX } from "preact";
import { useEffect, useMemo, useRef, useState } from "preact/hooks";
import { closedOf, EVERY, turned } from "../lib/folds";
import type { Box, Layout, Request } from "../lib/layout";
import { patch, query } from "../lib/route";
import { look } from "../lib/states";
import type { Graph, GraphNode, State } from "../lib/types";
import { Icon } from "./icons";
import { Skeleton } from "./bits";
import { useSize } from "../lib/hooks";

const WIDTH = 196;
const HEIGHT = 46;
/** Below it the words of a card cannot be read. */
const FAR = 0.5;
/** Below it a card has its state and its name only. */
const BRIEF = 0.8;
/** Pixels around what is seen that are drawn as well. */
const MARGIN = 320;
/** Pixels of the layer around the graph: for strokes and names of groups. */
const EDGE = 24;

interface Camera { x: number; y: number; scale: number }
interface Props { graph: Graph; select?: (node: GraphNode) => void; selected?: string | null; label: string }

let worker: Worker | null = null;
let requests = 0;
const waiting = new Map<number, (layout: Layout | null) => void>();

function ask(request: Request): Promise<Layout | null> {
  worker ??= start();
  const id = (requests += 1);
  return new Promise((resolve) => { waiting.set(id, resolve); worker?.postMessage({ id, request }); });
}

function start(): Worker {
  const made = new Worker(new URL("../lib/layout.worker.ts", import.meta.url), { type: "module" });
  made.addEventListener("message", (event: MessageEvent<{ id: number; layout?: Layout }>) => {
    waiting.get(event.data.id)?.(event.data.layout ?? null);
    waiting.delete(event.data.id);
  });
  return made;
}

/** Nodes with everything inside closed groups taken away, and edges led to the group instead. */
export function folded(graph: Graph, closed: ReadonlySet<string>): { graph: Graph; groups: string[] } {
  const byId = new Map(graph.nodes.map((node) => [node.id, node]));
  const home = (id: string): string => {
    let shown = id;
    let at = byId.get(id);
    for (let depth = 0; at && depth < 64; depth += 1) {
      const parent = at.parent ? byId.get(at.parent) : undefined;
      if (!parent || parent.id === at.id) break;
      if (closed.has(parent.id)) shown = parent.id;
      at = parent;
    }
    return shown;
  };
  const nodes = graph.nodes.filter((node) => home(node.id) === node.id);
  const kept = new Set(nodes.map((node) => node.id));
  const edges = new Map<string, { from: string; to: string }>();
  for (const edge of graph.edges) {
    const from = home(edge.from);
    const to = home(edge.to);
    if (from !== to && kept.has(from) && kept.has(to)) edges.set(`${from}\n${to}`, { from, to });
  }
  const parents = new Set(nodes.map((node) => node.parent).filter((id): id is string => id !== null && kept.has(id)));
  return { graph: { nodes, edges: [...edges.values()] }, groups: [...parents] };
}

/** Nodes with others inside. */
function groupsOf(graph: Graph): Set<string> {
  const ids = new Set(graph.nodes.map((node) => node.id));
  return new Set(graph.nodes.map((node) => node.parent).filter((id): id is string => id !== null && ids.has(id)));
}

export function Topology({ graph, select, selected, label }: Props): JSX.Element {
  const [ref, size] = useSize<HTMLDivElement>();
  const svg = useRef<SVGSVGElement>(null);
  const stage = useRef<SVGGElement>(null);
  const camera = useRef<Camera>({ x: 0, y: 0, scale: 1 });
  const drawnScale = useRef<{ scale: number; layout: Layout | null }>({ scale: 0, layout: null });
  const [drawn, setDrawn] = useState<Layout | null>(null);
  const [view, setView] = useState({ x: -1e6, y: -1e6, width: 2e6, height: 2e6, far: false, brief: false });
  const [focus, setFocus] = useState<string | null>(null);
  const down = size.width > 0 && size.width < 640;
  const shape = useMemo(() => JSON.stringify([graph.nodes.map((node) => [node.id, node.parent]), graph.edges]), [graph]);
  const inside = useMemo(() => groupsOf(graph), [shape]);
  const named = query.value.get("groups");
  const closed = useMemo(() => closedOf(named, [...inside]), [named, inside]);
  const parts = useMemo(() => folded(graph, closed), [shape, closed]);

  useEffect(() => {
    if (size.width === 0) return;
    let gone = false;
    const sizes: Record<string, [number, number]> = {};
    for (const node of parts.graph.nodes) sizes[node.id] = [WIDTH, node.counts && node.counts.total > 1 ? HEIGHT + 14 : HEIGHT];
    void ask({ graph: { nodes: parts.graph.nodes, edges: parts.graph.edges }, sizes, groups: parts.groups, down }).then((layout) => {
      if (gone || !layout) return;
      setDrawn(layout);
    });
    return () => { gone = true; };
  }, [parts, down, size.width > 0]);

  const byId = useMemo(() => new Map(graph.nodes.map((node) => [node.id, node])), [graph]);
  const boxes = useMemo(() => new Map(drawn?.boxes.map((box) => [box.id, box]) ?? []), [drawn]);

  const apply = (): void => {
    const { x, y, scale } = camera.current;
    // Whole pixels, so that a moved layer needs no resampling.
    if (svg.current) svg.current.style.transform = `translate(${Math.round(x) - EDGE}px, ${Math.round(y) - EDGE}px)`;
    if (drawnScale.current.scale === scale && drawnScale.current.layout === drawn) return;
    drawnScale.current = { scale, layout: drawn };
    stage.current?.setAttribute("transform", `translate(${EDGE} ${EDGE}) scale(${scale})`);
    // As large as all there is: a layer whose bounds change with what is in view would be painted anew.
    svg.current?.setAttribute("width", String(Math.ceil((drawn?.width ?? 0) * scale) + 2 * EDGE));
    svg.current?.setAttribute("height", String(Math.ceil((drawn?.height ?? 0) * scale) + 2 * EDGE));
  };
  /** Renders again only when what is drawn no longer covers what is seen. */
  const settle = (force = false): void => {
    const { x, y, scale } = camera.current;
    const seen = { x: -x / scale, y: -y / scale, width: size.width / scale, height: size.height / scale };
    const far = scale < FAR;
    const brief = scale < BRIEF;
    setView((old) => {
      const covered = !force && far === old.far && brief === old.brief && seen.x >= old.x && seen.y >= old.y && seen.x + seen.width <= old.x + old.width && seen.y + seen.height <= old.y + old.height;
      const m = MARGIN / scale;
      return covered ? old : { x: seen.x - m, y: seen.y - m, width: seen.width + 2 * m, height: seen.height + 2 * m, far, brief };
    });
  };
  const fit = (layout: Layout | null): void => {
    if (!layout || size.width === 0) return;
    const whole = Math.min(size.width / Math.max(1, layout.width), size.height / Math.max(1, layout.height));
    // A long flow begins at its start in a size that can be read; a large one is seen as a whole first.
    const scale = Math.min(1, Math.max(whole, layout.boxes.length > 120 ? 0.04 : 0.6));
    camera.current = {
      scale, x: layout.width * scale < size.width ? (size.width - layout.width * scale) / 2 : 0,
      y: layout.height * scale < size.height ? (size.height - layout.height * scale) / 2 : 0,
    };
    apply();
    settle(true);
  };
  useEffect(() => { apply(); });
  // A new layout, or the first time there is room for it: shown as a whole or from its beginning.
  const fitted = useRef<Layout | null>(null);
  const moved = useRef(false);
  useEffect(() => {
    if (!drawn || size.width === 0) return;
    // Again when the room changes, until somebody has moved it: the view becomes as tall as what is in it needs.
    if (fitted.current === drawn && moved.current) return;
    if (fitted.current !== drawn) moved.current = false;
    fitted.current = drawn;
    fit(drawn);
  }, [drawn, size.width, size.height]);

  const zoom = (factor: number, cx = size.width / 2, cy = size.height / 2): void => {
    const { x, y, scale } = camera.current;
    moved.current = true;
    const next = Math.min(2.5, Math.max(0.03, scale * factor));
    camera.current = { scale: next, x: cx - ((cx - x) * next) / scale, y: cy - ((cy - y) * next) / scale };
    apply();
    settle();
  };
  const pan = (dx: number, dy: number): void => {
    moved.current = true;
    camera.current = { ...camera.current, x: camera.current.x + dx, y: camera.current.y + dy };
    apply();
    settle();
  };

  useEffect(() => {
    const element = ref.current;
    if (!element) return;
    const wheel = (event: WheelEvent): void => {
      event.preventDefault();
      const box = element.getBoundingClientRect();
      if (event.ctrlKey || event.metaKey) zoom(Math.exp(-event.deltaY * 0.004), event.clientX - box.left, event.clientY - box.top);
      else pan(-event.deltaX, -event.deltaY);
    };
    const pointers = new Map<number, { x: number; y: number }>();
    let apart = 0;
    const press = (event: PointerEvent): void => {
      if (event.button !== 0 || (event.target as Element).closest("button")) return;
      pointers.set(event.pointerId, { x: event.clientX, y: event.clientY });
      apart = 0;
    };
    const drag = (event: PointerEvent): void => {
      const last = pointers.get(event.pointerId);
      if (!last) return;
      const next = { x: event.clientX, y: event.clientY };
      pointers.set(event.pointerId, next);
      if (pointers.size === 1) {
        if (!element.hasPointerCapture(event.pointerId) && Math.hypot(next.x - last.x, next.y - last.y) > 1) element.setPointerCapture(event.pointerId);
        pan(next.x - last.x, next.y - last.y);
        return;
      }
      const [a, b] = [...pointers.values()];
      if (!a || !b) return;
      const distance = Math.hypot(a.x - b.x, a.y - b.y);
      const box = element.getBoundingClientRect();
      if (apart > 0) zoom(distance / apart, (a.x + b.x) / 2 - box.left, (a.y + b.y) / 2 - box.top);
      apart = distance;
    };
    const release = (event: PointerEvent): void => { pointers.delete(event.pointerId); apart = 0; };
    element.addEventListener("wheel", wheel, { passive: false });
    element.addEventListener("pointerdown", press);
    element.addEventListener("pointermove", drag);
    element.addEventListener("pointerup", release);
    element.addEventListener("pointercancel", release);
    return () => {
      element.removeEventListener("wheel", wheel);
      element.removeEventListener("pointerdown", press);
      element.removeEventListener("pointermove", drag);
      element.removeEventListener("pointerup", release);
      element.removeEventListener("pointercancel", release);
    };
  });

  /** Arrow keys go along the edges; the chosen task is told in words. */
  const key = (event: KeyboardEvent): void => {
    if (!drawn || !["ArrowRight", "ArrowLeft", "ArrowUp", "ArrowDown", "Enter", "+", "-", "0"].includes(event.key)) return;
    event.preventDefault();
    event.stopPropagation();
    if (event.key === "+") return zoom(1.25);
    if (event.key === "-") return zoom(0.8);
    if (event.key === "0") return fit(drawn);
    const node = focus ? byId.get(focus) : undefined;
    if (event.key === "Enter") { if (node) select?.(node); return; }
    const from = focus ? boxes.get(focus) : undefined;
    const next = from ? nearest(drawn.boxes, from, event.key) : drawn.boxes[0];
    if (!next) return;
    setFocus(next.id);
    moved.current = true;
    const { scale } = camera.current;
    camera.current = { scale: Math.max(scale, 0.7), x: size.width / 2 - (next.x + next.width / 2) * Math.max(scale, 0.7), y: size.height / 2 - (next.y + next.height / 2) * Math.max(scale, 0.7) };
    apply();
    settle();
  };

  const most = Math.max(300, Math.min(700, globalThis.innerHeight * 0.66));
  const tall = drawn ? Math.min(most, Math.max(240, drawn.height + 72)) : most;
  const focused = focus ? byId.get(focus) : undefined;
  const visible = (box: Box): boolean => box.x < view.x + view.width && box.x + box.width > view.x && box.y < view.y + view.height && box.y + box.height > view.y;
  return (
    <div class="topology">
      <div class="topology-view" ref={ref} style={{ height: `${tall}px` }} tabIndex={0} role="application" aria-label={`${label}. Arrow keys go from task to task, Enter opens, plus and minus zoom, zero fits.`} onKeyDown={key}
        data-nodes={drawn?.boxes.length ?? 0}>
        {drawn ? null : <Skeleton rows={3} />}
        <svg ref={svg} aria-hidden="true">
          <g ref={stage}>
            {drawn ? (view.far ? <Far layout={drawn} byId={byId} /> : <>
              {drawn.groups.filter(visible).map((box) => {
                const node = byId.get(box.id);
                return <g key={box.id} class="group"><rect x={box.x} y={box.y} width={box.width} height={box.height} rx="10" />
                  <text x={box.x + 10} y={box.y - 5}>{node?.task}</text></g>;
              })}
              {drawn.lines.filter((line) => near(line.points, view)).map((line) => {
                // A path of its own each: what comes into view must not paint all the others again.
                return <path key={`${line.from}>${line.to}`} class="edges" d={curve(line.points, down) + head(line.points, down)} />;
              })}
              {drawn.boxes.filter(visible).map((box) => {
                const node = byId.get(box.id);
                return node ? <Card key={box.id} node={node} box={box} brief={view.brief} chosen={box.id === focus || box.id === selected}
                  fold={inside.has(node.id) ? () => patch({ groups: turned(named, [...inside], node.id) }) : null}
                  pick={() => { setFocus(node.id); select?.(node); }} /> : null;
              })}
            </>) : null}
          </g>
        </svg>
        <div class="topology-tools">
          {inside.size > 0 ? <button type="button" class="button" onClick={() => patch({ groups: closed.size > 0 ? null : EVERY })}>{closed.size > 0 ? "Open groups" : "Close groups"}</button> : null}
          <button type="button" class="icon-button" aria-label="Zoom in" onClick={() => zoom(1.25)}><Icon name="plus" /></button>
          <button type="button" class="icon-button" aria-label="Zoom out" onClick={() => zoom(0.8)}><Icon name="minus" /></button>
          <button type="button" class="icon-button" aria-label="Fit" onClick={() => fit(drawn)}><Icon name="fit" /></button>
        </div>
      </div>
      <p class="sr" role="status">{focused ? words(focused) : ""}</p>
    </div>
  );
}

function words(node: GraphNode): string {
  const counts = node.counts && node.counts.total > 1 ? `, ${node.counts.done} done, ${node.counts.failed} failed, ${node.counts.running} running of ${node.counts.total}` : "";
  return `${node.task}${node.state ? `, ${look(node.state).word}` : ""}${counts}`;
}

function Card({ node, box, brief, chosen, pick, fold }: { node: GraphNode; box: Box; brief: boolean; chosen: boolean; pick: () => void; fold: (() => void) | null }): JSX.Element {
  const state = node.state ?? null;
  const { tone, word } = look(state);
  const counts = node.counts && node.counts.total > 1 ? node.counts : null;
  const bar = box.width - 24;
  return (
    <g class={`node ${state ? `tone-${tone}` : "tone-plain"}${chosen ? " chosen" : ""}`} data-node={node.id} data-state={state ?? ""} transform={`translate(${box.x} ${box.y})`} onClick={pick}>
      <title>{words(node)}</title>
      <rect class="node-box" width={box.width} height={box.height} rx="8" />
      {state ? <rect class="node-edge" width="4" height={box.height - 12} x="4" y="6" rx="2" /> : null}
      {state ? <g class="node-icon" transform="translate(14 8)"><Icon name={look(state).icon} size={15} /></g> : null}
      <text class="node-name" x={state ? 36 : 14} y={brief && !counts ? 27 : 20}>{clip(node.task, state ? 21 : 24)}</text>
      {brief && !counts ? null : <text class="node-kind" x={state ? 36 : 14} y="36">{counts ? `${counts.done} / ${counts.failed} / ${counts.running} / ${counts.total}` : state ? word : short(node.taskType ?? node.kind)}</text>}
      {counts ? <>
        <rect class="fan-track" x="12" y={box.height - 13} width={bar} height="5" rx="2.5" />
        <rect class="fan-done" x="12" y={box.height - 13} width={(bar * counts.done) / counts.total} height="5" />
        <rect class="fan-failed" x={12 + (bar * counts.done) / counts.total} y={box.height - 13} width={(bar * counts.failed) / counts.total} height="5" />
        <rect class="fan-running" x={12 + (bar * (counts.done + counts.failed)) / counts.total} y={box.height - 13} width={(bar * counts.running) / counts.total} height="5" />
      </> : null}
      {fold ? <g class="node-fold" onClick={(event) => { event.stopPropagation(); fold(); }} transform={`translate(${box.width - 24} 14)`}><rect x="-4" y="-6" width="24" height="26" fill="transparent" /><Icon name="plus" size={14} /></g> : null}
    </g>
  );
}

/** One path per state: what is far away has a colour and a place, no words. */
function Far({ layout, byId }: { layout: Layout; byId: Map<string, GraphNode> }): JSX.Element {
  const paths = new Map<string, string>();
  let crosses = "";
  for (const box of layout.boxes) {
    const state: State | null = byId.get(box.id)?.state ?? null;
    const tone = state ? look(state).tone : "plain";
    // Without colour: what failed is crossed out, what waits is hollow, what runs has a frame.
    if (tone === "bad") crosses += `M${Math.round(box.x)} ${Math.round(box.y)}l${box.width} ${box.height}m${-box.width} 0l${box.width} ${-box.height}`;
    paths.set(tone, `${paths.get(tone) ?? ""}M${Math.round(box.x)} ${Math.round(box.y)}h${box.width}v${box.height}h${-box.width}z`);
  }
  const edges = layout.lines.map(({ points }) => { const a = points[0]; const b = points.at(-1); return a && b ? `M${Math.round(a.x)} ${Math.round(a.y)}L${Math.round(b.x)} ${Math.round(b.y)}` : ""; }).join("");
  return <g class="far"><path class="edges" d={edges} />{[...paths].map(([tone, d]) => <path key={tone} class={`tone-${tone} far-boxes far-${tone}`} d={d} />)}<path class="far-crosses" d={crosses} /></g>;
}

function curve(points: readonly { x: number; y: number }[], down: boolean): string {
  const [first, ...rest] = points;
  if (!first) return "";
  let path = `M${first.x} ${first.y}`;
  let last = first;
  for (const point of rest) {
    path += down
      ? `C${last.x} ${(last.y + point.y) / 2} ${point.x} ${(last.y + point.y) / 2} ${point.x} ${point.y}`
      : `C${(last.x + point.x) / 2} ${last.y} ${(last.x + point.x) / 2} ${point.y} ${point.x} ${point.y}`;
    last = point;
  }
  return path;
}

/** Where a line ends: an open arrow. */
function head(points: readonly { x: number; y: number }[], down: boolean): string {
  const end = points.at(-1);
  if (!end) return "";
  return down ? `M${end.x - 3.5} ${end.y - 5}L${end.x} ${end.y}L${end.x + 3.5} ${end.y - 5}` : `M${end.x - 5} ${end.y - 3.5}L${end.x} ${end.y}L${end.x - 5} ${end.y + 3.5}`;
}

function near(points: readonly { x: number; y: number }[], view: { x: number; y: number; width: number; height: number }): boolean {
  const a = points[0];
  const b = points.at(-1);
  if (!a || !b) return false;
  return Math.min(a.x, b.x) < view.x + view.width && Math.max(a.x, b.x) > view.x && Math.min(a.y, b.y) < view.y + view.height && Math.max(a.y, b.y) > view.y;
}

function nearest(boxes: readonly Box[], from: Box, key: string): Box | undefined {
  let best: Box | undefined;
  let least = Infinity;
  const horizontal = key === "ArrowLeft" || key === "ArrowRight";
  const sign = key === "ArrowRight" || key === "ArrowDown" ? 1 : -1;
  for (const box of boxes) {
    if (box.id === from.id) continue;
    const dx = box.x + box.width / 2 - from.x - from.width / 2;
    const dy = box.y + box.height / 2 - from.y - from.height / 2;
    const along = sign * (horizontal ? dx : dy);
    if (along <= 4) continue;
    const cost = along + 2.5 * Math.abs(horizontal ? dy : dx);
    if (cost < least) { least = cost; best = box; }
  }
  return best;
}

function clip(text: string, most: number): string {
  return text.length > most ? `${text.slice(0, most - 1)}…` : text;
}

function short(kind: string): string {
  return clip(kind.split(".").slice(-2).join("."), 26);
}
