"""What the tests of a lane share: the endpoint, one stack per kind of functions, and waiting."""

from __future__ import annotations

import functools
import os
import time
import unittest
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import deployment
from limits import CANNOT

LANE = os.environ.get("OPERON_TEST_LANE", "")
ENDPOINT = os.environ.get("OPERON_TEST_ENDPOINT") or None
BINARIES = Path(os.environ.get("OPERON_TEST_BINARIES", "target/stripped"))
OPERON = Path(os.environ.get("OPERON_TEST_COMMAND", "target/debug/operon"))
WAIT_S = 60.0

T = TypeVar("T")


def needs(capability: str) -> Callable[[T], T]:
    """A test of something that a lane may not be able to do; skipped there, with the reason."""
    reason = CANNOT.get(LANE, {}).get(capability)
    return unittest.skipIf(reason is not None, f"{LANE} cannot: {reason}")


def until(found: Callable[[], T | None], what: str, seconds: float = WAIT_S) -> T:
    """Waits for something; the failure says what did not come."""
    end = time.monotonic() + seconds
    while True:
        value = found()
        if value:
            return value
        if time.monotonic() > end:
            raise AssertionError(f"{what}: not within {seconds:.0f} s")
        time.sleep(0.2)


@functools.cache
def aws() -> deployment.Aws:
    """The clients; the services have answered once."""
    clients = deployment.Aws(ENDPOINT)
    deployment.wait_until_ready(clients)
    return clients


def variables() -> dict[str, str]:
    """Variables of functions that only an emulator needs."""
    return {"AWS_ENDPOINT_URL": ENDPOINT} if ENDPOINT else {}


@functools.cache
def probed() -> deployment.Deployment:
    """The template with the probe in every function: what is tested is the template."""
    probe = BINARIES / "operon-probe"
    stage = f"p{uuid.uuid4().hex[:6]}"
    # Every variable has a value then, and it is seen that each arrives.
    parameters = {"MailFrom": "flows@example.org"}
    return deployment.deploy(aws(), dict.fromkeys(deployment.ROLES, probe), stage, parameters, variables())


def queue_url(name: str) -> str:
    """The URL of a queue of the probed stack."""
    return str(aws().client("sqs").get_queue_url(QueueName=f"operon-{probed().stage}-{name}")["QueueUrl"])


def attributes(name: str) -> dict[str, Any]:
    """Everything SQS says about a queue."""
    answer = aws().client("sqs").get_queue_attributes(QueueUrl=queue_url(name), AttributeNames=["All"])
    return dict(answer["Attributes"])


def depth(name: str) -> int:
    """Messages in a queue, those under way included."""
    found = attributes(name)
    return int(found["ApproximateNumberOfMessages"]) + int(found["ApproximateNumberOfMessagesNotVisible"])
