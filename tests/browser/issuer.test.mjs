// The console of a deployment: signing in at an OpenID Connect issuer, in a browser.
import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { createHash, generateKeyPairSync, randomUUID, sign } from "node:crypto";
import { existsSync, readFileSync } from "node:fs";
import { createServer } from "node:http";
import { join } from "node:path";
import { after, before, describe, it } from "node:test";
import { AXE, browser, leave, ROOT, visitor } from "./harness.mjs";

const AUDIENCE = "console-client";
const FLOW = "id: hello\nnamespace: demo\ntasks:\n  - {id: say, type: log, message: hi}\n";

/** An issuer as a program of this machine: one page with one button, codes that are good once, PKCE held to. */
async function issuer() {
  const { privateKey, publicKey } = generateKeyPairSync("ec", { namedCurve: "P-256" });
  const key = { ...publicKey.export({ format: "jwk" }), kid: "k1", alg: "ES256", use: "sig" };
  const codes = new Map();
  const text = (value) => Buffer.from(JSON.stringify(value)).toString("base64url");
  const self = {
    /** Whom the next one to sign in is, and how long the token is good. */
    role: "viewer",
    seconds: 3600,
    /** Queries of the authorization endpoint, and forms of the token endpoint. */
    asked: [],
    exchanged: [],
    token(claims) {
      const body = `${text({ alg: "ES256", kid: "k1", typ: "JWT" })}.${text({ iss: self.base, aud: AUDIENCE, sub: "u1", email: "ada@example.org", ...claims })}`;
      return `${body}.${sign("sha256", Buffer.from(body), { key: privateKey, dsaEncoding: "ieee-p1363" }).toString("base64url")}`;
    },
    now: () => Math.floor(Date.now() / 1000),
  };
  const server = createServer(async (request, response) => {
    const at = new URL(request.url, self.base);
    const json = (value, status = 200) => { response.writeHead(status, { "Content-Type": "application/json" }); response.end(JSON.stringify(value)); };
    if (at.pathname === "/.well-known/openid-configuration") return json({ issuer: self.base, authorization_endpoint: `${self.base}/authorize`, token_endpoint: `${self.base}/token`, jwks_uri: `${self.base}/.well-known/jwks.json` });
    if (at.pathname === "/.well-known/jwks.json") return json({ keys: [key] });
    if (at.pathname === "/authorize") {
      const query = Object.fromEntries(at.searchParams);
      self.asked.push(query);
      const code = randomUUID();
      codes.set(code, query);
      const back = (answer) => `${query.redirect_uri}?${new URLSearchParams({ ...answer, state: query.state })}`.replaceAll("&", "&amp;");
      response.writeHead(200, { "Content-Type": "text/html" });
      return response.end(`<!doctype html><title>Issuer</title><h1>Who are you?</h1><a href="${back({ code })}">Ada</a> <a href="${back({ error: "access_denied" })}">Nobody</a>`);
    }
    if (at.pathname === "/token" && request.method === "POST") {
      let form = "";
      for await (const chunk of request) form += chunk;
      const given = Object.fromEntries(new URLSearchParams(form));
      self.exchanged.push(given);
      const asked = codes.get(given.code);
      codes.delete(given.code);
      const challenge = createHash("sha256").update(given.code_verifier ?? "").digest("base64url");
      if (!asked || given.grant_type !== "authorization_code" || given.client_id !== AUDIENCE || given.redirect_uri !== asked.redirect_uri || challenge !== asked.code_challenge) return json({ error: "invalid_grant" }, 400);
      return json({ token_type: "Bearer", id_token: self.token({ groups: [self.role], nonce: asked.nonce, exp: self.now() + self.seconds }) });
    }
    return json({ error: "not_found" }, 404);
  });
  await new Promise((resolve) => { server.listen(0, "127.0.0.1", resolve); });
  self.base = `http://127.0.0.1:${server.address().port}`;
  self.stop = () => new Promise((resolve) => { server.close(resolve); server.closeAllConnections(); });
  return self;
}

/** The console of a deployment that believes this issuer. */
async function deployment(of) {
  const binary = process.env.OPERON_CONSOLE_AT_ISSUER ?? join(ROOT, "target/debug/examples/console_at_issuer");
  if (!existsSync(binary)) throw new Error(`${binary} is not there; build it with \`cargo build -p operon-api --example console_at_issuer\`, after \`make web\``);
  const child = spawn(binary, [], { stdio: ["ignore", "pipe", "inherit"], env: { ...process.env, OPERON_OIDC_ISSUER: of.base, OPERON_OIDC_AUDIENCE: AUDIENCE } });
  const base = await new Promise((resolve, reject) => {
    child.stdout.once("data", (chunk) => resolve(String(chunk).trim()));
    child.once("exit", (code) => reject(new Error(`the server ended with ${code}`)));
  });
  const admin = of.token({ groups: ["admin"], exp: of.now() + 3600 });
  const call = async (method, path, body, type) => {
    const response = await fetch(`${base}/api/v1${path}`, { method, body, headers: { Authorization: `Bearer ${admin}`, "Content-Type": type } });
    if (!response.ok) throw new Error(`${method} ${path}: ${response.status} ${await response.text()}`);
    return response.json();
  };
  await call("PUT", "/flows/demo/hello", FLOW, "application/yaml");
  const { id } = await call("POST", "/executions", JSON.stringify({ namespace: "demo", flow: "hello" }), "application/json");
  return { base, id, stop: () => new Promise((resolve) => { child.removeAllListeners("exit"); child.on("exit", resolve); child.kill("SIGTERM"); }) };
}

let chromium;
let provider;
let operon;

before(async () => {
  [chromium, provider] = await Promise.all([browser(), issuer()]);
  operon = await deployment(provider);
});

after(async () => {
  await chromium?.close();
  await operon?.stop();
  await provider?.stop();
});

/** A browser that nobody has signed in with, at a page of the console. */
async function visit(path) {
  const made = await visitor(chromium);
  await made.page.goto(operon.base + path);
  await made.page.getByRole("heading", { name: "Sign in to Operon" }).waitFor();
  return made;
}

describe("a deployment with an issuer", () => {
  it("signs in there and goes on with the page that was asked for, the token out of reach of scripts", async () => {
    provider.role = "operator";
    const made = await visit(`/executions/${operon.id}?tab=logs`);
    const { page, context } = made;
    await page.evaluate(readFileSync(AXE, "utf8"));
    const { violations } = await page.evaluate(() => globalThis.axe.run(document, { resultTypes: ["violations"] }));
    assert.deepEqual(violations.map((one) => one.id), []);
    await page.getByRole("link", { name: "Sign in with your organisation" }).click();
    await page.getByRole("link", { name: "Ada" }).click();
    await page.locator(".title-line [data-state=CREATED]").waitFor();
    assert.equal(page.url(), `${operon.base}/executions/${operon.id}?tab=logs`);
    const asked = provider.asked.at(-1);
    assert.equal(asked.code_challenge_method, "S256");
    assert.equal(asked.redirect_uri, `${operon.base}/api/v1/session/callback`);
    assert.ok(asked.state && asked.nonce && asked.state !== asked.nonce);
    assert.equal("client_secret" in provider.exchanged.at(-1), false);
    const reach = await page.evaluate(() => `${document.cookie} ${JSON.stringify({ ...localStorage })} ${JSON.stringify({ ...sessionStorage })}`);
    assert.doesNotMatch(reach, /eyJ|operon_session/);
    const cookies = await context.cookies();
    assert.deepEqual(cookies.map(({ name, httpOnly, secure, sameSite }) => ({ name, httpOnly, secure, sameSite })), [{ name: "operon_session", httpOnly: true, secure: true, sameSite: "Strict" }]);
    await page.getByText("ada@example.org").waitFor();
    await page.getByRole("button", { name: "Kill" }).waitFor();
    await page.getByRole("button", { name: "Sign out" }).click();
    await page.getByRole("heading", { name: "Sign in to Operon" }).waitFor();
    assert.deepEqual(await context.cookies(), []);
    await leave(made);
  });

  it("shows who only looks no action", async () => {
    provider.role = "viewer";
    const made = await visit("/executions");
    const { page } = made;
    await page.getByRole("link", { name: "Sign in with your organisation" }).click();
    await page.getByRole("link", { name: "Ada" }).click();
    await page.locator(`tr[data-id="${operon.id}"]`).waitFor();
    await page.goto(`${operon.base}/executions/${operon.id}`);
    await page.locator(".title-line [data-state=CREATED]").waitFor();
    for (const name of ["Kill", "Restart", "Replay", "Run again"]) assert.equal(await page.getByRole("button", { name, exact: true }).count(), 0, name);
    await page.goto(`${operon.base}/flows/demo/hello`);
    await page.getByRole("heading", { name: "hello" }).waitFor();
    for (const name of ["Run", "Disable"]) assert.equal(await page.getByRole("button", { name, exact: true }).count(), 0, name);
    const status = await page.evaluate(async (id) => (await fetch(`/api/v1/executions/${id}/kill`, { method: "POST", headers: { "X-Operon-Request": "1" } })).status, operon.id);
    assert.equal(status, 403, "and the server does none");
    await leave(made);
  });

  it("asks again when the session has ended, and goes on at the same page", async () => {
    provider.role = "operator";
    provider.seconds = 2;
    const made = await visit(`/executions/${operon.id}`);
    const { page } = made;
    await page.getByRole("link", { name: "Sign in with your organisation" }).click();
    await page.getByRole("link", { name: "Ada" }).click();
    await page.locator(".title-line [data-state=CREATED]").waitFor();
    provider.seconds = 3600;
    const dialog = page.getByRole("dialog", { name: "Your session has ended" });
    await dialog.waitFor();
    await dialog.getByRole("link", { name: "Sign in again" }).click();
    await page.getByRole("link", { name: "Ada" }).click();
    await page.locator(".title-line [data-state=CREATED]").waitFor();
    assert.equal(page.url(), `${operon.base}/executions/${operon.id}`);
    assert.equal(await page.getByRole("dialog").count(), 0);
    await leave(made);
  });

  it("says why somebody is not let in, and lets them try again", async () => {
    provider.role = "nothing";
    const made = await visit("/flows");
    const { page } = made;
    await page.getByRole("link", { name: "Sign in with your organisation" }).click();
    await page.getByRole("link", { name: "Nobody" }).click();
    await page.getByRole("alert").getByText("did not let you in").waitFor();
    await page.getByRole("link", { name: "Try again" }).click();
    await page.getByRole("link", { name: "Ada" }).click();
    await page.getByRole("alert").getByText("no role here").waitFor();
    await page.getByRole("link", { name: "Try again" }).waitFor();
    provider.role = "viewer";
    await page.getByRole("link", { name: "Try again" }).click();
    await page.getByRole("link", { name: "Ada" }).click();
    await page.getByRole("heading", { name: "Overview", exact: true }).waitFor();
    assert.equal(page.url(), `${operon.base}/`);
    await leave(made);
  });

  it("takes no answer that was asked for by another browser", async () => {
    provider.role = "operator";
    const made = await visit("/");
    const other = await visit("/");
    await made.page.getByRole("link", { name: "Sign in with your organisation" }).click();
    const address = await made.page.getByRole("link", { name: "Ada" }).getAttribute("href");
    await other.page.goto(address);
    await other.page.getByRole("alert").getByText("took too long").waitFor();
    assert.deepEqual(await other.context.cookies(), []);
    await other.context.close();
    await made.context.close();
  });
});
