"""Each task by itself, on sequences small enough to read."""

import random
import unittest
import xml.etree.ElementTree as ET

import ingest
import lineage
import picture
import preprocess
import references
import summarise
import validate
from sequences import Record, kmers
from test_sequences import silently


def record(name: str, sequence: str, organism: str = "virus", **fields: str) -> Record:
    return Record(name, {"organism": organism, **fields} if organism else dict(fields), sequence)


def open_frame(length: int, seed: int) -> str:
    """A random sequence whose first frame has no stop codon."""
    chance = random.Random(seed)
    codons = ("".join(chance.choice("ACGT") for _ in range(3)) for _ in iter(int, 1))
    text = ""
    while len(text) < length:
        codon = next(codons)
        text += "" if codon in {"TAA", "TAG", "TGA"} else codon
    return text[:length]


def mutated(sequence: str, every: int) -> str:
    """One base in every so many becomes C, which no stop codon contains."""
    return "".join("C" if i % every == 0 else base for i, base in enumerate(sequence))


class Ingest(unittest.TestCase):
    def test_every_record_has_one_entry(self):
        kept, entries = ingest.ingest(
            [record("a", "ACGT"), record("b", "acgu"), record("c", "ACGT", "other"), record("d", "AC", ""),
             record("e", "")]
        )  # fmt: skip
        self.assertEqual([e["state"] for e in entries], ["kept", "duplicate", "kept", "rejected", "rejected"])
        self.assertEqual(entries[1]["duplicate_of"], "a")
        self.assertEqual([e.get("reason") for e in entries[3:]], ["no_organism", "empty"])
        self.assertEqual({organism: [r.id for r in rs] for organism, rs in kept.items()},
                         {"other": ["c"], "virus": ["a"]})  # fmt: skip

    def test_an_organism_cannot_be_a_path(self):
        kept, entries = ingest.ingest([record("a", "ACGT", "../up")])
        self.assertEqual((kept, entries[0]["reason"]), ({}, "no_organism"))

    def test_two_records_of_one_name_are_refused(self):
        self.assertIn("`a`", silently(ingest.ingest, [record("a", "ACGT"), record("a", "GGGG")]))


class Preprocess(unittest.TestCase):
    def setUp(self):
        self.reference = open_frame(1200, seed=1)
        other = open_frame(1200, seed=2)
        found = references.profiles([record("r", self.reference, lineage="one")])
        words = {"virus": kmers(self.reference, preprocess.WORD), "other": kmers(other, preprocess.WORD)}
        self.expected = preprocess.Expected("virus", found["virus"]["length"], found["virus"]["orf"], 5.0, words)
        self.other = other

    def reasons(self, sequence: str) -> list[str]:
        return preprocess.check(record("q", sequence), self.expected)["reasons"]

    def test_a_relative_is_accepted(self):
        result = preprocess.check(record("q", mutated(self.reference, 25)), self.expected)
        self.assertEqual((result["verdict"], result["reasons"], result["warnings"]), ("accepted", [], []))

    def test_each_damage_has_its_reason(self):
        sequence = self.reference
        self.assertEqual(self.reasons(sequence[:900]), ["length"])
        self.assertEqual(self.reasons(sequence + sequence[:300]), ["length"])
        self.assertEqual(self.reasons("N" * 100 + sequence[100:]), ["too_many_n"])
        self.assertEqual(self.reasons("RY" * 10 + sequence[20:]), ["ambiguous_bases"])
        self.assertEqual(self.reasons(sequence[:600] + "E" + sequence[601:]), ["letters"])
        self.assertEqual(self.reasons(self.other), ["other_organism"])
        self.assertEqual(self.reasons(open_frame(1200, seed=3)), ["unlike_references"])

    def test_stop_codons_break_the_frame(self):
        # A stop in each of the three frames at two places leaves about a third.
        stops = "TAACTAACTAA"
        sequence = self.reference
        for place in (400, 800):
            sequence = sequence[:place] + stops + sequence[place + len(stops) :]
        self.assertEqual(self.reasons(sequence), ["reading_frame"])

    def test_few_ambiguous_bases_are_a_remark(self):
        result = preprocess.check(record("q", "R" + self.reference[1:]), self.expected)
        self.assertEqual((result["verdict"], result["warnings"]), ("accepted", ["some_ambiguous_bases"]))

    def test_the_limit_of_ns_is_inclusive(self):
        self.assertEqual(self.reasons("N" * 60 + self.reference[60:]), [])
        self.assertEqual(self.reasons("N" * 61 + self.reference[61:]), ["too_many_n"])


def entry(name: str, state: str = "kept", **more: str) -> dict:
    return {"id": name, "organism": "virus", "length": 10, "sha256": "0", "state": state, **more}


def result(name: str, *reasons: str, **measures: float) -> dict:
    verdict = "rejected" if reasons else "accepted"
    return {"id": name, "verdict": verdict, "reasons": list(reasons), "warnings": [], "length": 10, **measures}


def outputs(*results: dict) -> dict:
    return {"virus": {"vars": {"results": list(results)}}}


class Validate(unittest.TestCase):
    def test_counts_add_up(self):
        made = validate.report(
            {"records": [entry("a"), entry("b"), entry("c", "duplicate", duplicate_of="a"),
                         entry("d", "rejected", reason="empty")]},
            outputs(result("a"), result("b", "length", length_percent=45.2)),
        )  # fmt: skip
        self.assertEqual(made["totals"], {"received": 4, "accepted": 1, "rejected": 2, "duplicate": 1,
                                          "accepted_with_remarks": 0})  # fmt: skip
        self.assertEqual([r["texts"] for r in made["records"]],
                         [[], ["length is 45 % of the expected"], ["same sequence as a"], ["no sequence"]])  # fmt: skip

    def test_a_lost_record_fails_the_task(self):
        ingested = {"records": [entry("a"), entry("b")]}
        self.assertIn("`b`", silently(validate.report, ingested, outputs(result("a"))))

    def test_an_invented_record_fails_the_task(self):
        made = outputs(result("a"), result("x"))
        self.assertIn("never ingested: x", silently(validate.report, {"records": [entry("a")]}, made))

    def test_two_verdicts_fail_the_task(self):
        made = outputs(result("a"), result("a"))
        self.assertIn("two verdicts", silently(validate.report, {"records": [entry("a")]}, made))

    def test_every_code_of_a_check_has_a_text(self):
        codes = set().union(*(bad | remark for *_, bad, remark in picture.CHECKS))
        self.assertLessEqual(codes, set(validate.REASONS))

    def test_the_picture_is_xml_and_escapes_what_it_is_given(self):
        made = validate.report({"records": [entry("a")]}, outputs(result("a", "letters", foreign_letters=2)))
        made["records"][0]["id"] = "<script>&"
        made["records"][0]["texts"] = ["<b>" * 40]
        root = ET.fromstring(picture.draw(made))
        texts = [element.text for element in root.iter("{http://www.w3.org/2000/svg}text")]
        self.assertIn("<script>&", texts)


class Lineage(unittest.TestCase):
    def setUp(self):
        self.ancestor = open_frame(1500, seed=4)
        pairs = [("one", mutated(self.ancestor, 12)), ("two", mutated(self.ancestor, 7))]
        self.references = [(record(f"r-{name}", text, lineage=name), lineage.sketch(text)) for name, text in pairs]

    def test_equal_sequences_have_no_distance(self):
        self.assertEqual(lineage.distance(self.references[0][1], self.references[0][1]), 0.0)

    def test_unrelated_sequences_share_nothing_much(self):
        unrelated = lineage.sketch(open_frame(1500, seed=5))
        self.assertGreater(lineage.distance(self.references[0][1], unrelated), lineage.DISTANCE_MAX)

    def test_the_distance_is_near_the_share_of_substitutions(self):
        text = mutated(self.ancestor, 20)
        share = sum(a != b for a, b in zip(text, self.ancestor, strict=True)) / len(text)
        self.assertAlmostEqual(lineage.distance(lineage.sketch(text), lineage.sketch(self.ancestor)), share, delta=0.02)

    def test_the_nearest_reference_gives_the_lineage(self):
        own = mutated(self.references[1][0].sequence, 40)
        found = lineage.assign(record("q", own), self.references)
        self.assertEqual((found["lineage"], found["reference"], found["confidence"]), ("two", "r-two", "clear"))

    def test_a_tie_is_uncertain(self):
        twins = [(record("r-one", self.ancestor, lineage="one"), lineage.sketch(self.ancestor)),
                 (record("r-two", self.ancestor, lineage="two"), lineage.sketch(self.ancestor))]  # fmt: skip
        self.assertEqual(lineage.assign(record("q", self.ancestor), twins)["confidence"], "uncertain")

    def test_a_stranger_gets_no_lineage(self):
        found = lineage.assign(record("q", open_frame(1500, seed=6)), self.references)
        self.assertEqual((found["lineage"], found["confidence"]), ("unassigned", "none"))


class Summarise(unittest.TestCase):
    report = validate.report(
        {"records": [entry("a"), entry("long-name")]}, outputs(result("a"), result("long-name", "empty"))
    )
    assigned = {"id": "a", "lineage": "one", "name": "Lineage one", "distance": 0.05, "confidence": "clear"}

    def test_columns_are_aligned(self):
        lines = summarise.printed(summarise.rows(self.report, outputs(self.assigned))).splitlines()
        self.assertEqual([line.index("virus") for line in lines[2:]], [11, 11])
        self.assertEqual(lines[0].index("ORGANISM"), 11)
        self.assertTrue(all(line == line.rstrip() for line in lines))

    def test_an_accepted_record_without_lineage_fails_the_task(self):
        self.assertIn("`a` is accepted", silently(summarise.rows, self.report, outputs()))

    def test_a_rejected_record_with_a_lineage_fails_the_task(self):
        made = outputs(self.assigned, {**self.assigned, "id": "long-name"})
        self.assertIn("`long-name` is rejected", silently(summarise.rows, self.report, made))


if __name__ == "__main__":
    unittest.main()
