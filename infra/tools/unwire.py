"""Removes what flows of a deployment had AWS make, before the deployment itself goes.

    python unwire.py --stage NAME

Runs with the Python of `.tools/lint`, which has boto3. What it removes is not part of the stack: rules of EventBridge
that send to the intake queue, subscriptions of topics to it, what has the intake function read queues, running tasks and
task definitions. The names are those that shared/aws/src/feeds.rs and shared/engine/src/fargate give. May be repeated.
"""

from __future__ import annotations

import argparse
import re
import sys
from collections.abc import Callable, Iterator
from typing import Any

_ROUNDS = 5
"""Looks for tasks that were launched while others were stopped."""
_DELETED_AT_ONCE = 10
"""Task definitions of one request (ECS)."""

Client = Callable[[str], Any]
"""boto3's `client`, or what stands in for it."""


def pages(client: Any, operation: str, items: str, **arguments: Any) -> Iterator[Any]:  # noqa: ANN401 - as boto3 has it
    """What a list has, page by page."""
    for page in client.get_paginator(operation).paginate(**arguments):
        yield from page.get(items, [])


def rules(client: Client, stage: str) -> int:
    """Removes rules from every bus."""
    events, removed = client("events"), 0
    buses, more = [], {}
    while True:
        page = events.list_event_buses(**more)
        buses += page["EventBuses"]
        if "NextToken" not in page:
            break
        more = {"NextToken": page["NextToken"]}
    for bus in buses:
        names = [rule["Name"] for rule in pages(events, "list_rules", "Rules", EventBusName=bus["Name"], NamePrefix=f"operon-{stage}.")]
        for name in names:
            events.remove_targets(Rule=name, EventBusName=bus["Name"], Ids=["intake"])
            events.delete_rule(Name=name, EventBusName=bus["Name"])
        removed += len(names)
    return removed


def subscriptions(client: Client, stage: str) -> int:
    """Ends subscriptions whose end is the intake queue."""
    sns, removed = client("sns"), 0
    end = f":operon-{stage}-intake"
    for one in list(pages(sns, "list_subscriptions", "Subscriptions")):
        if one["Protocol"] == "sqs" and one["Endpoint"].endswith(end) and one["SubscriptionArn"].startswith("arn:"):
            sns.unsubscribe(SubscriptionArn=one["SubscriptionArn"])
            removed += 1
    return removed


def readers(client: Client, stage: str) -> int:
    """Has the intake function leave queues that are not its own."""
    function, removed = client("lambda"), 0
    name = f"operon-{stage}-intake"
    try:
        found = list(pages(function, "list_event_source_mappings", "EventSourceMappings", FunctionName=f"{name}:live"))
    except function.exceptions.ResourceNotFoundException:
        return 0
    for one in found:
        if not one["EventSourceArn"].endswith(f":{name}") and one["State"] != "Deleting":
            function.delete_event_source_mapping(UUID=one["UUID"])
            removed += 1
    return removed


def tasks(client: Client, stage: str) -> int:
    """Launches nothing more and stops what runs: a cluster with tasks cannot be removed."""
    function, ecs, cluster = client("lambda"), client("ecs"), f"operon-{stage}"
    try:
        launchers = list(pages(function, "list_event_source_mappings", "EventSourceMappings", FunctionName=f"{cluster}-launcher:live"))
    except function.exceptions.ResourceNotFoundException:
        launchers = []
    for one in launchers:
        function.update_event_source_mapping(UUID=one["UUID"], Enabled=False)
    stopped = 0
    try:
        for _ in range(_ROUNDS):
            running = list(pages(ecs, "list_tasks", "taskArns", cluster=cluster, desiredStatus="RUNNING"))
            for arn in running:
                ecs.stop_task(cluster=cluster, task=arn, reason="Operon: the deployment is removed")
            for start in range(0, len(running), 100):
                ecs.get_waiter("tasks_stopped").wait(cluster=cluster, tasks=running[start : start + 100])
            stopped += len(running)
            if not running:
                break
    except ecs.exceptions.ClusterNotFoundException:
        pass
    return stopped


def definitions(client: Client, stage: str) -> int:
    """Takes back and deletes the task definitions that the launcher registered. Their names end with a hash."""
    ecs, gone = client("ecs"), []
    for family in list(pages(ecs, "list_task_definition_families", "families", familyPrefix=f"operon-{stage}-", status="ALL")):
        if not re.fullmatch(rf"operon-{re.escape(stage)}-[0-9a-f]+", family):
            continue  # Of a stage whose name begins so.
        listed = {
            status: list(pages(ecs, "list_task_definitions", "taskDefinitionArns", familyPrefix=family, status=status))
            for status in ("ACTIVE", "INACTIVE")
        }
        for arn in listed["ACTIVE"]:
            ecs.deregister_task_definition(taskDefinition=arn)
        # One that was taken back may be in both lists.
        gone += sorted({*listed["ACTIVE"], *listed["INACTIVE"]})
    for start in range(0, len(gone), _DELETED_AT_ONCE):
        # One that stays costs nothing and starts nothing, so it holds up nothing else.
        try:
            done = ecs.delete_task_definitions(taskDefinitions=gone[start : start + _DELETED_AT_ONCE])
        except ecs.exceptions.ClientError as error:
            print(f"destroy: task definitions stay inactive: {error}", file=sys.stderr)
            break
        for failure in done.get("failures", []):
            print(f"destroy: {failure.get('arn')} stays inactive: {failure.get('reason')}", file=sys.stderr)
    return len(gone)


def main() -> int:
    """Removes all of it and says how much it was."""
    import boto3  # noqa: PLC0415 - the tests run without it
    from botocore.exceptions import BotoCoreError, ClientError  # noqa: PLC0415

    parser = argparse.ArgumentParser(description="Triggers of a deployment that goes")
    parser.add_argument("--stage", required=True)
    stage = parser.parse_args().stage
    client: Client = boto3.client
    try:
        done = {what.__name__: what(client, stage) for what in (rules, subscriptions, readers, tasks, definitions)}
    except (BotoCoreError, ClientError) as error:
        sys.exit(f"destroy: what triggers had AWS make cannot be removed: {error}")
    print("destroy: " + ", ".join(f"{count} {what}" for what, count in done.items()) + " removed")
    return 0


if __name__ == "__main__":
    sys.exit(main())
