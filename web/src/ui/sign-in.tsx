// Who calls is not known: at the issuer of a deployment, or by the token of a server on this machine.
import type { JSX } from "preact";
import { useEffect, useState } from "preact/hooks";
import { ApiError, call, get } from "../lib/api";
import { useData } from "../lib/hooks";
import { here } from "../lib/route";
import { Dialog } from "./dialog";
import { Icon } from "./icons";

interface Health { signIn: "issuer" | "token" }

/** What the server says in the address when somebody comes back from the issuer and is not let in. */
const REFUSED: Record<string, string> = {
  denied: "Your identity provider did not let you in.",
  late: "Signing in took too long, or began in another window.",
  failed: "Your identity provider did not answer as expected. The server's log says why.",
  role: "You are known, but have no role here. Ask an administrator for one.",
  large: "Your identity provider's token is too large for a browser to keep. It should name fewer groups.",
};

/** The server's route to the issuer; back to this page afterwards, without what it said about a former try. */
function issuerAddress(): string {
  const at = new URL(here.value.path + location.search, location.origin);
  at.searchParams.delete("sign-in");
  return `/api/v1/session/begin?${new URLSearchParams({ to: at.pathname + at.search }).toString()}`;
}

export function SignIn(): JSX.Element {
  const health = useData<Health>("health", (signal) => get<Health>("/health", {}, signal));
  const refused = new URLSearchParams(location.search).get("sign-in");
  const atIssuer = health.data?.signIn === "issuer";
  return (
    <main class="sign-in">
      <div class="sign-in-box">
        <img src="/favicon.svg" width="40" height="40" alt="" />
        <h1>Sign in to Operon</h1>
        {refused ? <p class="field-error" role="alert">{REFUSED[refused] ?? REFUSED["failed"]}</p> : null}
        {atIssuer ? <>
          <a class="button primary" href={issuerAddress()}><Icon name="person" size={14} />{refused ? "Try again" : "Sign in with your organisation"}</a>
          <details><summary>With a token</summary><TokenForm hint="A token of your identity provider, as `operon` uses it." /></details>
        </> : health.data || health.error ? <TokenForm hint="Open the address that `operon server` printed when it started, or paste its token here." /> : null}
      </div>
    </main>
  );
}

function TokenForm({ hint }: { hint: string }): JSX.Element {
  const [token, set] = useState("");
  const [error, setError] = useState("");
  const enter = async (): Promise<void> => {
    setError("");
    try {
      // The server keeps the token in a cookie that scripts cannot read.
      await call("POST", "/session", { headers: { Authorization: `Bearer ${token.trim()}` } });
      location.reload();
    } catch (failure) {
      setError(failure instanceof ApiError && failure.status === 401 ? "The server does not know this token." : (failure as Error).message);
    }
  };
  const words = hint.split("`").map((part, index) => (index % 2 ? <code key={part}>{part}</code> : part));
  return (
    <form onSubmit={(event) => { event.preventDefault(); if (token.trim()) void enter(); }}>
      <p>{words}</p>
      <label>Token<input type="password" autocomplete="off" value={token} onInput={(event) => set(event.currentTarget.value)} aria-invalid={error !== ""} /></label>
      {error ? <p class="field-error" role="alert">{error}</p> : null}
      <button class="button" type="submit" disabled={!token.trim()}>Sign in</button>
    </form>
  );
}

/** The session ended while a page is open: what is typed in it must not be lost. */
export function SessionOver({ again }: { again: () => void }): JSX.Element {
  const health = useData<Health>("health", (signal) => get<Health>("/health", {}, signal));
  // Whoever signed in in another tab comes back to this one.
  useEffect(() => {
    window.addEventListener("focus", again);
    return () => window.removeEventListener("focus", again);
  }, [again]);
  const atIssuer = health.data?.signIn === "issuer";
  return (
    <Dialog title="Your session has ended" close={again} foot={atIssuer ? <>
      <a class="button" href={issuerAddress()} target="_blank" rel="noopener">In a new tab</a>
      <a class="button primary" href={issuerAddress()}>Sign in again</a>
    </> : <button type="button" class="button primary" onClick={() => location.assign("/")}>Sign in again</button>}>
      <p>The server does not know any more who you are. {atIssuer ? "What is typed on this page stays if you sign in in a new tab and come back." : "Open the address that the server printed when it started."}</p>
    </Dialog>
  );
}
