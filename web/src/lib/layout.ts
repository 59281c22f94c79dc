// Where the tasks of a flow are drawn. Runs in a worker: a thousand tasks must not stop the page.
import dagre from "@dagrejs/dagre";
import type { Graph } from "./types";

export interface Box { id: string; x: number; y: number; width: number; height: number }
export interface Line { from: string; to: string; points: { x: number; y: number }[] }
export interface Layout { boxes: Box[]; groups: Box[]; lines: Line[]; width: number; height: number }
export interface Request { graph: Pick<Graph, "nodes" | "edges">; sizes: Record<string, [number, number]>; groups: string[]; down: boolean }

/** Above this many tasks in rows of equal rank the exact layout takes too long; a grid by rank takes its place. */
const EXACT_MAX = 400;

export function layout(request: Request): Layout {
  return request.graph.nodes.length > EXACT_MAX ? ranked(request) : exact(request);
}

function exact({ graph, sizes, groups, down }: Request): Layout {
  const compound = groups.length > 0;
  const g = new dagre.graphlib.Graph({ compound, multigraph: false });
  g.setGraph({ rankdir: down ? "TB" : "LR", nodesep: 18, ranksep: 44, edgesep: 10, marginx: 24, marginy: 24 });
  g.setDefaultEdgeLabel(() => ({}));
  const grouped = new Set(groups);
  for (const node of graph.nodes) {
    const [width, height] = sizes[node.id] ?? [180, 44];
    g.setNode(node.id, grouped.has(node.id) ? {} : { width, height });
  }
  if (compound) {
    for (const node of graph.nodes) if (node.parent && grouped.has(node.parent) && node.parent !== node.id) g.setParent(node.id, node.parent);
  }
  for (const edge of graph.edges) {
    // An edge to a group itself has no place in a compound layout; it goes to its first or last member.
    const from = inner(graph, grouped, edge.from, "last");
    const to = inner(graph, grouped, edge.to, "first");
    if (from && to && from !== to) g.setEdge(from, to);
  }
  dagre.layout(g);
  const boxes: Box[] = [];
  const frames: Box[] = [];
  for (const id of g.nodes()) {
    const { x, y, width, height } = g.node(id) as { x: number; y: number; width: number; height: number };
    (grouped.has(id) ? frames : boxes).push({ id, x: x - width / 2, y: y - height / 2, width, height });
  }
  const lines = g.edges().map((edge) => ({ from: edge.v, to: edge.w, points: (g.edge(edge) as { points: { x: number; y: number }[] }).points }));
  const { width = 0, height = 0 } = g.graph() as { width?: number; height?: number };
  return { boxes, groups: frames, lines, width, height };
}

function inner(graph: Request["graph"], grouped: Set<string>, id: string, which: "first" | "last"): string | null {
  let at = id;
  for (let depth = 0; grouped.has(at) && depth < 32; depth += 1) {
    const members = graph.nodes.filter((node) => node.parent === at);
    const next = which === "first" ? members[0] : members.at(-1);
    if (!next) return null;
    at = next.id;
  }
  return at;
}

/** Tasks in columns (or rows) by the longest way to them, wrapped where a rank is long. */
export function ranked({ graph, sizes, down, groups }: Request): Layout {
  const grouped = new Set(groups);
  const nodes = graph.nodes.filter((node) => !grouped.has(node.id));
  const rank = ranks(nodes.map((node) => node.id), graph.edges);
  const byRank: string[][] = [];
  for (const node of nodes) (byRank[rank.get(node.id) ?? 0] ??= []).push(node.id);
  const boxes: Box[] = [];
  const place = new Map<string, Box>();
  let along = 24;
  let extent = 0;
  const LANE = 40;
  for (const ids of byRank) {
    if (!ids) continue;
    const lanes = Math.ceil(ids.length / LANE);
    const perLane = Math.ceil(ids.length / lanes);
    for (let lane = 0; lane < lanes; lane += 1) {
      let across = 24;
      let deepest = 0;
      for (const id of ids.slice(lane * perLane, (lane + 1) * perLane)) {
        const [width, height] = sizes[id] ?? [180, 44];
        const box = down ? { id, x: across, y: along, width, height } : { id, x: along, y: across, width, height };
        boxes.push(box);
        place.set(id, box);
        across += (down ? width : height) + 16;
        deepest = Math.max(deepest, down ? height : width);
      }
      extent = Math.max(extent, across);
      along += deepest + (lane === lanes - 1 ? 56 : 24);
    }
  }
  const lines: Line[] = [];
  for (const edge of graph.edges) {
    const a = place.get(edge.from);
    const b = place.get(edge.to);
    if (!a || !b) continue;
    const points = down
      ? [{ x: a.x + a.width / 2, y: a.y + a.height }, { x: b.x + b.width / 2, y: b.y }]
      : [{ x: a.x + a.width, y: a.y + a.height / 2 }, { x: b.x, y: b.y + b.height / 2 }];
    lines.push({ from: edge.from, to: edge.to, points });
  }
  return { boxes, groups: [], lines, width: down ? extent : along, height: down ? along : extent };
}

export function ranks(ids: readonly string[], edges: readonly { from: string; to: string }[]): Map<string, number> {
  const rank = new Map(ids.map((id) => [id, 0]));
  const out = new Map<string, string[]>();
  const incoming = new Map(ids.map((id) => [id, 0]));
  for (const { from, to } of edges) {
    if (!rank.has(from) || !rank.has(to) || from === to) continue;
    const list = out.get(from);
    if (list) list.push(to);
    else out.set(from, [to]);
    incoming.set(to, (incoming.get(to) ?? 0) + 1);
  }
  const ready = ids.filter((id) => incoming.get(id) === 0);
  for (let next = ready.shift(); next !== undefined; next = ready.shift()) {
    for (const to of out.get(next) ?? []) {
      rank.set(to, Math.max(rank.get(to) ?? 0, (rank.get(next) ?? 0) + 1));
      const left = (incoming.get(to) ?? 1) - 1;
      incoming.set(to, left);
      if (left === 0) ready.push(to);
    }
  }
  return rank;
}
