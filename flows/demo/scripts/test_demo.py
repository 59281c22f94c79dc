"""The committed data is what its tables say, and the tasks, one after the other, judge it rightly.

The tasks run as the engine runs them: each in a directory of its own, with nothing but its files and its
environment. Only the engine is missing.
"""

import csv
import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import unittest
from pathlib import Path

from sequences import IUPAC, kmers, normalise, read_fasta

DEMO = Path(__file__).resolve().parent.parent
DATA = DEMO / "data"
DATA_BYTES_MAX = 400_000


def table(name: str) -> list[dict[str, str]]:
    with (DATA / name).open(newline="") as file:
        return list(csv.DictReader(file, delimiter="\t"))


class Data(unittest.TestCase):
    def test_every_intact_record_has_its_provenance(self):
        listed = {row["accession"]: row for row in table("provenance.tsv")}
        found = {}
        for name in ("sequences.fasta", "references.fasta"):
            found |= {r.id: (name, r) for r in read_fasta(DATA / name) if "damage" not in r.fields}
        self.assertEqual(set(found), set(listed))
        for accession, (name, record) in found.items():
            row = listed[accession]
            digest = hashlib.sha256(record.sequence.encode()).hexdigest()
            self.assertEqual(
                (row["file"], int(row["length"]), row["sha256_of_sequence"], row["organism"]),
                (name, len(record.sequence), digest, record.organism),
                accession,
            )
            self.assertTrue(IUPAC.issuperset(record.sequence), accession)
            self.assertTrue(row["package"] and row["package_licence"], accession)

    def test_damaged_records_are_what_the_script_makes(self):
        done = subprocess.run(
            [sys.executable, DEMO / "make_damaged.py", "--check"], capture_output=True, text=True, check=False
        )
        self.assertEqual((done.returncode, done.stderr), (0, ""))

    def test_damaged_records_cannot_be_mistaken_for_real_ones(self):
        for record in read_fasta(DATA / "sequences.fasta"):
            self.assertEqual(record.id.startswith("DEMO-"), "damage" in record.fields, record.id)

    def test_no_query_is_a_reference(self):
        references = {normalise(record.sequence) for record in read_fasta(DATA / "references.fasta")}
        self.assertEqual([r.id for r in read_fasta(DATA / "sequences.fasta") if r.sequence in references], [])

    def test_every_lineage_has_a_name(self):
        names = json.loads((DATA / "nomenclature.json").read_text())
        for record in read_fasta(DATA / "references.fasta"):
            self.assertIn(record.fields["lineage"], names[record.organism])

    def test_organisms_do_not_look_alike(self):
        words: dict[str, set[str]] = {}
        for record in read_fasta(DATA / "references.fasta"):
            words.setdefault(record.organism, set()).update(kmers(record.sequence, 11))
        for a, own in words.items():
            for b in set(words) - {a}:
                self.assertLess(len(own & words[b]) / len(own), 0.03, f"{a} and {b}")

    def test_the_data_is_small(self):
        self.assertLess(sum(path.stat().st_size for path in DATA.iterdir()), DATA_BYTES_MAX)


class Tasks:
    """Runs tasks in directories of their own, as the engine does."""

    def __init__(self, root: Path):
        self.root = root

    def run(self, name: str, *command: str, files: dict[str, Path | str], attempt: int = 1, **env: str):
        """Returns the exit code, `outputs.<task>.vars`, the metrics and the directory."""
        directory = self.root / f"{name}-{attempt}"
        shutil.copytree(DEMO / "scripts", directory / "scripts", ignore=shutil.ignore_patterns("__pycache__"))
        for target, source in files.items():
            if isinstance(source, Path):
                shutil.copy(source, directory / target)
            else:
                (directory / target).write_text(source)
        done = subprocess.run(
            [sys.executable, *command], cwd=directory, capture_output=True, text=True, check=False,
            env={"PATH": os.environ.get("PATH", ""), "OPERON_ATTEMPT": str(attempt), **env},
        )  # fmt: skip
        envelopes = [json.loads(text) for text in re.findall(r"^::(\{.*\})::$", done.stdout, re.MULTILINE)]
        values = {key: value for e in envelopes for key, value in e.get("outputs", {}).items()}
        metrics = {m["name"]: m["value"] for e in envelopes for m in e.get("metrics", [])}
        return done, values, metrics, directory


class WholeFlow(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.temporary = tempfile.TemporaryDirectory()
        cls.addClassCleanup(cls.temporary.cleanup)
        cls.tasks = Tasks(Path(cls.temporary.name))
        run = cls.run_task
        flaky = {"SIMULATE_FAILURES": "true"}
        _, cls.ingest, cls.metrics, ingested = run(
            "ingest", "scripts/ingest.py", files={"sequences.fasta": DATA / "sequences.fasta"}
        )
        source = {"source.fasta": DATA / "references.fasta"}
        cls.first, *_ = cls.tasks.run("references", "scripts/references.py", files=source, **flaky)
        _, _, _, referenced = run("references", "scripts/references.py", files=source, attempt=2, **flaky)
        names = {"names.json": DATA / "nomenclature.json"}
        _, cls.service, _, asked = run("service", "scripts/nomenclature.py", "service", files=names, **flaky)
        cls.service_files = [path.name for path in asked.glob("nomenclature.json")]
        _, _, _, named = run("copy", "scripts/nomenclature.py", "copy", files=names)
        quality, lineages = {}, {}
        for organism in cls.ingest["organisms"]:
            _, values, _, _ = run(
                f"preprocess-{organism}", "scripts/preprocess.py",
                files={"sequences.fasta": ingested / f"organisms/{organism}.fasta",
                       "references.fasta": referenced / "references.fasta",
                       "profiles.json": referenced / "profiles.json"},
                MAX_N_PERCENT="5",
            )  # fmt: skip
            quality[organism] = {"vars": values}
        _, cls.validate, cls.validate_metrics, validated = run(
            "validate", "scripts/validate.py",
            files={"ingest.json": ingested / "ingest.json", "preprocess.json": json.dumps(quality)},
        )  # fmt: skip
        cls.report = json.loads((validated / "report.json").read_text())
        for organism in cls.validate["organisms"]:
            _, values, _, _ = run(
                f"lineage-{organism}", "scripts/lineage.py",
                files={"sequences.fasta": ingested / f"organisms/{organism}.fasta",
                       "references.fasta": referenced / "references.fasta",
                       "report.json": validated / "report.json",
                       "nomenclature.json": named / "nomenclature.json"},
            )  # fmt: skip
            lineages[organism] = {"vars": values}
        done, cls.summary, _, summarised = run(
            "summarise", "scripts/summarise.py",
            files={"report.json": validated / "report.json", "lineage.json": json.dumps(lineages)},
        )  # fmt: skip
        cls.printed = done.stdout
        with (summarised / "summary.tsv").open(newline="") as file:
            cls.rows = {row["id"]: row for row in csv.DictReader(file, delimiter="\t")}

    @classmethod
    def run_task(cls, *arguments, **options):
        """Like [Tasks.run], and the task must succeed."""
        done, *rest = cls.tasks.run(*arguments, **options)
        if done.returncode:
            raise AssertionError(f"{arguments[0]} failed: {done.stderr}")
        return done, *rest

    def test_the_flaky_download_fails_once_and_says_so(self):
        self.assertEqual(self.first.returncode, 75)
        self.assertIn("simulated", self.first.stderr)

    def test_the_naming_service_is_reported_as_down(self):
        self.assertEqual((self.service, self.service_files), ({"available": False}, []))

    def test_nothing_is_lost(self):
        received = [record.id for record in read_fasta(DATA / "sequences.fasta")]
        self.assertEqual(list(self.rows), received)
        totals = self.report["totals"]
        self.assertEqual(totals["received"], len(received))
        self.assertEqual(totals["received"], totals["accepted"] + totals["rejected"] + totals["duplicate"])
        self.assertEqual(self.metrics["sequences_received"], len(received))
        self.assertEqual(self.validate_metrics["sequences_accepted"], totals["accepted"])
        self.assertEqual((self.summary["accepted"], self.summary["rejected"]), (totals["accepted"], totals["rejected"]))

    def test_every_damage_is_found_for_its_own_reason(self):
        records = {record["id"]: record for record in self.report["records"]}
        for row in table("damaged.tsv"):
            self.assertIn(row["expected_reason"], records[row["id"]]["codes"], row["id"])
            self.assertNotEqual(records[row["id"]]["verdict"], "accepted", row["id"])

    def test_every_intact_record_gets_its_lineage(self):
        for row in table("provenance.tsv"):
            if row["file"] == "sequences.fasta" and row["lineage"] != "-":
                found = self.rows[row["accession"]]
                self.assertEqual(
                    (found["verdict"], found["lineage"], found["confidence"]),
                    ("accepted", row["lineage"], "clear"),
                    row["accession"],
                )

    def test_the_other_segment_is_rejected(self):
        self.assertEqual(self.rows["EU851978"]["verdict"], "rejected")
        self.assertIn("unlike every reference", self.rows["EU851978"]["reasons"])

    def test_the_method_is_labelled(self):
        self.assertIn("not for science", self.printed)


if __name__ == "__main__":
    unittest.main()
