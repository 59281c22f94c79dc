// From declared inputs to a form and back to the values of a request.
import type { InputSpec, Json, JsonMap } from "./types";

export interface Choice { value: string; label: string }

export function choices(spec: InputSpec): Choice[] {
  return (spec.values ?? []).map((one) => {
    if (typeof one === "string") return { value: one, label: one };
    if (Array.isArray(one)) return { value: one[0], label: one[1] ?? one[0] };
    return { value: one.value, label: one.label ?? one.value };
  });
}

/** What a field shows for a value. */
export function shown(value: Json | undefined): string {
  if (value === undefined || value === null) return "";
  return typeof value === "string" ? value : JSON.stringify(value);
}

/** The value a former execution or the default gives; inputs with dots are nested. */
export function initial(spec: InputSpec, former: JsonMap | null): string {
  const found = former ? dig(former, spec.id) : undefined;
  return shown(found ?? spec.defaults);
}

export function dig(map: JsonMap, id: string): Json | undefined {
  if (id in map) return map[id];
  let value: Json | undefined = map;
  for (const part of id.split(".")) {
    if (value === null || typeof value !== "object" || Array.isArray(value)) return undefined;
    value = value[part];
  }
  return value;
}

export type Read = { value: Json | undefined; error?: undefined } | { error: string; value?: undefined };

/** Reads a field. `undefined` means that no value is given, so that the default counts. */
export function read(spec: InputSpec, text: string): Read {
  const required = spec.required !== false;
  if (text === "") {
    return required && (spec.defaults === undefined || spec.defaults === null) ? { error: "A value is required." } : { value: undefined };
  }
  switch (spec.type) {
    case "INT": return /^-?\d+$/.test(text.trim()) ? bounded(spec, Number(text)) : { error: "A whole number, such as 12." };
    case "FLOAT": return Number.isFinite(Number(text)) && text.trim() !== "" ? bounded(spec, Number(text)) : { error: "A number, such as 0.5." };
    case "BOOLEAN": return { value: text === "true" };
    case "DURATION": return /^(P(?!$)(\d+[YMWD])*(T(?=\d)([\d.]+[HMS])+)?|(\d+(ms|[smhd]))+)$/i.test(text.trim())
      ? { value: text.trim() } : { error: "A duration, such as PT15M or 15m." };
    case "ARRAY": case "MULTISELECT": return list(text);
    case "JSON": case "OBJECT": case "TABLE": return json(text);
    case "EMAIL": return /^[^\s@]+@[^\s@]+$/.test(text) ? { value: text } : { error: "An address, such as name@example.org." };
    case "URI": return /^[a-z][a-z0-9+.-]*:/i.test(text) ? { value: text } : { error: "An address with its scheme, such as https://example.org." };
    case "STRING": return validated(spec, text);
    case "SELECT": case "DATE": case "TIME": case "DATETIME": case "FILE": case "YAML": case "SECRET":
      return { value: text };
  }
}

function bounded(spec: InputSpec, value: number): Read {
  if (spec.min !== undefined && spec.min !== null && value < Number(spec.min)) return { error: `At least ${Number(spec.min)}.` };
  if (spec.max !== undefined && spec.max !== null && value > Number(spec.max)) return { error: `At most ${Number(spec.max)}.` };
  return { value };
}

function validated(spec: InputSpec, text: string): Read {
  if (!spec.validator) return { value: text };
  try {
    if (!new RegExp(spec.validator).test(text)) return { error: `Must match ${spec.validator}` };
  } catch {
    // A pattern of another dialect: the server decides.
  }
  return { value: text };
}

function list(text: string): Read {
  if (text.trim().startsWith("[")) return json(text);
  return { value: text.split(/[\n,]/).map((part) => part.trim()).filter(Boolean) };
}

function json(text: string): Read {
  try { return { value: JSON.parse(text) as Json }; } catch (error) { return { error: `Not JSON: ${(error as Error).message}` }; }
}

/** The request as a command for a shell. The token stays a variable: it is not for a history file. */
export function curl(origin: string, path: string, body: unknown, key: string): string {
  const quoted = JSON.stringify(body, null, 2).replaceAll("'", `'\\''`);
  return [
    `curl -sS '${origin}${path}'`,
    `  -H "Authorization: Bearer $OPERON_TOKEN"`,
    `  -H 'Content-Type: application/json'`,
    `  -H 'Idempotency-Key: ${key}'`,
    `  -d '${quoted}'`,
  ].join(" \\\n");
}
