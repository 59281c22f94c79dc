"""The flows that Operon runs in the workloads, and the command lines that run them.

All that the harness assumes about Operon's command line and event stream is in this file.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path

from measure import Command
from peers import PARALLEL_MAX, Graph, Site

# The child task of the fan-out, and its block.
ITEM_TASK = "noop"
FAN_OUT_TASK = "each"
_RETURN = "io.kestra.plugin.core.debug.Return"
_SHELL = "io.kestra.plugin.scripts.shell.Commands"
_PROCESS_RUNNER = "io.kestra.plugin.core.runner.Process"


def run_command(
    binary: Path, flow: Path, directory: Path, *, stream: bool = False, inputs: Sequence[str] = ()
) -> Command:
    """One execution of a flow, with new state below `directory`.

    `stream` asks for one JSON line per event, instead of one document at the end.
    """
    output = ["--output", "ndjson"] if stream else ["--output", "json", "--quiet"]
    named = [argument for value in inputs for argument in ("-f", value)]
    return Command(
        [
            *(str(binary), "run", str(flow)),
            *("--max-parallel", str(PARALLEL_MAX)),
            *("--state", str(directory / "state")),
            *output,
            *named,
        ],
        directory,
    )


def layers(graph: Graph, site: Site) -> Command:
    """Workload A: a shell task per entry of the graph, run as plain processes."""
    flow = site.write("layers.yaml", layers_flow(graph, site.out))
    return run_command(site.tool, flow, site.directory)


def layers_flow(graph: Graph, out: Path) -> str:
    """The flow of workload A; files are written to `out`, an absolute path."""
    lines = ["id: layers", "namespace: bench", "tasks:"]
    for task, depends_on in graph.items():
        command = f'true > "$OUT/{task}"'
        lines += [
            f"  - id: {task}",
            f"    type: {_SHELL}",
            f"    taskRunner: {{type: {_PROCESS_RUNNER}}}",
            f"    env: {{OUT: {_quoted(str(out))}}}",
            f"    commands: [{_quoted(command)}]",
            f"    dependsOn: [{', '.join(depends_on)}]",
        ]
    return "\n".join(lines) + "\n"


def fan_out_flow() -> str:
    """The flow of workload B: a no-op for every line of the file input `items`."""
    return f"""\
id: fanout
namespace: bench
inputs:
  - id: items
    type: FILE
tasks:
  - id: {FAN_OUT_TASK}
    type: io.kestra.plugin.core.flow.Loop
    values: "{{{{ inputs.items }}}}"
    concurrencyLimit: 0
    tasks:
      - id: {ITEM_TASK}
        type: {_RETURN}
        format: "done"
"""


def fan_out(binary: Path, directory: Path, items: int, *, stream: bool) -> Command:
    """Workload B: writes the flow and its `items` lines, and runs it."""
    flow = directory / "fanout.yaml"
    flow.write_text(fan_out_flow())
    values = directory / "items.jsonl"
    values.write_text("".join(f"{value}\n" for value in range(items)))
    return run_command(binary, flow, directory, stream=stream, inputs=[f"items={values}"])


def is_finished_item(line: bytes) -> bool:
    """Whether a line of the event stream says that a task run of the fan-out's child succeeded."""
    # Cheap and decisive for nearly every line, before the costly parse.
    if b"SUCCESS" not in line or ITEM_TASK.encode() not in line:
        return False
    try:
        event = json.loads(line)
    except ValueError:
        return False
    return isinstance(event, Mapping) and _state(event) == "SUCCESS" and _task(event) == ITEM_TASK


def _state(event: Mapping[str, object]) -> object:
    return event.get("state", event.get("current"))


def _task(event: Mapping[str, object]) -> object:
    return event.get("task", event.get("taskId"))


def chain_flow(tasks: int) -> str:
    """The flow of workload C: `tasks` no-ops one after the other."""
    lines = ["id: chain", "namespace: bench", "tasks:"]
    for position in range(tasks):
        lines += [f"  - id: t{position:02}", f"    type: {_RETURN}", '    format: "done"']
    return "\n".join(lines) + "\n"


def small_flow() -> str:
    """The least that is worth validating."""
    return chain_flow(1)


# Each task depends on the one before. Eleven lines that use what flows commonly use.
_LONG_FLOW_TASK = """\
  - id: t{position:04}
    type: {shell}
    containerImage: debian:stable-slim
    dependsOn: {depends_on}
    timeout: PT10M
    retry: {{type: exponential, interval: PT1S, maxInterval: PT1M, maxAttempts: 3}}
    env:
      NAME: "{{{{ inputs.name }}}}"
      POSITION: "{position}"
    commands:
      - echo "$NAME" "$POSITION"
"""


def long_flow(lines: int) -> str:
    """A valid flow of exactly `lines` lines, filled up with comments below the last task."""
    text = (
        "id: long\nnamespace: bench\ninputs:\n  - {id: name, type: STRING, defaults: x}\ntasks:\n"
    )
    position = 0
    task_lines = _LONG_FLOW_TASK.count("\n")
    while text.count("\n") + task_lines <= lines:
        depends_on = f"[t{position - 1:04}]" if position else "[]"
        text += _LONG_FLOW_TASK.format(position=position, shell=_SHELL, depends_on=depends_on)
        position += 1
    return text + "# The end.\n" * (lines - text.count("\n"))


def _quoted(text: str) -> str:
    """A YAML double-quoted scalar: every JSON string is one."""
    return json.dumps(text)
