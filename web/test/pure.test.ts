import { describe, expect, it } from "vitest";
import { diff, folded } from "../src/lib/diff";
import { outputsOf } from "../src/lib/expressions";
import { curl, initial, read } from "../src/lib/inputs";
import { layout, ranks } from "../src/lib/layout";
import { fasta, ofText, table } from "../src/lib/preview";
import { bytes, dollars, duration, relative, ticking } from "../src/lib/time";
import type { InputSpec, InputType, Json } from "../src/lib/types";
import { even, uneven, windowOf } from "../src/lib/virtual";
import { START, tokens, type Carry } from "../src/lib/yaml";

describe("durations", () => {
  it.each([[0, "0 ms"], [340, "340 ms"], [4_250, "4.2 s"], [185_000, "3m 05s"], [7_805_000, "2h 10m"], [275_000_000, "3d 4h"], [-5, "0 ms"]])("%i is %s", (ms, text) => expect(duration(ms)).toBe(text));
  it("tick in whole seconds", () => expect(ticking(4_900)).toBe("4 s"));
  it("are relative both ways", () => {
    expect(relative(1000, 1000)).toBe("just now");
    expect(relative(0, 65_000)).toBe("1 min ago");
    expect(relative(7_300_000, 0)).toBe("in 2 h");
  });
  it("and sizes and costs are short", () => {
    expect([bytes(0), bytes(2048), bytes(3_650_722_201)]).toEqual(["0 B", "2.0 KiB", "3.4 GiB"]);
    expect([dollars(0), dollars(0.000_123_4), dollars(12.345)]).toEqual(["$0", "$0.00012", "$12.35"]);
  });
});

describe("windows of long lists", () => {
  it("cover what is seen and add up to the whole", () => {
    const heights = Array.from({ length: 5000 }, (_, index) => (index % 97 === 0 ? 400 : 30));
    const offsets = uneven(heights);
    const total = heights.reduce((sum, one) => sum + one, 0);
    for (const top of [0, 15, 9_000, total - 800, total + 50]) {
      const shown = windowOf(offsets, top, 800);
      const drawn = heights.slice(shown.first, shown.last).reduce((sum, one) => sum + one, 0);
      expect(shown.before + drawn + shown.after).toBe(total);
      expect(shown.before).toBeLessThanOrEqual(Math.min(top, total));
      expect(shown.before + drawn).toBeGreaterThanOrEqual(Math.min(total, top + 800));
      expect(shown.last - shown.first).toBeLessThan(60);
    }
    expect(offsets.find(0)).toBe(0);
    expect(uneven([]).find(0)).toBe(0);
  });

  it("are the same whether heights are counted out or summed up", () => {
    for (const count of [0, 1, 40, 5000]) {
      const summed = uneven(Array.from({ length: count }, () => 20));
      for (const top of [0, 19, 20, 20 * count - 1, 20 * count + 500]) expect(windowOf(even(count, 20), top, 333)).toEqual(windowOf(summed, top, 333));
    }
  });
});

describe("highlighting", () => {
  const paint = (text: string): string[] => {
    let carry: Carry = START;
    return text.split("\n").map((line) => { const done = tokens(line, carry); carry = done.carry; return done.tokens.map((one) => `${one.kind}:${one.text}`).join("|"); });
  };
  it("keeps every character of any text", () => {
    for (const text of ["id: x", "  - id: 'a b' # note", "a: {b: [1, \"c\"], d: {{ x }}}", "\t: :: --- |>", "script: |\n  id: no key\n\n  x\nnext: 1", "key: \"unclosed", "- - a", "{", "a:b", "  #"]) {
      let carry: Carry = START;
      for (const line of text.split("\n")) {
        const done = tokens(line, carry);
        carry = done.carry;
        expect(done.tokens.map((one) => one.text).join("")).toBe(line);
      }
    }
  });
  it("knows keys, texts, numbers, expressions and blocks", () => {
    expect(paint("retry: {maxAttempts: 4}")[0]).toBe("key:retry|mark::|plain: |mark:{|key:maxAttempts:|plain: |number:4|mark:}");
    expect(paint("  - script: |\n      id: {{ x }}\n    env: true")).toEqual(["mark:  - |key:script|mark::|plain: |mark:|", "text:      id: |expression:{{ x }}", "mark:    |key:env|mark::|plain: |word:true"]);
  });
});

describe("differences", () => {
  const apply = (before: string, after: string): void => {
    const lines = diff(before, after);
    const side = (out: "gone" | "new"): string => lines.filter((line) => line.op !== out).map((line) => line.text).join("\n");
    expect(side("new")).toBe(before.replace(/\n$/, ""));
    expect(side("gone")).toBe(after.replace(/\n$/, ""));
  };
  it("give both texts back", () => {
    let seed = 7;
    const random = (): number => (seed = (seed * 16807) % 2147483647) / 2147483647;
    for (let round = 0; round < 200; round += 1) {
      const make = (): string => Array.from({ length: Math.floor(random() * 30) }, () => "abc"[Math.floor(random() * 3)]).join("\n");
      apply(make(), make());
    }
  });
  it("are small for a small change", () => {
    const before = Array.from({ length: 500 }, (_, index) => `line ${index}`);
    const after = before.toSpliced(250, 1, "changed");
    const lines = diff(before.join("\n"), after.join("\n"));
    expect(lines.filter((line) => line.op !== "same")).toHaveLength(2);
    const shown = folded(lines);
    expect(shown.length).toBeLessThan(12);
    const left = shown.reduce<number>((sum, line) => sum + (typeof line === "number" ? line : 1), 0);
    expect(left).toBe(lines.length);
  });
});

describe("inputs", () => {
  const spec = (type: InputType, extra: Partial<InputSpec> = {}): InputSpec => ({ id: "x", type, required: true, ...extra });
  const bad = (one: InputSpec, text: string): boolean => read(one, text).error !== undefined;
  it("are read as their type", () => {
    const cases: [InputType, string, Json][] = [["INT", "12", 12], ["FLOAT", "0.5", 0.5], ["BOOLEAN", "true", true], ["ARRAY", "a, b\nc", ["a", "b", "c"]], ["ARRAY", "[1]", [1]], ["JSON", "{\"a\":1}", { a: 1 }], ["DURATION", "PT15M", "PT15M"], ["STRING", " x ", " x "]];
    for (const [type, text, value] of cases) expect(read(spec(type), text)).toEqual({ value });
  });
  it("say what is wrong", () => {
    expect(bad(spec("INT"), "1.5")).toBe(true);
    expect(bad(spec("INT", { min: 3 }), "2")).toBe(true);
    expect(bad(spec("FLOAT", { max: 1 }), "2")).toBe(true);
    expect(bad(spec("JSON"), "{")).toBe(true);
    expect(bad(spec("DURATION"), "soon")).toBe(true);
    expect(bad(spec("EMAIL"), "x")).toBe(true);
    expect(bad(spec("STRING", { validator: "^a+$" }), "b")).toBe(true);
    expect(bad(spec("STRING"), "")).toBe(true);
    expect(read(spec("STRING", { defaults: "d" }), "")).toEqual({ value: undefined });
    expect(read(spec("STRING", { required: false }), "")).toEqual({ value: undefined });
  });
  it("come from a former execution, also nested", () => {
    expect(initial(spec("INT", { id: "a.b", defaults: 1 }), { a: { b: 2 } })).toBe("2");
    expect(initial(spec("INT", { id: "a.b", defaults: 1 }), { a: 3 })).toBe("1");
  });
  it("as a command are quoted for the shell, without a token", () => {
    const text = curl("http://h", "/p", { note: "it's" }, "k");
    expect(text).toContain(`it'\\''s`);
    expect(text).toContain("$OPERON_TOKEN");
  });
});

describe("previews", () => {
  it("read tables with quotes", () => expect(table("a,\"b,\"\"c\"\"\nd\"\r\n1,2", ",")).toEqual([["a", "b,\"c\"\nd"], ["1", "2"]]));
  it("read FASTA", () => expect(fasta(">a x\nAC\nGT\n>b\n")).toEqual([{ header: ">a x", sequence: "AC\nGT" }, { header: ">b", sequence: "" }]));
  it("choose by name, leave out a half line, and show what is broken as text", () => {
    expect(ofText("x.csv", "a,b\n1,", true)).toMatchObject({ kind: "table", rows: [["a", "b"]] });
    expect(ofText("x.json", "{\"a\":", false)).toMatchObject({ kind: "text" });
    expect(ofText("x", "a\u0000b", false)).toMatchObject({ kind: "binary" });
  });
});

describe("layout", () => {
  const chain = (count: number): { nodes: { id: string; task: string; kind: string; parent: null }[]; edges: { from: string; to: string }[] } => ({
    nodes: Array.from({ length: count }, (_, index) => ({ id: `t${index}`, task: `t${index}`, kind: "task", parent: null })),
    edges: Array.from({ length: count - 1 }, (_, index) => ({ from: `t${Math.floor(index / 3)}`, to: `t${index + 1}` })),
  });
  it.each([12, 1000])("of %i tasks places each once, without overlap, after what it depends on", (count) => {
    const graph = chain(count);
    const made = layout({ graph, sizes: {}, groups: [], down: false });
    expect(new Set(made.boxes.map((box) => box.id)).size).toBe(count);
    const place = new Map(made.boxes.map((box) => [box.id, box]));
    for (const edge of graph.edges) expect(place.get(edge.from)?.x).toBeLessThan(place.get(edge.to)?.x ?? 0);
    const sorted = [...made.boxes].sort((a, b) => a.x - b.x || a.y - b.y);
    for (const [index, box] of sorted.entries()) {
      const next = sorted[index + 1];
      if (next && next.x < box.x + box.width) expect(next.y).toBeGreaterThanOrEqual(box.y + box.height);
    }
  });
  it("ranks by the longest way and ends with a cycle", () => {
    expect([...ranks(["a", "b", "c"], [{ from: "a", to: "b" }, { from: "b", to: "c" }, { from: "a", to: "c" }]).values()]).toEqual([0, 1, 2]);
    expect(ranks(["a", "b"], [{ from: "a", to: "b" }, { from: "b", to: "a" }]).size).toBe(2);
  });
});

describe("expressions that are copied", () => {
  it("name a task, an item of it, and names with hyphens", () => {
    expect(outputsOf({ task: "align", item: null })).toBe("outputs.align");
    expect(outputsOf({ task: "align", item: "mpox" })).toBe("outputs.align['mpox']");
    expect(outputsOf({ task: "align", item: 7 })).toBe("outputs.align['7']");
    expect(outputsOf({ task: "align-all", item: "it's" })).toBe("outputs['align-all']['it\\'s']");
    expect(outputsOf({ task: "align", item: { uri: "operon:///a" } })).toBe("outputs.align");
  });
});
