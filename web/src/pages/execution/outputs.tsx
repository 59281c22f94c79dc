// What the tasks gave: a tree per task, files with a preview of their head, expressions to copy and to try.
import type { JSX } from "preact";
import { useMemo, useState } from "preact/hooks";
import { API, ApiError, get, list, post, route } from "../../lib/api";
import { outputsOf } from "../../lib/expressions";
import { useData } from "../../lib/hooks";
import { patch, query } from "../../lib/route";
import { bytes } from "../../lib/time";
import type { Artifact, Execution, Json, Preview, TaskRun } from "../../lib/types";
import { Copy, Empty, Skeleton, StateIcon, Trouble } from "../../ui/bits";
import { Icon } from "../../ui/icons";
import { may } from "../../ui/shell";
import { previewOf, type Shown } from "../../lib/preview";

const PREVIEW_BYTES = 65_536;
/** Files that are read, and task runs with outputs that are shown at once. */
const FILES_MAX = 5_000;
const SHOWN = 200;

export function Outputs({ execution, runs, version }: { execution: Execution; runs: TaskRun[]; version: number }): JSX.Element {
  const params = query.value;
  const withOutputs = useMemo(() => runs.filter((run) => hasContent(run.outputs)), [version]);
  const artifacts = useData(`artifacts ${execution.id} ${execution.state}`, (signal) => list<Artifact>(route("executions", execution.id, "artifacts"), {}, signal, FILES_MAX));
  const [most, setMost] = useState(SHOWN);
  const uri = params.get("file");
  const pick = (file: string): void => patch({ file });
  const names = new Map(runs.map((run) => [run.id, run.name]));
  return (
    <div class="outputs">
      <div class="outputs-list">
        {may("operate") ? <Evaluate execution={execution} /> : null}
        <section class="card"><h2>Outputs of the flow</h2>{hasContent(execution.outputs) ? <Tree value={execution.outputs} root="outputs" pick={pick} /> : <p class="muted">None{execution.endedMs === null ? " so far" : ""}.</p>}</section>
        <section class="card"><h2>Files</h2>
          {artifacts.error ? <Trouble error={artifacts.error} retry={artifacts.reload} /> : !artifacts.data ? <Skeleton rows={3} /> : artifacts.data.items.length === 0 ? <p class="muted">No task stored a file.</p> : (
            <ul class="files">{artifacts.data.items.map((file) => (
              <li key={file.uri} class={file.uri === uri ? "current" : ""}>
                <button type="button" class="text-button" onClick={() => pick(file.uri)}><Icon name="file" size={14} /><span class="file-name">{file.name}</span></button>
                <span class="muted">{file.taskRun ? names.get(file.taskRun) ?? file.task ?? file.taskRun : "input"}</span>
                <a class="icon-button" href={`${API}/artifacts/download?uri=${encodeURIComponent(file.uri)}`} download aria-label={`Download ${file.name}`}><Icon name="download" size={14} /></a>
              </li>
            ))}</ul>
          )}
          {artifacts.data?.next ? <p class="muted">There are more; <code>operon artifacts list {execution.id}</code> names them all.</p> : null}
        </section>
        {withOutputs.slice(0, most).map((run) => (
          <section key={run.id} class="card"><h2><StateIcon state={run.state} /> {run.name}{run.reusedFrom ? <span class="tag">reused</span> : null}</h2>
            <Tree value={run.outputs} root={outputsOf(run)} pick={pick} /></section>
        ))}
        {withOutputs.length > most ? <p class="more"><button type="button" class="button" onClick={() => setMost(most + SHOWN)}>Show more of {withOutputs.length} task runs with outputs</button></p> : null}
      </div>
      <div class="outputs-preview">{uri ? <FilePreview key={uri} uri={uri} /> : <Empty title="Choose a file" icon="file">Its first {bytes(PREVIEW_BYTES)} are shown here: text, tables, JSON, FASTA.</Empty>}</div>
    </div>
  );
}

function hasContent(value: Json): boolean {
  return value !== null && (typeof value !== "object" || Object.keys(value).length > 0);
}

/** JSON as a tree; each value gives the expression that reaches it. */
export function Tree({ value, root, pick, depth = 0 }: { value: Json; root: string; pick?: (uri: string) => void; depth?: number }): JSX.Element {
  if (value === null || typeof value !== "object") return <Leaf value={value} root={root} pick={pick} />;
  const entries: [string, Json][] = Array.isArray(value) ? value.map((item, index) => [String(index), item]) : Object.entries(value);
  if (entries.length === 0) return <span class="muted">{Array.isArray(value) ? "[]" : "{}"}</span>;
  return (
    <ul class="tree">
      {entries.slice(0, 500).map(([key, inner]) => {
        const expression = reach(root, key, Array.isArray(value));
        const nested = inner !== null && typeof inner === "object" && Object.keys(inner).length > 0;
        return (
          <li key={key}>
            {nested ? (
              <details open={depth < 2 && Object.keys(inner).length <= 20}><summary><span class="tree-key">{key}</span> <span class="muted">{Array.isArray(inner) ? `${inner.length} items` : `${Object.keys(inner).length} keys`}</span></summary>
                <Tree value={inner} root={expression} pick={pick} depth={depth + 1} /></details>
            ) : <span class="tree-leaf"><span class="tree-key">{key}</span> <Leaf value={inner} root={expression} pick={pick} /></span>}
          </li>
        );
      })}
      {entries.length > 500 ? <li class="muted">and {entries.length - 500} more</li> : null}
    </ul>
  );
}

/** `outputs.a.b`, `outputs['a-b']`, `outputs.a[0]`: as the expression language reads it. */
export function reach(root: string, key: string, index: boolean): string {
  if (index) return `${root}[${key}]`;
  return /^[A-Za-z_][A-Za-z0-9_]*$/.test(key) ? `${root}.${key}` : `${root}['${key.replaceAll("\\", "\\\\").replaceAll("'", "\\'")}']`;
}

function Leaf({ value, root, pick }: { value: Json; root: string; pick?: (uri: string) => void }): JSX.Element {
  const file = typeof value === "string" && /^(operon|s3):\/\//.test(value);
  return (
    <>
      {file && pick ? <button type="button" class="text-button mono" onClick={() => pick(value)} title={value}><Icon name="file" size={13} />{value.split("/").at(-1)}</button>
        : <span class={`mono value-${value === null ? "null" : typeof value}`}>{typeof value === "string" ? value : JSON.stringify(value)}</span>}
      <Copy text={`{{ ${root} }}`} label={`Copy {{ ${root} }}`} />
    </>
  );
}

function Evaluate({ execution }: { execution: Execution }): JSX.Element {
  const [text, setText] = useState("");
  const [answer, setAnswer] = useState<{ value: Json } | null>(null);
  const [error, setError] = useState<ApiError | null>(null);
  const act = async (): Promise<void> => {
    setError(null);
    try {
      const found = await post<{ result: Json }>(route("executions", execution.id, "evaluate"), { expression: text });
      setAnswer({ value: found.result });
    } catch (failure) { setAnswer(null); if (failure instanceof ApiError) setError(failure); }
  };
  return (
    <section class="card"><h2>Try an expression</h2>
      <form class="evaluate" onSubmit={(event) => { event.preventDefault(); void act(); }}>
        <label class="grow"><span class="sr">Expression</span><input class="mono" placeholder="{{ outputs.ingest.vars.organisms | length }}" value={text} onInput={(event) => setText(event.currentTarget.value)} /></label>
        <button type="submit" class="button" disabled={!text.trim()}>Evaluate</button>
      </form>
      {answer ? <pre class="answer" tabIndex={0}>{typeof answer.value === "string" ? answer.value : JSON.stringify(answer.value, null, 2)}</pre> : null}
      {error ? <Trouble error={error} /> : null}
    </section>
  );
}

function FilePreview({ uri }: { uri: string }): JSX.Element {
  const name = uri.split("/").at(-1) ?? uri;
  const preview = useData(`preview ${uri}`, (signal) => get<Preview>("/artifacts/preview", { uri, bytes: PREVIEW_BYTES }, signal));
  const shown = preview.data !== null ? previewOf(name, preview.data) : null;
  return (
    <section class="card preview">
      <div class="preview-head"><h2 class="file-name">{name}</h2><span class="grow" />
        <Copy text={uri} label="Copy the address" /><a class="button" href={`${API}/artifacts/download?uri=${encodeURIComponent(uri)}`} download><Icon name="download" size={14} />Download</a></div>
      {preview.error ? <Trouble error={preview.error} retry={preview.reload} /> : !shown ? <Skeleton rows={6} /> : <>
        <Content shown={shown} />{shown.truncated && preview.data ? <p class="muted">The first {bytes(preview.data.text?.length)} of {bytes(preview.data.size)}.</p> : null}</>}
    </section>
  );
}

function Content({ shown }: { shown: Shown }): JSX.Element {
  switch (shown.kind) {
    case "table": return (
      <div class="table-wrap" tabIndex={0} role="region" aria-label="Table"><table class="table compact">
        <thead><tr>{(shown.rows[0] ?? []).map((cell, index) => <th key={index}>{cell}</th>)}</tr></thead>
        <tbody>{shown.rows.slice(1, 201).map((row, index) => <tr key={index}>{row.map((cell, column) => <td key={column}>{cell}</td>)}</tr>)}</tbody>
      </table></div>);
    case "json": return <div class="scroll" tabIndex={0} role="region" aria-label="JSON"><Tree value={shown.value} root="value" /></div>;
    case "fasta": return <pre class="fasta" tabIndex={0}>{shown.records.map((record, index) => <span key={index}><b>{record.header}{"\n"}</b>{record.sequence}{"\n"}</span>)}</pre>;
    case "text": return <pre class="text" tabIndex={0}>{shown.text}</pre>;
    case "binary": return <p class="muted">Not text. Download it to look inside.</p>;
  }
}
