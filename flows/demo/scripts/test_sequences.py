"""FASTA, normalisation and the measures that every other script trusts."""

import contextlib
import io
import os
import tempfile
import unittest
from pathlib import Path
from unittest import mock

import sequences


def fasta(text: str) -> list[sequences.Record]:
    return list(sequences.parse_fasta(text.splitlines(), "test.fasta"))


def silently(action, *arguments):
    """Runs something that must fail, returns what it said."""
    said = io.StringIO()
    with contextlib.redirect_stderr(said), contextlib.suppress(SystemExit):
        action(*arguments)
        raise AssertionError(f"{action} did not fail")
    return said.getvalue()


class Fasta(unittest.TestCase):
    def test_header_fields_and_wrapped_sequence(self):
        (record,) = fasta(">AB1 organism=x lineage=y\nACGT\nAC\n")
        self.assertEqual((record.id, record.organism, record.sequence), ("AB1", "x", "ACGTAC"))
        self.assertEqual(record.fields["lineage"], "y")

    def test_what_is_written_is_read_again(self):
        record = sequences.Record("AB1", {"organism": "x"}, "ACGT" * 50)
        self.assertEqual(fasta(record.fasta()), [record])

    def test_an_empty_record_is_kept(self):
        self.assertEqual([r.sequence for r in fasta(">a organism=x\n>b organism=x\nAC\n")], ["", "AC"])

    def test_a_sequence_without_header_names_file_and_line(self):
        self.assertIn("test.fasta, line 2", silently(fasta, "\nACGT\n"))

    def test_an_id_cannot_be_a_path(self):
        self.assertIn("no record id", silently(fasta, ">../../etc/passwd organism=x\nAC\n"))

    def test_a_large_file_is_refused(self):
        with tempfile.TemporaryDirectory() as directory:
            path = Path(directory, "large.fasta")
            path.write_text(">a\n" + "A" * 100)
            with mock.patch.object(sequences, "FILE_BYTES_MAX", 50):
                self.assertIn("the limit is 50", silently(sequences.read_fasta, path))


class Measures(unittest.TestCase):
    def test_rna_gaps_and_case_do_not_matter(self):
        self.assertEqual(sequences.normalise("ac-gu\n N.u"), "ACGTNT")

    def test_the_frame_is_found(self):
        self.assertEqual(sequences.longest_orf("ATGAAACCC"), 9)
        # The first frame is cut by TAA, the second (CCT AAC CCC) is not.
        self.assertEqual(sequences.longest_orf("CCCTAACCCCCC"), 9)

    def test_a_stop_codon_ends_the_frame(self):
        # A stop in each frame: CCC CCC TAA CTA ACT AAC CCC, and so on; the longest rest has 12 bases.
        self.assertEqual(sequences.longest_orf("CCCCCC" + "TAACTAACTAA" + "CCCCCC"), 12)

    def test_a_codon_with_n_is_no_stop(self):
        self.assertEqual(sequences.longest_orf("CCCTNACCC"), 9)

    def test_words_with_ambiguous_bases_are_left_out(self):
        self.assertEqual(sequences.kmers("ACGNACG", 3), {"ACG"})


class Environment(unittest.TestCase):
    def test_numbers_are_checked(self):
        with mock.patch.dict(os.environ, {"X": "120"}):
            self.assertIn("from 0 to 100", silently(sequences.number_from_env, "X", 5, 0, 100))
        with mock.patch.dict(os.environ, {"X": "much"}):
            self.assertIn("`much`", silently(sequences.number_from_env, "X", 5, 0, 100))

    def test_the_attempt_is_the_engines(self):
        with mock.patch.dict(os.environ, {"OPERON_ATTEMPT": "2"}):
            self.assertEqual(sequences.attempt(), 2)


if __name__ == "__main__":
    unittest.main()
