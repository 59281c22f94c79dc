// What is around every page: navigation, theme, keyboard help, sign-in.
import type { ComponentChildren, JSX } from "preact";
import { useState } from "preact/hooks";
import { signal } from "@preact/signals";
import { ApiError, call, get, signedOut } from "../lib/api";
import { commands } from "../lib/keys";
import { useData, useKeys } from "../lib/hooks";
import { go, here } from "../lib/route";
import type { Me } from "../lib/types";
import { Dialog, Questions } from "./dialog";
import { Icon } from "./icons";
import { Key } from "./bits";
import { SessionOver, SignIn } from "./sign-in";

type Theme = "auto" | "light" | "dark";
const theme = signal<Theme>((document.documentElement.dataset["theme"] as Theme | undefined) ?? "auto");

function setTheme(next: Theme): void {
  theme.value = next;
  if (next === "auto") delete document.documentElement.dataset["theme"];
  else document.documentElement.dataset["theme"] = next;
  try {
    if (next === "auto") localStorage.removeItem("operon.theme");
    else localStorage.setItem("operon.theme", next);
  } catch { /* Storage may be blocked; the choice then lasts for this page. */ }
}

const NEXT: Record<Theme, Theme> = { auto: "light", light: "dark", dark: "auto" };
const ICONS: Record<Theme, string> = { auto: "auto", light: "sun", dark: "moon" };

const PAGES = [
  { href: "/", label: "Overview", icon: "chart" },
  { href: "/executions", label: "Executions", icon: "list" },
  { href: "/flows", label: "Flows", icon: "flow" },
  { href: "/triggers", label: "Triggers", icon: "bolt" },
];

export const me = signal<Me | null>(null);
/** Whether a role may do what changes something; without an answer the server decides. */
export function may(what: "operate" | "edit"): boolean {
  const role = me.value?.role;
  if (!role) return true;
  return what === "edit" ? role === "editor" || role === "admin" : role !== "viewer";
}

export function Shell({ children }: { children: ComponentChildren }): JSX.Element {
  const [help, setHelp] = useState(false);
  const who = useData<Me>("me", async (signal) => { me.value = await get<Me>("/me", {}, signal); signedOut.value = false; return me.value; });
  useKeys([
    { key: "?", label: "This help", run: () => setHelp(true) },
    { key: "/", label: "Filter", run: () => document.querySelector<HTMLElement>("[data-filter]")?.focus() },
    { key: "1", label: "", run: () => go("/") },
    { key: "2", label: "", run: () => go("/executions") },
    { key: "3", label: "", run: () => go("/flows") },
    { key: "4", label: "", run: () => go("/triggers") },
  ]);
  const at = here.value.path;
  if (!me.value && who.error instanceof ApiError && who.error.status === 401) return <SignIn />;
  return (
    <>
      <a class="skip" href="#main" onClick={(event) => { event.preventDefault(); document.getElementById("main")?.focus(); }}>Skip to content</a>
      <header class="top">
        <a class="brand" href="/" aria-label="Operon, overview"><img src="/favicon.svg" width="22" height="22" alt="" /><span>Operon</span></a>
        <nav aria-label="Pages">
          {PAGES.map((page) => (
            <a key={page.href} href={page.href} aria-current={(page.href === "/" ? at === "/" : at.startsWith(page.href)) ? "page" : undefined}>
              <Icon name={page.icon} /><span>{page.label}</span>
            </a>
          ))}
        </nav>
        <span class="grow" />
        {who.error && who.error.status !== 401 ? <span class="offline" role="status"><Icon name="warn" size={14} /><span>Server not reached</span></span> : null}
        {me.value ? <span class="who" title={`Signed in as ${me.value.subject}`}><Icon name="person" size={14} /><span>{me.value.subject}</span><span class="muted">{me.value.role}</span></span> : null}
        {me.value && !me.value.local ? <button type="button" class="icon-button" onClick={() => void leave()} aria-label="Sign out" title="Sign out"><Icon name="leave" /></button> : null}
        <button type="button" class="icon-button" onClick={() => setHelp(true)} aria-label="Keyboard" title="Keyboard (?)"><Icon name="keyboard" /></button>
        <button type="button" class="icon-button" onClick={() => setTheme(NEXT[theme.value])} aria-label={`Theme: ${theme.value}`} title={`Theme: ${theme.value}`}><Icon name={ICONS[theme.value]} /></button>
      </header>
      <main id="main" tabIndex={-1}>{children}</main>
      {help ? <Help close={() => setHelp(false)} /> : null}
      <Questions />
      {signedOut.value && me.value ? <SessionOver again={who.reload} /> : null}
    </>
  );
}

/** Forgets who it is, and asks anew. */
async function leave(): Promise<void> {
  await call("DELETE", "/session");
  location.assign("/");
}

function Help({ close }: { close: () => void }): JSX.Element {
  return (
    <Dialog title="Keyboard" close={close}>
      <table class="keys"><tbody>
        {commands.value.map((command) => <tr key={command.key}><th scope="row"><Key>{command.key}</Key></th><td>{command.label}</td></tr>)}
        <tr><th scope="row"><Key>1</Key> … <Key>4</Key></th><td>Overview, executions, flows, triggers</td></tr>
        <tr><th scope="row"><Key>Esc</Key></th><td>Leave a field, close a dialog</td></tr>
      </tbody></table>
    </Dialog>
  );
}
