// The console. What is shown follows from the address.
import type { JSX } from "preact";
import { render } from "preact";
import "./styles/tokens.css";
import "./styles/base.css";
import "./styles/pages.css";
import { handle } from "./lib/keys";
import { here, listen, match } from "./lib/route";
import { Empty } from "./ui/bits";
import { Shell } from "./ui/shell";
import { ExecutionPage } from "./pages/execution/index";
import { Executions } from "./pages/executions";
import { FlowPage } from "./pages/flow/index";
import { NewFlow } from "./pages/flow/source";
import { Flows } from "./pages/flows";
import { Overview } from "./pages/overview";
import { Triggers } from "./pages/triggers";

function Page(): JSX.Element {
  const at = here.value.path;
  if (at === "/") return <Overview />;
  if (at === "/executions") return <Executions />;
  if (at === "/flows") return <Flows />;
  if (at === "/flows/new") return <NewFlow />;
  if (at === "/triggers") return <Triggers />;
  const execution = match("/executions/:id", at);
  if (execution) return <ExecutionPage key={execution["id"]} id={execution["id"] as string} />;
  const flow = match("/flows/:namespace/:id", at);
  if (flow) return <FlowPage key={at} namespace={flow["namespace"] as string} id={flow["id"] as string} />;
  return <div class="page"><h1 class="sr">Not found</h1><Empty title="There is no such page" icon="search"><a href="/">Overview</a></Empty></div>;
}

function App(): JSX.Element {
  return <Shell><Page /></Shell>;
}

listen();
window.addEventListener("keydown", handle);
const root = document.getElementById("app");
if (root) render(<App />, root);
