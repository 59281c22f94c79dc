// What the API answers. The contract is docs/api of the server; fields that a server may leave out are optional.

export type State =
  | "CREATED" | "SUBMITTED" | "QUEUED" | "RUNNING" | "PAUSED" | "RETRYING" | "RETRIED" | "RESTARTED"
  | "KILLING" | "SUCCESS" | "WARNING" | "FAILED" | "KILLED" | "CANCELLED" | "SKIPPED";

export type Json = null | boolean | number | string | Json[] | { [key: string]: Json };
export type JsonMap = { [key: string]: Json };

export interface Page<T> { items: T[]; next: string | null }

export interface Cause { type: string; id: string | null; detail?: Json }

export interface ExecutionSummary {
  id: string;
  namespace: string;
  flow: string;
  revision: number;
  state: State;
  reason: string | null;
  labels: Record<string, string>;
  createdMs: number;
  startedMs: number | null;
  endedMs: number | null;
  trigger: Cause | null;
  parent: string | null;
  replayOf: string | null;
  /** Only in lists. */
  lastTask?: LastTask;
}

/** The task that is at work, else the one that failed, else the last that ran. */
export interface LastTask { task: string; state: State; attempts: number }

export interface StateChange { state: State; atMs: number }

export interface Execution extends ExecutionSummary {
  inputs: JsonMap;
  outputs: JsonMap;
  history: StateChange[];
  counts: Partial<Record<State, number>>;
  cost: Cost;
  replayFrom: string | null;
  correlationId?: string;
  previous: string | null;
  next: string | null;
  children: ExecutionSummary[];
  pauses: Pause[];
  failedItems: number;
}

export interface Cost { usd: number; vcpuSeconds: number; gbSeconds: number; cpuSecondsUsed: number; complete: boolean }
export interface Pause { taskRun: string; task: string; name: string; inputs: InputSpec[] }

export interface Usage { peakRssBytes?: number; cpuSeconds?: number }
export interface Metric { name: string; type: string; value: number; tags?: Record<string, string> }
export interface MetricTotal { task: string; name: string; type: string; count: number; value: number }

export interface Attempt {
  attempt: number;
  state: State;
  reason: string | null;
  message: string | null;
  exitCode: number | null;
  createdMs: number;
  startedMs: number | null;
  endedMs: number | null;
  usage?: Usage | null;
}

export interface TaskRun {
  id: string;
  task: string;
  name: string;
  item: Json;
  parent: string | null;
  kind: string;
  taskType?: string | null;
  state: State;
  reason: string | null;
  message: string | null;
  exitCode: number | null;
  createdMs: number;
  startedMs: number | null;
  endedMs: number | null;
  outputs: Json;
  outputsUri?: string | null;
  metrics: Metric[];
  usage: Usage | null;
  cached?: boolean;
  reusedFrom?: string | null;
  attempts: Attempt[];
}

export interface Counts { done: number; failed: number; running: number; total: number }
export interface GraphNode {
  id: string; task: string; kind: string; taskType?: string | null; parent: string | null; phase?: string;
  state?: State | null; taskRun?: string | null; counts?: Counts | null;
}
export interface Graph { nodes: GraphNode[]; edges: { from: string; to: string }[] }

export type LogLevel = "TRACE" | "DEBUG" | "INFO" | "WARN" | "ERROR";
export interface LogLine { seq: number; timeMs: number; level: LogLevel; text: string; taskRun: string; attempt: number }
export interface LogPage {
  items: LogLine[]; next: string | null; ended: boolean;
  /** There are lines that were not looked at; a search goes on there. */
  more: boolean; searchedUpTo: number | null; leftOut: string | null;
}

export interface Artifact { uri: string; name: string; taskRun: string | null; task: string | null }
export interface Preview { kind: string; size: number; truncated: boolean; text: string | null }

export interface Flow {
  namespace: string;
  id: string;
  revision: number;
  description?: string | null;
  labels?: Record<string, string>;
  disabled?: boolean;
  updatedMs?: number | null;
  updatedBy?: string | null;
  latest?: ExecutionSummary[];
}

export interface Revision { revision: number; current?: boolean; createdMs?: number | null; createdBy?: string | null; message?: string | null; planHash?: string; source?: string }

export interface Diagnostic {
  severity: "error" | "warning" | "info";
  line: number; column: number; endLine?: number | null; endColumn?: number | null;
  rule: string; message: string; fix?: string | null;
}
export interface Validation { diagnostics: Diagnostic[]; omitted: number; graph: Graph | null }
export interface Difference { from: number; to: number; source: string; plan: string; samePlan: boolean }

export interface Trigger {
  namespace: string; flow: string; id: string; type: string; disabled: boolean;
  lastMs: number | null; nextMs: number | null; late: boolean; missedDates?: MissedDate[]; missedCount?: number;
  detail: string | null; url: string | null; lastError: string | null; backfill?: BackfillState | null;
}

export interface BackfillState {
  fromMs: number; toMs: number; nextMs: number; paused: boolean; over: boolean; started: number; skipped: number; active: number;
}

export interface MissedDate { dateMs: number; atMs: number; reason: string | null }

export interface DeadLetter { id: string; queue: string; atMs: number; reason: string; body: string; execution: string | null; putBackMs?: number }

export interface Lock { name: string; key?: string; owners: { execution: string; quarantinedUntilMs: number | null }[]; queue: string[] }
export interface Concurrency { limit: number | null; behavior: string | null; key: string | null; lock: Lock | null; locks: Lock[] }

export type InputType =
  | "STRING" | "INT" | "FLOAT" | "BOOLEAN" | "DURATION" | "DATE" | "TIME" | "DATETIME" | "SELECT" | "MULTISELECT"
  | "FILE" | "JSON" | "YAML" | "URI" | "EMAIL" | "SECRET" | "ARRAY" | "OBJECT" | "TABLE";
export interface InputSpec {
  id: string; type: InputType; required?: boolean; defaults?: Json; displayName?: string | null; description?: string | null;
  min?: Json; max?: Json; validator?: string | null;
  values?: (string | [string, string | null] | { value: string; label?: string | null })[];
  allowCustomValue?: boolean; allowedFileExtensions?: string[]; itemType?: InputType | null; properties?: InputSpec[];
}

export interface Overview {
  states: { at: number; counts: Partial<Record<State, number>> }[];
  counts: Partial<Record<State, number>>;
  inProgress: number;
  running: ExecutionSummary[];
  failures: ExecutionSummary[];
  nextSchedules: Trigger[];
  throughput: { at: number; value: number }[];
  /** What is counted is less than what there is. */
  truncated: boolean; inProgressTruncated: boolean; throughputTruncated: boolean;
}

export interface BulkReport { matched: number; more: boolean; next?: string | null; done: number; skipped: { id: string; reason: string }[]; preview: ExecutionSummary[] }
export interface Me { subject: string; local: boolean; role: "viewer" | "operator" | "editor" | "admin" }

export interface Problem {
  type?: string; title: string; status: number; detail?: string;
  errors?: { line?: number; column?: number; rule?: string; message: string; fix?: string | null }[];
}
