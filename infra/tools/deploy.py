"""Makes, changes and removes a deployment with AWS SAM.

    python3 deploy.py deploy --stage NAME [--arch arm64|x86_64] [Key=value …]
    CONFIRM=NAME python3 deploy.py destroy --stage NAME
    python3 deploy.py agent --stage NAME

Needs credentials of AWS in the environment, and the zips of `make package`. What is deployed is
infra/template.yaml with the zips in place of the sources: target/lambda/template.yaml. Then the agent's image goes into
the stack's repository, unless the parameter `AgentImage` names one that is elsewhere.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import re
import shlex
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path

INFRA = Path(__file__).resolve().parents[1]
ROOT = INFRA.parent
LAMBDA = ROOT / "target/lambda"
sys.path.insert(0, str(ROOT / "tests/tools"))

import image  # noqa: E402 - beside this file
import venvs  # noqa: E402 - it lives with the tools of the tests

_CODE = re.compile(r"^( +CodeUri: )\.\./functions/([a-z]+)$", re.MULTILINE)
_BUILD = re.compile(r"^ +Metadata: \{ BuildMethod: .*\n", re.MULTILINE)
_DEPLOYED_WITH = re.compile(r"^( +OPERON_DEPLOYED_WITH: )\w+$", re.MULTILINE)


def with_zips(template: str) -> str:
    """The template with the zips beside it instead of what they are built from."""
    return _BUILD.sub("", _CODE.sub(r"\1\2.zip", template))


def with_parameters(template: str, parameters: list[str]) -> str:
    """The template with a hash of itself and its parameters: what changes in either is a new version of each function."""
    known = hashlib.sha256("\n".join([template, *sorted(parameters)]).encode()).hexdigest()[:16]
    # With a letter before it, because YAML reads digits alone as a number.
    return _DEPLOYED_WITH.sub(rf"\g<1>p{known}", template)


def override(parameter: str) -> str:
    """A parameter as SAM reads it: it takes no value for none only in quotes."""
    return f'{parameter}""' if parameter.endswith("=") and parameter.count("=") == 1 else parameter


def deploy_command(sam: Path, stage: str, arch: str, parameters: list[str]) -> list[str]:
    """One call of SAM: uploads, makes a change set and carries it out."""
    return [
        str(sam), "deploy",
        "--template-file", str(LAMBDA / "template.yaml"),
        "--stack-name", f"operon-{stage}",
        "--resolve-s3", "--s3-prefix", f"operon-{stage}",
        "--capabilities", "CAPABILITY_IAM",
        "--no-fail-on-empty-changeset", "--no-confirm-changeset",
        "--parameter-overrides", f"Stage={stage}", f"Architecture={arch}", *map(override, parameters),
    ]  # fmt: skip


def destroy_command(sam: Path, stage: str) -> list[str]:
    """Removes the stack and its zips; what its template retains stays."""
    return [str(sam), "delete", "--stack-name", f"operon-{stage}", "--no-prompts"]


def why_it_stays(stage: str, confirm: str, ask: Callable[[str], str] | None) -> str | None:
    """Why a deployment is not removed; nothing if its name was given, in CONFIRM or by whoever is asked on a terminal."""
    if not confirm and ask is not None:
        try:
            confirm = ask(f"This removes the deployment {stage} with its table, logs and images. Type its name to go on: ").strip()
        except (EOFError, KeyboardInterrupt):
            confirm = ""
    if confirm == stage:
        return None
    given = f"{confirm} is not its name" if confirm else "its name was not given"
    return f"destroy: the deployment {stage} stays: {given}; make destroy STAGE={stage} CONFIRM={stage} removes it"


def region_for_python(environment: Mapping[str, str]) -> dict[str, str]:
    """The region as SAM and boto3 read it; the SDKs of other languages and the command line read AWS_REGION."""
    region = environment.get("AWS_REGION")
    return {"AWS_DEFAULT_REGION": region} if region else {}


def needs_agent(parameters: list[str]) -> bool:
    """Whether the agent's image is to be that of the stack's own repository."""
    return not any(one.startswith("AgentImage=") and one != "AgentImage=" for one in parameters)


def push_agent(lint: Path, stage: str) -> int:
    """Builds the agent and puts its image into the stack's repository."""
    built = subprocess.run(
        ["tests/tools/agent-binary", image.TARGET], cwd=ROOT, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, check=False
    )
    if built.returncode != 0:
        sys.exit(f"deploy: the stack stands, but the agent does not build: {image.REMEDY}; then deploy again")
    agent = built.stdout.decode().strip()
    command = [str(lint / "bin/python"), str(Path(image.__file__)), "--stage", stage, "--agent", agent]
    return subprocess.run(command, check=False).returncode


def main() -> int:
    """Does what is asked."""
    parser = argparse.ArgumentParser(description="Operon on AWS")
    parser.add_argument("action", choices=["deploy", "destroy", "agent"])
    parser.add_argument("--stage", default="main")
    parser.add_argument("--arch", choices=["arm64", "x86_64"], default="arm64")
    parser.add_argument("parameters", nargs="*", metavar="Key=value", help="of the template")
    options = parser.parse_args()
    # In the environment they need no quotes for the shell.
    options.parameters += shlex.split(os.environ.get("PARAMETERS", ""))
    os.environ.update(region_for_python(os.environ))
    # Before anything is installed, asked of AWS or changed.
    if options.action == "destroy":
        ask = input if sys.stdin.isatty() else None
        stays = why_it_stays(options.stage, os.environ.get("CONFIRM", ""), ask)
        if stays is not None:
            sys.exit(stays)
    try:
        lint = venvs.ensure("lint", INFRA / "requirements-lint.txt")
    except venvs.InstallFailed as error:
        sys.exit(f"deploy: {error}")
    if options.action == "agent":
        return push_agent(lint, options.stage)
    sam = lint / "bin/sam"
    if options.action == "deploy":
        LAMBDA.mkdir(parents=True, exist_ok=True)
        text = with_parameters((INFRA / "template.yaml").read_text(encoding="utf-8"), options.parameters)
        (LAMBDA / "template.yaml").write_text(with_zips(text), encoding="utf-8")
        command = deploy_command(sam, options.stage, options.arch, options.parameters)
    else:
        # What flows had AWS make is not part of the stack.
        unwired = [str(lint / "bin/python"), str(Path(__file__).with_name("unwire.py")), "--stage", options.stage]
        if subprocess.run(unwired, check=False).returncode != 0:
            return 1
        command = destroy_command(sam, options.stage)
    environment = {"SAM_CLI_TELEMETRY": "0", **os.environ}
    code = subprocess.run(command, env=environment, check=False).returncode
    if code == 0 and options.action == "deploy" and needs_agent(options.parameters):
        code = push_agent(lint, options.stage)
    return code


if __name__ == "__main__":
    sys.exit(main())
