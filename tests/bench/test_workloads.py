"""Order of runs, checks of what a run did, windows of the event stream, and ratios."""

from __future__ import annotations

import json
import os
import tempfile
import unittest
from pathlib import Path
from unittest import mock

import operon
import workloads
from measure import Chunk, Command, RunFailed
from peers import PEERS, Peer
from report import Bound, Figure, Target, table
from workloads import Contender, check_files, finish_times, ratios, rounds, time_per_item


def contender(name: str, runs: int) -> Contender:
    return Contender(name, Path("tool"), lambda graph, site: Command([], Path()), runs)


class TestRounds(unittest.TestCase):
    def test_runs_are_interleaved_and_slow_tools_stop_earlier(self) -> None:
        order = rounds([contender("a", 3), contender("b", 1), contender("c", 2)])
        self.assertEqual([one.name for one in order], ["a", "b", "c", "a", "c", "a"])

    def test_no_one_means_no_runs(self) -> None:
        self.assertEqual(list(rounds([])), [])

    def test_peers_have_at_most_their_runs_and_operon_comes_first(self) -> None:
        made = workloads.contenders([(peer, Path("x")) for peer in PEERS], Path("operon"), 5)
        self.assertEqual(
            [(one.name, one.runs) for one in made],
            [
                ("operon", 5),
                ("ninja", 5),
                ("snakemake", 3),
                ("luigi", 3),
                ("redun", 2),
                ("prefect", 2),
            ],
        )


class TestCheckFiles(unittest.TestCase):
    GRAPH = {"a": [], "b": ["a"]}

    def setUp(self) -> None:
        temporary = tempfile.TemporaryDirectory()
        self.addCleanup(temporary.cleanup)
        self.out = Path(temporary.name)

    def write(self, name: str, at_ns: int) -> None:
        (self.out / name).touch()
        os.utime(self.out / name, ns=(at_ns, at_ns))

    def test_order_by_dependency_passes_also_within_one_tick(self) -> None:
        self.write("a", 1_000_000_000)
        self.write("b", 1_000_000_000)
        check_files("tool", self.GRAPH, self.out)

    def test_a_missing_file_is_named(self) -> None:
        self.write("a", 1_000_000_000)
        with self.assertRaisesRegex(RunFailed, "tool exited with 0 but wrote 1 of 2 .* b$"):
            check_files("tool", self.GRAPH, self.out)

    def test_a_task_before_its_dependency_is_named(self) -> None:
        self.write("a", 2_000_000_000)
        self.write("b", 1_000_000_000)
        with self.assertRaisesRegex(RunFailed, "ran b before a"):
            check_files("tool", self.GRAPH, self.out)


class TestRatios(unittest.TestCase):
    PEER = Peer("other", lambda graph, site: Command([], Path()), 0.2, 1, [])

    def test_a_ratio_is_operons_median_over_the_peers(self) -> None:
        (figure,) = ratios({"operon": 1.0, "other": 5.0}, [self.PEER])
        self.assertEqual((figure.name, figure.value), ("operon / other", 0.2))
        self.assertEqual(figure.verdict, "met")
        (slower,) = ratios({"operon": 1.01, "other": 5.0}, [self.PEER])
        self.assertEqual(slower.verdict, "missed")

    def test_without_operon_there_is_none(self) -> None:
        self.assertEqual(ratios({"other": 5.0}, [self.PEER]), [])

    def test_targets_are_those_promised(self) -> None:
        self.assertEqual(
            {peer.name: peer.ratio_max for peer in PEERS},
            {"ninja": 1.5, "snakemake": 0.2, "luigi": 0.2, "redun": 0.1, "prefect": 0.1},
        )


class TestWindows(unittest.TestCase):
    def test_time_per_item_is_that_of_the_window_around_the_position(self) -> None:
        # One item per millisecond up to item 2,000, then one per two milliseconds.
        times = [0.001 * n if n <= 2_000 else 2.0 + 0.002 * (n - 2_000) for n in range(10_000)]
        self.assertAlmostEqual(time_per_item(times, 1_000, 1_000), 0.001)
        self.assertAlmostEqual(time_per_item(times, 5_000, 1_000), 0.002)
        self.assertAlmostEqual(time_per_item(times, 2_000, 1_000), 0.0015)

    def test_a_window_that_arrived_at_once_says_nothing(self) -> None:
        with self.assertRaisesRegex(RunFailed, "in one piece"):
            time_per_item([1.0] * 10_000, 1_000, 1_000)

    def test_windows_lie_inside_the_stream(self) -> None:
        self.assertGreaterEqual(workloads.EARLY_ITEM - workloads.WINDOW // 2, 0)
        self.assertLess(workloads.LATE_ITEM + workloads.WINDOW // 2, workloads.FAN_OUT_ITEMS)

    def test_a_stream_must_report_every_item(self) -> None:
        line = json.dumps(FINISHED).encode() + b"\n"
        with mock.patch.object(workloads, "FAN_OUT_ITEMS", 3):
            chunks = [Chunk(1.0, line * 2), Chunk(2.0, b'{"type": "other"}\n' + line)]
            self.assertEqual(finish_times(chunks), [1.0, 1.0, 2.0])
            with self.assertRaisesRegex(RunFailed, "reports 2 finished items instead of 3"):
                finish_times(chunks[:1])


FINISHED = {"state": "SUCCESS", "task": operon.ITEM_TASK}


class TestEvents(unittest.TestCase):
    def test_only_successes_of_the_child_task_count(self) -> None:
        def finished(**changes: object) -> bool:
            return operon.is_finished_item(json.dumps(FINISHED | changes).encode())

        self.assertTrue(finished())
        self.assertFalse(finished(state="RUNNING"))
        self.assertFalse(finished(task=operon.FAN_OUT_TASK))
        self.assertFalse(finished(state="RUNNING", was="SUCCESS"))
        self.assertFalse(operon.is_finished_item(b"SUCCESS noop, but not JSON"))
        self.assertFalse(operon.is_finished_item(b'["SUCCESS", "noop"]'))


class TestReport(unittest.TestCase):
    def test_the_target_itself_is_met_on_both_sides(self) -> None:
        at_most, at_least = Target(Bound.AT_MOST, 20), Target(Bound.AT_LEAST, 10_000)
        self.assertEqual([at_most.met_by(v) for v in (19.9, 20, 20.1)], [True, True, False])
        self.assertEqual([at_least.met_by(v) for v in (9_999, 10_000)], [False, True])

    def test_the_table_shows_target_and_verdict(self) -> None:
        rows = table(
            [
                Figure("rate", 12_345.6, "1/s", Target(Bound.AT_LEAST, 10_000)),
                Figure("ratio", 0.25, "x", Target(Bound.AT_MOST, 0.2)),
                Figure("plain", 300.0, "ms"),
            ]
        ).splitlines()
        self.assertRegex(rows[1], r"^rate +12,346 +1/s +>= 10,000 +met$")
        self.assertRegex(rows[2], r"^ratio +0\.250 +x +<= 0\.200 +missed$")
        self.assertRegex(rows[3], r"^plain +300 +ms$")


if __name__ == "__main__":
    unittest.main()
