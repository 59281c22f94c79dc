"""Deploying the project's own template onto an emulator, with the project's own binaries.

`transformed` changes what no emulator understands, and nothing else; every change is in CHANGES with its
reason. The stack is the one that `make deploy` makes.
"""

from __future__ import annotations

import io
import json
import time
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Any

import boto3
import yaml
from botocore.config import Config
from botocore.exceptions import ClientError

ROOT = Path(__file__).resolve().parents[2]
TEMPLATE = ROOT / "infra/template.yaml"
ROLES = ("intake", "planner", "launcher", "worker", "watcher", "reconciler", "api")
STACK_TIMEOUT_S = 240

CHANGES = {
    "CodeUri": "zips of the binaries of `cargo build` for this machine's processor are uploaded, as `sam package` does",
    "DeploymentPreference": "no emulator has CodeDeploy: the alias moves at once",
    "Environment": "AWS_ENDPOINT_URL and AWS_ENDPOINT_URL_ECS are added, which no one sets on AWS",
    "ApiUrl": "a fixed address where a function is told its own: LocalStack looks for what SAM makes before it is made",
    "SignedAlias": "at $LATEST, where AWS has the version that SAM makes; for the same reason",
    "Cluster": "names instead of references, because LocalStack's free edition has no ECS in CloudFormation",
    "Architecture": "the parameter, not the template: emulators run binaries of this machine",
}
"""What differs from what is deployed on AWS."""


class _Loader(yaml.SafeLoader):
    """YAML with CloudFormation's short functions, which become their long forms."""


def _function(loader: _Loader, suffix: str, node: yaml.Node) -> Any:
    if isinstance(node, yaml.ScalarNode):
        value: Any = loader.construct_scalar(node)
    elif isinstance(node, yaml.SequenceNode):
        value = loader.construct_sequence(node, deep=True)
    else:
        value = loader.construct_mapping(node, deep=True)
    if suffix == "GetAtt" and isinstance(value, str):
        value = value.split(".", 1)
    return {suffix if suffix in {"Ref", "Condition"} else f"Fn::{suffix}": value}


_Loader.add_multi_constructor("!", _function)


def load_template(path: Path = TEMPLATE) -> dict[str, Any]:
    """The template with long forms."""
    return yaml.load(path.read_text(encoding="utf-8"), _Loader)  # noqa: S506 - a SafeLoader


def transformed(
    template: dict[str, Any],
    bucket: str,
    keys: dict[str, str],
    variables: dict[str, str],
    own: Mapping[str, dict[str, str]],
) -> dict[str, Any]:
    """The template as an emulator takes it; `keys` are the zips in `bucket` by function, `own` variables of one function."""
    template = json.loads(json.dumps(template))
    shared = template["Globals"]["Function"]
    del shared["DeploymentPreference"]
    shared["Environment"]["Variables"].update(variables)
    for resource in template["Resources"].values():
        if resource["Type"] == "AWS::Serverless::Function":
            properties = resource["Properties"]
            role = properties["CodeUri"].rpartition("/")[2]
            properties["CodeUri"] = {"Bucket": bucket, "Key": keys[role]}
            properties.pop("DeploymentPreference", None)
            given = properties.setdefault("Environment", {}).setdefault("Variables", {})
            for name, value in given.items():
                if value == {"Fn::GetAtt": ["ApiUrl", "FunctionUrl"]}:
                    given[name] = "https://console.invalid/"
            given.update(own.get(role, {}))
    template["Resources"]["SignedAlias"]["Properties"]["FunctionVersion"] = "$LATEST"
    return _named_cluster(template)


def _named_cluster(value: Any) -> Any:
    """References to the cluster as the name and the ARN it will have."""
    if value == {"Ref": "Cluster"}:
        return {"Fn::Sub": "operon-${Stage}"}
    if value == {"Fn::GetAtt": ["Cluster", "Arn"]}:
        text = "arn:${AWS::Partition}:ecs:${AWS::Region}:${AWS::AccountId}:cluster/operon-${Stage}"
        return {"Fn::Sub": text}
    if isinstance(value, dict):
        return {key: _named_cluster(part) for key, part in value.items()}
    if isinstance(value, list):
        return [_named_cluster(part) for part in value]
    return value


def zipped(binary: Path) -> bytes:
    """A zip with the binary as `bootstrap`, not compressed: size does not matter here."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_STORED) as archive:
        entry = zipfile.ZipInfo("bootstrap")
        entry.external_attr = 0o755 << 16
        archive.writestr(entry, binary.read_bytes())
    return buffer.getvalue()


@dataclass
class Aws:
    """Clients of an endpoint; None is AWS itself."""

    endpoint: str | None
    region: str = "us-east-1"
    _clients: dict[str, Any] = field(default_factory=dict)

    def client(self, service: str) -> Any:
        """The one client of a service."""
        if service not in self._clients:
            emulated = {"aws_access_key_id": "test", "aws_secret_access_key": "test"} if self.endpoint else {}
            self._clients[service] = boto3.client(
                service,
                endpoint_url=self.endpoint,
                region_name=self.region,
                config=Config(
                    retries={"max_attempts": 3}, s3={"addressing_style": "path"}, read_timeout=120
                ),
                **emulated,
            )
        return self._clients[service]


@dataclass(frozen=True)
class Deployment:
    """A stack that stands."""

    aws: Aws
    stage: str
    stack: str
    outputs: dict[str, str]
    seconds: float

    def resources(self) -> dict[str, str]:
        """Types by logical name of what the stack says it consists of."""
        pages = self.aws.client("cloudformation").get_paginator("list_stack_resources")
        return {
            entry["LogicalResourceId"]: entry["ResourceType"]
            for page in pages.paginate(StackName=self.stack)
            for entry in page["StackResourceSummaries"]
        }


def wait_until_ready(aws: Aws) -> None:
    """Health is not readiness: services of an emulator load when they are first asked."""
    aws.client("s3").list_buckets()
    aws.client("sqs").list_queues()
    aws.client("dynamodb").list_tables()
    aws.client("lambda").list_functions()


def deploy(
    aws: Aws,
    binaries: dict[str, Path],
    stage: str,
    parameters: dict[str, str],
    variables: dict[str, str],
    own: Mapping[str, dict[str, str]] = MappingProxyType({}),
) -> Deployment:
    """Makes the stack from the template and waits until it stands; `own` are variables of single functions."""
    started = time.monotonic()
    bucket = f"operon-zips-{stage}"
    aws.client("s3").create_bucket(Bucket=bucket)
    keys = {}
    for role, binary in binaries.items():
        keys[role] = f"{role}.zip"
        aws.client("s3").put_object(Bucket=bucket, Key=keys[role], Body=zipped(binary))
    body = json.dumps(transformed(load_template(), bucket, keys, variables, own))
    aws.client("s3").put_object(Bucket=bucket, Key="template.json", Body=body.encode())
    stack = f"operon-{stage}"
    given = {"Stage": stage, "Architecture": "x86_64", **parameters}
    cloudformation = aws.client("cloudformation")
    cloudformation.create_stack(
        StackName=stack,
        # Beyond the 51,200 bytes that a request may carry.
        TemplateURL=_address(aws, bucket, "template.json"),
        Parameters=[{"ParameterKey": key, "ParameterValue": value} for key, value in given.items()],
        Capabilities=["CAPABILITY_IAM", "CAPABILITY_AUTO_EXPAND"],
    )
    outputs = _wait_for_stack(cloudformation, stack)
    return Deployment(aws, stage, stack, outputs, time.monotonic() - started)


def _address(aws: Aws, bucket: str, key: str) -> str:
    if aws.endpoint:
        return f"{aws.endpoint}/{bucket}/{key}"
    return f"https://{bucket}.s3.{aws.region}.amazonaws.com/{key}"


def _wait_for_stack(cloudformation: Any, stack: str) -> dict[str, str]:
    end = time.monotonic() + STACK_TIMEOUT_S
    while time.monotonic() < end:
        described = cloudformation.describe_stacks(StackName=stack)["Stacks"][0]
        status = described["StackStatus"]
        if status == "CREATE_COMPLETE":
            return {entry["OutputKey"]: entry["OutputValue"] for entry in described.get("Outputs", [])}
        if not status.endswith("IN_PROGRESS"):
            raise RuntimeError(f"the stack is {status}:\n{_reasons(cloudformation, stack, described)}")
        time.sleep(0.25)
    raise RuntimeError(f"the stack does not stand after {STACK_TIMEOUT_S} s")


def _reasons(cloudformation: Any, stack: str, described: dict[str, Any]) -> str:
    try:
        events = cloudformation.describe_stack_events(StackName=stack)["StackEvents"]
    except ClientError as error:
        events = []
        return str(error)
    lines = [
        f"{event['LogicalResourceId']}: {event['ResourceStatus']} {event.get('ResourceStatusReason', '')}"
        for event in events
        if "FAILED" in event["ResourceStatus"]
    ]
    return "\n".join([str(described.get("StackStatusReason", "")), *lines])
