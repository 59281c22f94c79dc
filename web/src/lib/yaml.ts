// Highlighting of flow sources: one line at a time, tolerant of everything, never a parser.

export type Kind = "key" | "text" | "number" | "word" | "comment" | "mark" | "expression" | "plain";
export interface Token { kind: Kind; text: string }

/** Carried from line to line: the indent of a block scalar (`|`, `>`), -1 outside of one. */
export interface Carry { block: number }

export const START: Carry = { block: -1 };

const KEY = /^(\s*(?:- +)*)((?:"[^"]*"|'[^']*'|[^\s#'"{}[\],&*!|>%@`-][^:#]*?|[A-Za-z0-9_.$-]+))(\s*:)(?=\s|$)/;

export function tokens(line: string, carry: Carry): { tokens: Token[]; carry: Carry } {
  const indent = line.length - line.trimStart().length;
  if (carry.block >= 0) {
    if (line.trim() === "" || indent > carry.block) return { tokens: expressions(line, "text"), carry };
  }
  const found: Token[] = [];
  let rest = line;
  const key = KEY.exec(line);
  if (key) {
    push(found, "mark", key[1] as string);
    push(found, "key", key[2] as string);
    push(found, "mark", key[3] as string);
    rest = line.slice(key[0].length);
  } else {
    const dash = /^(\s*(?:- +)+|\s*-$)/.exec(line);
    if (dash) { push(found, "mark", dash[0]); rest = line.slice(dash[0].length); }
  }
  const block = /(?:^|\s)([|>][+-]?\d*)\s*(#.*)?$/.exec(rest);
  found.push(...values(rest));
  return { tokens: found, carry: { block: block ? indent + (key ? dashes(key[1] as string) : 0) : -1 } };
}

/** `- script: |` continues below the dash, so the block ends at the dash's own indent. */
function dashes(prefix: string): number {
  return prefix.trimStart().length === 0 ? 0 : prefix.length - (prefix.length - prefix.trimStart().length);
}

const VALUE = /(\s#.*$|^#.*$)|("(?:[^"\\]|\\.)*"?|'(?:[^']|'')*'?)|(\{\{.*?\}\})|([{}[\],]|[|>][+-]?\d*(?=\s*$))|([^\s{}[\],"'#]+|#)/g;

function values(text: string): Token[] {
  const found: Token[] = [];
  let at = 0;
  for (const match of text.matchAll(VALUE)) {
    if (match.index > at) push(found, "plain", text.slice(at, match.index));
    at = match.index + match[0].length;
    const [whole, comment, quoted, expression, mark] = match;
    if (comment !== undefined) push(found, "comment", whole);
    else if (quoted !== undefined) found.push(...expressions(whole, "text"));
    else if (expression !== undefined) push(found, "expression", whole);
    else if (mark !== undefined) push(found, "mark", whole);
    else if (/^-?\d+(\.\d+)?$/.test(whole)) push(found, "number", whole);
    else if (/^(true|false|null|~)$/.test(whole)) push(found, "word", whole);
    else if (/^[^\s:]+:$/.test(whole)) push(found, "key", whole);
    else push(found, "plain", whole);
  }
  if (at < text.length) push(found, "plain", text.slice(at));
  return found;
}

function expressions(text: string, kind: Kind): Token[] {
  const found: Token[] = [];
  let at = 0;
  for (const match of text.matchAll(/\{\{.*?\}\}|\{%.*?%\}/g)) {
    push(found, kind, text.slice(at, match.index));
    push(found, "expression", match[0]);
    at = match.index + match[0].length;
  }
  push(found, kind, text.slice(at));
  return found;
}

function push(found: Token[], kind: Kind, text: string): void {
  if (!text) return;
  const last = found.at(-1);
  if (last?.kind === kind) last.text += text;
  else found.push({ kind, text });
}
