"""What a task run costs in requests, counted at the endpoints of deployed functions and agents.

Counted is what AWS bills for a task run on its way: every transmission of the planner, the launcher and the agents; and,
because an event source mapping asks SQS out of sight, for each invocation by a queue the invocation itself, one receive and
one delete. Left out are receives that found nothing, which cost by the month and not by the task run, and everything of the
reconciler, which a minute's schedule calls. What a cold function reads goes by running each flow once before, and what an
execution costs whatever its length by taking the difference of two. The limits are those that
`shared/engine/tests/cloud/requests.rs` holds in memory.
"""

from __future__ import annotations

import json
import time
import unittest
from collections import Counter as Tally

import deployment
import flows
from counting import Counter, Counts
from fixtures import ENDPOINT, aws, until
from test_flows import container, flow

ALONE_MAX = 13.0
# The target, which is met by what is batched; the manifest, that each agent stores for itself, is beyond it.
TOGETHER_MAX = 4.0
MANIFEST = ("agent", "s3.PUT")
ON_THE_WAY = ("planner", "launcher", "agent")
BY_QUEUE = ("planner", "launcher")
# Of an invocation by a queue.
EACH = ("lambda.invoke", "sqs.receive", "sqs.delete")


class TestRequests(unittest.TestCase):
    """At most 13 requests where nothing comes together, and 4 in batches of 10."""

    here: flows.Cloud
    counter: Counter

    @classmethod
    def setUpClass(cls) -> None:
        if ENDPOINT is None:
            raise unittest.SkipTest("AWS itself needs no stand-in, and these tests do")
        cls.counter = Counter()
        cls.addClassCleanup(cls.counter.close)
        cls.here = flows.stand(cls.counter)

    def test_a_task_run_alone_costs_at_most_13_requests(self) -> None:
        found = self.per_task_run((self.chain(2), 0), (self.chain(6), 0), 4)
        text = shown("one after the other", found)
        self.assertEqual(found["planner", "lambda.invoke"], 1, text)
        self.assertLessEqual(sum(found.values()), ALONE_MAX, text)

    def test_in_batches_of_10_it_costs_at_most_4_and_its_manifest(self) -> None:
        found = self.per_task_run((self.fan(10), 10), (self.fan(50), 50), 40)
        text = shown("side by side, batches of 10", found)
        self.assertGreater(found["planner", "lambda.invoke"], 0, text)
        self.assertEqual(found[MANIFEST], 1, text)
        self.assertLessEqual(sum(found.values()) - found[MANIFEST], TOGETHER_MAX, text)

    def per_task_run(self, few: tuple[str, int], many: tuple[str, int], more: int) -> dict[tuple[str, str], float]:
        """What each task run costs by which the second flow has more, each counted when all functions are warm."""
        for one in (few, many):
            self.counted(*one)
        counted = [self.counted(*one) for one in (few, many)]
        return {key: (counted[1][key] - counted[0][key]) / more for key in {*counted[0], *counted[1]}}

    def chain(self, length: int) -> str:
        """The name of a flow of so many containers in a row."""
        name = f"chain-{length}"
        tasks = "".join(container("exit 0").replace("id: main", f"id: t{n}") for n in range(length))
        self.here.deploy(flow(name, tasks))
        return name

    def fan(self, count: int) -> str:
        """The name of a flow of so many containers side by side, which end when there is a file of that name."""
        name = f"fan-{count}"
        wait = f"while [ ! -e {self.here.root / name} ]; do sleep 0.2; done"
        body = "".join(f"    {line}\n" for line in container(wait).splitlines())
        loop = f'  - id: each\n    type: foreach\n    values: "{{{{ range(1, {count}) }}}}"\n'
        self.here.deploy(flow(name, f"{loop}    concurrencyLimit: {count}\n    tasks:\n{body}"))
        return name

    def counted(self, name: str, together: int = 0) -> Counts:
        """What one execution asks. With `together`, its containers end while nobody reads what they say, until all have
        said it: as when so many end in the same moment, whatever the speed of this machine."""
        (self.here.root / name).unlink(missing_ok=True)
        before = self.so_far()
        identity = self.here.start(name)
        if together:
            until(lambda: len(self.here.tasks(identity)) == together, "all launches", flows.WAIT_S)
            self.quiet()
            with self.here.without_reader("plan"):
                (self.here.root / name).touch()
                until(lambda: self.here.depth("plan") >= together, "all reports", flows.WAIT_S)
        found = self.here.ended(identity)
        self.assertEqual(found["row"]["state"], "SUCCESS", self.here.explained(identity))
        self.quiet()
        return self.so_far() - before

    def quiet(self) -> None:
        """Waits until nothing is asked any more, and all of it is logged."""
        last, since = self.so_far(), time.monotonic()
        while time.monotonic() < since + 2:
            time.sleep(0.5)
            now = self.so_far()
            if now != last:
                last, since = now, time.monotonic()

    def so_far(self) -> Counts:
        """All requests on the way of task runs since the deployment stands."""
        asked = self.counter.counts()
        found: Counts = Tally({key: count for key, count in asked.items() if key[0] in ON_THE_WAY})
        for role in BY_QUEUE:
            for name in EACH:
                found[role, name] = self.invocations(role)
        return found

    def invocations(self, role: str) -> int:
        """How often Lambda began a function, as it logs by itself."""
        logs, count = aws().client("logs"), 0
        for group in (f"/operon/{self.here.stand.stage}/{role}", f"/aws/lambda/operon-{self.here.stand.stage}-{role}"):
            try:
                pages = logs.get_paginator("filter_log_events").paginate(logGroupName=group)
                count += sum(began(event["message"]) for page in pages for event in page["events"])
            except logs.exceptions.ResourceNotFoundException:
                continue
        return count


def began(line: str) -> bool:
    """Whether a line of the platform says that an invocation begins, as text or as JSON."""
    if line.startswith("{"):
        try:
            return bool(json.loads(line).get("type") == "platform.start")
        except ValueError:
            return False
    return line.startswith("START RequestId")


def shown(what: str, found: dict[tuple[str, str], float]) -> str:
    """Each kind of request, printed too."""
    lines = [f"  {who:<9} {name:<24} {count:6.3f}" for (who, name), count in sorted(found.items()) if count]
    text = "\n".join([f"requests per task run, {what}: {sum(found.values()):.2f}", *lines])
    print(text, flush=True)
    return text


if __name__ == "__main__":
    unittest.main()
