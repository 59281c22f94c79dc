// The source of a flow: read, changed and checked while it is typed, never silently overwritten.
import type { JSX } from "preact";
import { useEffect, useMemo, useState } from "preact/hooks";
import { ApiError, call, get, route } from "../../lib/api";
import { diff } from "../../lib/diff";
import { useData, useDebounced } from "../../lib/hooks";
import { go, path } from "../../lib/route";
import type { Diagnostic, Flow, Graph, Validation } from "../../lib/types";
import { Skeleton, Trouble } from "../../ui/bits";
import { Dialog, say } from "../../ui/dialog";
import { Editor } from "../../ui/editor";
import { Icon } from "../../ui/icons";
import { may } from "../../ui/shell";
import { Topology } from "../../ui/topology";
import { DiffView } from "./revisions";

const REST_MS = 250;
const TEMPLATE = `id: my-flow
namespace: pathoplexus
description: What it does, for whom.

tasks:
  - id: hello
    type: log
    message: "Hello"
`;

export async function sourceOf(namespace: string, id: string, signal?: AbortSignal): Promise<string> {
  const found = await get<string | { source: string }>(route("flows", namespace, id, "source"), {}, signal);
  return typeof found === "string" ? found : found.source;
}

export function SourceTab({ namespace, id, revision, saved }: { namespace: string; id: string; revision: number; saved: () => void }): JSX.Element {
  // Edits begin from a revision and keep it, whatever is deployed meanwhile.
  const [base, setBase] = useState(revision);
  const source = useData(`source ${namespace}/${id} ${base}`, (signal) => sourceOf(namespace, id, signal));
  if (source.data === null) return source.error ? <Trouble error={source.error} retry={source.reload} /> : <Skeleton rows={14} />;
  return <Workbench key={base} original={source.data} base={base} newest={revision} target={{ namespace, id }} saved={(made) => { setBase(made); saved(); }} />;
}

export function NewFlow(): JSX.Element {
  return (
    <div class="page">
      <div class="page-head"><h1>New flow</h1></div>
      <Workbench original={TEMPLATE} base={0} newest={0} target={null} saved={() => undefined} />
    </div>
  );
}

interface WorkbenchProps { original: string; base: number; newest: number; target: { namespace: string; id: string } | null; saved: (revision: number) => void }

function Workbench({ original, base, newest, target, saved }: WorkbenchProps): JSX.Element {
  const [text, setText] = useState(original);
  const rested = useDebounced(text, REST_MS);
  const [graph, setGraph] = useState<Graph | null>(null);
  const [spot, setSpot] = useState<{ line: number; column: number; key: number } | null>(null);
  const [busy, setBusy] = useState(false);
  const [error, setError] = useState<ApiError | null>(null);
  const [conflict, setConflict] = useState<{ theirs: string } | null>(null);
  const [review, setReview] = useState(false);
  const check = useData(`validate ${rested}`, (signal) => call<Validation>("POST", "/flows/validate", { body: { source: rested }, signal }));
  const diagnostics: Diagnostic[] = useMemo(() => check.data?.diagnostics ?? [], [check.data]);
  const [known, setKnown] = useState<Diagnostic[]>([]);
  useEffect(() => { if (check.data) { setKnown(check.data.diagnostics); if (check.data.graph) setGraph(check.data.graph); } }, [check.data]);
  const errors = known.filter((one) => one.severity === "error").length;
  const changed = text !== original;
  const pending = text !== rested || check.loading;
  const editable = may("edit");

  useEffect(() => {
    if (!changed) return;
    const warn = (event: BeforeUnloadEvent): void => event.preventDefault();
    addEventListener("beforeunload", warn);
    return () => removeEventListener("beforeunload", warn);
  }, [changed]);

  const save = async (over?: number): Promise<void> => {
    setBusy(true);
    setError(null);
    try {
      const place = target ?? headOf(text);
      if (!place) { setBusy(false); setError(new ApiError({ status: 0, title: "The flow needs `id` and `namespace` at its top" })); return; }
      const made = await call<Flow>("PUT", route("flows", place.namespace, place.id), { text, headers: base || over ? { "If-Match": String(over ?? base) } : { "If-None-Match": "*" } });
      setReview(false); setConflict(null); setBusy(false);
      say(`Saved as revision ${made?.revision ?? "new"}`);
      if (target) saved(made?.revision ?? base + 1);
      else go(path("flows", place.namespace, place.id));
    } catch (failure) {
      setBusy(false);
      setReview(false);
      if (!(failure instanceof ApiError)) return;
      if ((failure.status === 412 || failure.status === 409) && target) setConflict({ theirs: await sourceOf(target.namespace, target.id) });
      else setError(failure);
    }
  };

  return (
    <div class={`workbench${graph ? " with-graph" : ""}`}>
      <div class="workbench-bar">
        <span class={`verdict ${errors > 0 ? "tone-bad" : known.length > 0 ? "tone-warn" : "tone-good"}`} role="status" data-pending={pending}>
          <Icon name={pending ? "dots" : errors > 0 ? "cross" : known.length > 0 ? "warn" : "check"} size={14} />
          {pending ? "Checking…" : errors > 0 ? `${errors} error${errors === 1 ? "" : "s"}` : known.length > 0 ? `${known.length} warning${known.length === 1 ? "" : "s"}` : "Valid"}
        </span>
        {check.error ? <span class="field-error">Not checked: {check.error.message}</span> : null}
        <span class="grow" />
        {newest > base && base > 0 ? <span class="tone-warn chip">Revision {newest} was saved meanwhile</span> : null}
        {changed && target ? <button type="button" class="button" onClick={() => setText(original)}>Undo all</button> : null}
        {editable ? <button type="button" class="button primary" disabled={(target !== null && !changed) || errors > 0 || pending || busy} onClick={() => (target ? setReview(true) : void save())}>{target ? "Review and save" : "Create"}</button> : null}
      </div>
      {error ? <Trouble error={error} /> : null}
      <div class="workbench-split">
        <Editor text={text} set={editable ? setText : undefined} diagnostics={pending ? known.filter((one) => one.line <= text.split("\n").length) : diagnostics} label="Source of the flow" goTo={spot} />
        {known.length > 0 ? (
          <ul class="diagnostics" aria-label="What the check found">{known.slice(0, 100).map((one, index) => (
            <li key={index} class={one.severity === "error" ? "tone-bad" : "tone-warn"}>
              <button type="button" onClick={() => setSpot({ line: one.line, column: one.column, key: Date.now() })}>
                <Icon name={one.severity === "error" ? "cross" : "warn"} size={14} label={one.severity} /><span class="num place">{one.line}:{one.column}</span>
                <span><b>{one.message}</b>{one.fix ? <span class="muted"> {one.fix}</span> : null} <code class="rule">{one.rule}</code></span></button>
            </li>
          ))}</ul>
        ) : null}
        {graph ? <div class="workbench-graph"><Topology graph={graph} label="Topology of what is written" select={(node) => {
          const line = text.split("\n").findIndex((one) => new RegExp(`^\\s*(- )?id:\\s*['"]?${escape(node.task)}['"]?\\s*$|id: ${escape(node.task)}[,}]`).test(one));
          if (line >= 0) setSpot({ line: line + 1, column: 1, key: Date.now() });
        }} /></div> : null}
      </div>
      {review && target ? (
        <Dialog wide title="Save this change?" close={() => setReview(false)} foot={<><button type="button" class="button" onClick={() => setReview(false)}>Go on editing</button><button type="button" class="button primary" disabled={busy} onClick={() => void save()}>Save as a new revision</button></>}>
          <p>Executions that start from now on use it. Those in progress stay on their revision; no running container is stopped.</p>
          <DiffView lines={diff(original, text)} />
        </Dialog>
      ) : null}
      {conflict && target ? (
        <Dialog wide title="Somebody saved this flow meanwhile" close={() => setConflict(null)} foot={<><button type="button" class="button" onClick={() => setConflict(null)}>Go on editing</button><button type="button" class="button danger" disabled={busy} onClick={() => void save(newest)}>Save mine on top</button></>}>
          <p>Nothing was overwritten. This is how their source differs from yours; theirs stays among the revisions whatever you choose.</p>
          <DiffView lines={diff(conflict.theirs, text)} />
        </Dialog>
      ) : null}
    </div>
  );
}

function headOf(text: string): { namespace: string; id: string } | null {
  const id = /^id:\s*['"]?([A-Za-z0-9._-]+)/m.exec(text)?.[1];
  const namespace = /^namespace:\s*['"]?([a-z0-9._-]+)/m.exec(text)?.[1];
  return id && namespace ? { id, namespace } : null;
}

function escape(text: string): string {
  return text.replace(/[.*+?^${}()|[\]\\]/g, "\\$&");
}
