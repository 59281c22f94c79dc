// What the head of a file is shown as: by its name first, by its content where the name says nothing.
import type { Json, Preview } from "./types";

export type Shown = { truncated: boolean } & (
  | { kind: "table"; rows: string[][] }
  | { kind: "json"; value: Json }
  | { kind: "fasta"; records: { header: string; sequence: string }[] }
  | { kind: "text"; text: string }
  | { kind: "binary" });

export function previewOf(name: string, { kind, text, truncated }: Preview): Shown {
  if (text === null || kind === "binary") return { kind: "binary", truncated };
  return ofText(kind === "text" ? name : kind === "csv" && /\.tsv$/i.test(name) ? name : `x.${kind}`, text, truncated);
}

export function ofText(name: string, text: string, truncated: boolean): Shown {
  if (text.includes("\u0000")) return { kind: "binary", truncated };
  const extension = /\.([a-z0-9]+)$/i.exec(name)?.[1]?.toLowerCase() ?? "";
  // The last line may be cut in the middle.
  const whole = truncated && text.includes("\n") ? text.slice(0, text.lastIndexOf("\n") + 1) : text;
  if (extension === "csv" || extension === "tsv") return { kind: "table", rows: table(whole, extension === "csv" ? "," : "\t"), truncated };
  if (["fasta", "fa", "fna", "faa", "ffn"].includes(extension) || (extension === "" && text.startsWith(">"))) return { kind: "fasta", records: fasta(whole), truncated };
  if (extension === "json" || (extension === "" && /^[[{]/.test(text))) {
    try { return { kind: "json", value: JSON.parse(text) as Json, truncated }; } catch { /* Cut, or not JSON: as text. */ }
  }
  return { kind: "text", text: whole, truncated };
}

/** Comma- or tab-separated values with quotes as in RFC 4180. */
export function table(text: string, separator: string): string[][] {
  const rows: string[][] = [];
  let row: string[] = [];
  let cell = "";
  let quoted = false;
  for (let index = 0; index < text.length; index += 1) {
    const char = text[index] as string;
    if (quoted) {
      if (char !== '"') cell += char;
      else if (text[index + 1] === '"') { cell += '"'; index += 1; } else quoted = false;
    } else if (char === '"' && cell === "") quoted = true;
    else if (char === separator) { row.push(cell); cell = ""; }
    else if (char === "\n" || char === "\r") {
      if (char === "\r" && text[index + 1] === "\n") index += 1;
      row.push(cell);
      rows.push(row);
      row = [];
      cell = "";
    } else cell += char;
  }
  if (cell !== "" || row.length > 0) { row.push(cell); rows.push(row); }
  return rows;
}

export function fasta(text: string): { header: string; sequence: string }[] {
  const records: { header: string; sequence: string }[] = [];
  for (const line of text.split(/\r?\n/)) {
    if (line.startsWith(">")) records.push({ header: line, sequence: "" });
    else if (line) {
      const last = records.at(-1);
      if (last) last.sequence += (last.sequence ? "\n" : "") + line;
      else records.push({ header: "", sequence: line });
    }
  }
  return records;
}
