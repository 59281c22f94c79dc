// Starting an execution: a form made of the declared inputs.
import type { JSX } from "preact";
import { useEffect, useId, useMemo, useRef, useState } from "preact/hooks";
import { API, ApiError, get, post, route, upload } from "../lib/api";
import { useData } from "../lib/hooks";
import { choices, curl, initial, read } from "../lib/inputs";
import { go, path } from "../lib/route";
import type { Execution, ExecutionSummary, InputSpec, Page } from "../lib/types";
import { Copy, Skeleton, Trouble } from "../ui/bits";
import { Dialog } from "../ui/dialog";
import { Icon } from "../ui/icons";

interface Props { namespace: string; flow: string; revision?: number | null; former?: Execution | null; close: () => void }

export function RunDialog({ namespace, flow, revision, former = null, close }: Props): JSX.Element {
  const specs = useData(`inputs ${namespace}/${flow}`, async (signal) => {
    const found = await get<InputSpec[] | { items: InputSpec[] } | { inputs: InputSpec[] }>(route("flows", namespace, flow, "inputs"), {}, signal);
    return Array.isArray(found) ? found : "items" in found ? found.items : found.inputs;
  });
  const recent = useData(`former ${namespace}/${flow}`, (signal) => get<Page<ExecutionSummary>>("/executions", { namespace, flow, limit: 20 }, signal));
  const [from, setFrom] = useState<Execution | null>(former);
  const [texts, setTexts] = useState<Record<string, string> | null>(null);
  const [labels, setLabels] = useState(former ? Object.entries(former.labels).filter(([key]) => !key.startsWith("system.")).map(([key, value]) => `${key}: ${value}`).join("\n") : "");
  const [tried, setTried] = useState(false);
  const [busy, setBusy] = useState(false);
  const [error, setError] = useState<ApiError | null>(null);
  const id = useId();
  // One key for this form: pressing twice starts one execution.
  const [key, setKey] = useState(makeKey);

  useEffect(() => {
    if (specs.data) setTexts(Object.fromEntries(specs.data.map((spec) => [spec.id, initial(spec, spec.type === "SECRET" ? null : from?.inputs ?? null)])));
    setKey(makeKey());
  }, [specs.data, from]);

  // The form comes after the dialog, which had nothing but its close button to put the focus on.
  const form = useRef<HTMLFormElement>(null);
  useEffect(() => {
    if (document.activeElement?.closest("dialog header")) form.current?.querySelector<HTMLElement>(".input-field :is(input, select, textarea)")?.focus();
  }, [texts === null]);

  const reads = useMemo(() => new Map((specs.data ?? []).map((spec) => [spec.id, read(spec, texts?.[spec.id] ?? "")])), [specs.data, texts]);
  const body = useMemo(() => {
    const inputs: Record<string, unknown> = {};
    for (const [name, one] of reads) if (one.error === undefined && one.value !== undefined) inputs[name] = one.value;
    const labelMap: Record<string, string> = {};
    for (const line of labels.split("\n")) {
      const colon = line.indexOf(":");
      if (colon > 0) labelMap[line.slice(0, colon).trim()] = line.slice(colon + 1).trim();
    }
    return { namespace, flow, ...(revision ? { revision } : {}), inputs, ...(Object.keys(labelMap).length > 0 ? { labels: labelMap } : {}) };
  }, [reads, labels]);
  const wrong = [...reads.values()].some((one) => one.error !== undefined);

  const act = async (): Promise<void> => {
    setTried(true);
    if (wrong) return;
    setBusy(true);
    setError(null);
    try {
      const made = await post<{ id: string }>("/executions", body, { "Idempotency-Key": key });
      close();
      go(path("executions", made.id));
    } catch (failure) {
      setBusy(false);
      setError(failure instanceof ApiError ? failure : new ApiError({ status: 0, title: String(failure) }));
    }
  };
  const prefill = async (value: string): Promise<void> => {
    if (!value) { setFrom(null); return; }
    try { setFrom(await get<Execution>(route("executions", value))); } catch (failure) { if (failure instanceof ApiError) setError(failure); }
  };
  const shown = (recent.data?.items ?? []).some((row) => row.id === from?.id) || !from ? recent.data?.items ?? [] : [from, ...(recent.data?.items ?? [])];

  return (
    <Dialog title={`Run ${flow}`} close={close} wide foot={<>
      <Copy plain text={curl(window.location.origin, `${API}/executions`, body, key)} label="Copy the request as a command">Copy as curl</Copy>
      <span class="grow" />
      <button type="button" class="button" onClick={close}>Leave it</button>
      <button type="submit" form={id} class="button primary" disabled={busy || !texts}><Icon name="play" size={14} />Run</button>
    </>}>
      {specs.error ? <Trouble error={specs.error} retry={specs.reload} /> : null}
      {!texts && !specs.error ? <Skeleton rows={4} /> : null}
      {texts ? (
        <form id={id} ref={form} class="form" onSubmit={(event) => { event.preventDefault(); void act(); }} noValidate>
          {shown.length > 0 ? (
            <label class="prefill">Inputs of<select value={from?.id ?? ""} onChange={(event) => void prefill(event.currentTarget.value)}>
              <option value="">the flow's defaults</option>
              {shown.map((row) => <option key={row.id} value={row.id}>{`${row.id.slice(0, 12)} (${row.state.toLowerCase()}, ${new Date(row.createdMs).toLocaleString()})`}</option>)}
            </select></label>
          ) : null}
          {specs.data?.length === 0 ? <p class="muted">This flow takes no inputs.</p> : null}
          {specs.data?.map((spec) => {
            const one = reads.get(spec.id);
            const problem = one?.error !== undefined && (tried || (texts[spec.id] ?? "") !== "") ? one.error : null;
            return <InputField key={spec.id} spec={spec} text={texts[spec.id] ?? ""} problem={problem} set={(text) => { setTexts({ ...texts, [spec.id]: text }); setKey(makeKey()); }} />;
          })}
          <label>Labels<textarea class="mono" rows={2} placeholder="reason: backfill" value={labels} onInput={(event) => setLabels(event.currentTarget.value)} /></label>
          {error ? <Trouble error={error} /> : null}
        </form>
      ) : null}
    </Dialog>
  );
}

function makeKey(): string {
  return typeof crypto.randomUUID === "function" ? crypto.randomUUID() : Array.from(crypto.getRandomValues(new Uint8Array(16)), (byte) => byte.toString(16).padStart(2, "0")).join("");
}

/** What an object or a table looks like. */
function inside(spec: InputSpec): string | undefined {
  if (!spec.properties?.length) return undefined;
  const one = `{${spec.properties.map((property) => `"${property.id}": ${property.type === "STRING" ? '"…"' : "…"}`).join(", ")}}`;
  return spec.type === "TABLE" ? `[${one}, …]` : one;
}

export function InputField({ spec, text, problem, set }: { spec: InputSpec; text: string; problem: string | null; set: (text: string) => void }): JSX.Element {
  const id = useId();
  const about = `${id}-about`;
  const common = { id, "aria-describedby": about, "aria-invalid": problem !== null };
  const options = choices(spec);
  let field: JSX.Element;
  if (spec.type === "BOOLEAN") {
    field = <select {...common} value={text} onChange={(event) => set(event.currentTarget.value)}><option value="">not given</option><option value="true">true</option><option value="false">false</option></select>;
  } else if (spec.type === "SELECT" && options.length > 0 && !spec.allowCustomValue) {
    field = <select {...common} value={text} onChange={(event) => set(event.currentTarget.value)}><option value="">choose</option>{options.map((one) => <option key={one.value} value={one.value}>{one.label}</option>)}</select>;
  } else if (spec.type === "MULTISELECT" && options.length > 0) {
    const chosen = chosenOf(text);
    field = <span class="checks" role="group" aria-label={spec.displayName ?? spec.id}>{options.map((one) => <label key={one.value} class="check-label"><input type="checkbox" checked={chosen.includes(one.value)}
      onChange={() => set(JSON.stringify(chosen.includes(one.value) ? chosen.filter((other) => other !== one.value) : [...chosen, one.value]))} />{one.label}</label>)}</span>;
  } else if (["JSON", "YAML", "ARRAY", "OBJECT", "TABLE"].includes(spec.type)) {
    field = <textarea {...common} class="mono" rows={spec.type === "ARRAY" ? 2 : 4} value={text} placeholder={inside(spec)} onInput={(event) => set(event.currentTarget.value)} />;
  } else {
    const kinds: Partial<Record<string, "number" | "date" | "time" | "password" | "email">> = { INT: "number", FLOAT: "number", DATE: "date", TIME: "time", SECRET: "password", EMAIL: "email" };
    const kind = kinds[spec.type] ?? "text";
    field = <input {...common} type={kind as "text"} step={spec.type === "FLOAT" ? "any" : undefined} autocomplete="off" value={text} list={options.length > 0 ? `${id}-list` : undefined} placeholder={spec.type === "FILE" ? "operon:/// or s3:// address" : ""} onInput={(event) => set(event.currentTarget.value)} />;
  }
  if (spec.type === "FILE") field = <span class="file-field">{field}<Upload spec={spec} set={set} /></span>;
  return (
    <div class="input-field">
      <label for={id}>{spec.displayName ?? spec.id}<span class="muted"> {spec.type.toLowerCase()}{spec.required === false ? ", optional" : ""}</span></label>
      {field}
      {options.length > 0 && spec.allowCustomValue ? <datalist id={`${id}-list`}>{options.map((one) => <option key={one.value} value={one.value} />)}</datalist> : null}
      <span id={about} class={problem ? "field-error" : "hint"}>{problem ?? spec.description ?? ""}</span>
    </div>
  );
}

/** A file of this computer becomes an artifact of the server, and its address the value. */
function Upload({ spec, set }: { spec: InputSpec; set: (text: string) => void }): JSX.Element {
  const [busy, setBusy] = useState(false);
  const [error, setError] = useState<string | null>(null);
  const take = async (field: HTMLInputElement): Promise<void> => {
    const file = field.files?.[0];
    if (!file) return;
    setBusy(true);
    setError(null);
    try { set(await upload(file)); } catch (failure) { setError(failure instanceof ApiError ? failure.message : String(failure)); }
    setBusy(false);
    // So that the same file can be chosen again.
    field.value = "";
  };
  return <>
    <label class={`button file-button${busy ? " busy" : ""}`}>{busy ? "Uploading…" : "Choose a file"}
      <input type="file" class="sr" disabled={busy} accept={spec.allowedFileExtensions?.join(",")} onChange={(event) => void take(event.currentTarget)} aria-label={`Choose a file for ${spec.displayName ?? spec.id}`} /></label>
    {error ? <span class="field-error" role="alert">{error}</span> : null}
  </>;
}

function chosenOf(text: string): string[] {
  const found = read({ id: "", type: "ARRAY", required: false }, text);
  return Array.isArray(found.value) ? found.value.map(String) : [];
}
