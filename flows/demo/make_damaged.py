#!/usr/bin/env python3
"""Append damaged copies of a few records to `data/sequences.fasta`, so that the flow has something to reject.

    python3 make_damaged.py            rewrite the damaged records
    python3 make_damaged.py --check    exit 1 if the committed files are not what this script makes

Every damaged record is called `DEMO-…` and carries `damage=…`: none can be mistaken for an INSDC record.
`data/damaged.tsv` says what was done to which record and what the flow must answer.

Invariant: the same intact records give the same bytes; there is no randomness and no clock.
"""

import sys
from collections.abc import Callable
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE / "scripts"))

from sequences import Record, read_fasta  # noqa: E402

SEQUENCES = HERE / "data" / "sequences.fasta"
TABLE = HERE / "data" / "damaged.tsv"


def with_ns(sequence: str) -> str:
    """Six blocks of N, together 12 % of the record: amplicons that dropped out."""
    block = len(sequence) * 2 // 100
    for i in range(6):
        start = (i + 1) * len(sequence) // 7
        sequence = sequence[:start] + "N" * block + sequence[start + block :]
    return sequence


def truncated(sequence: str) -> str:
    """The first 45 %: an assembly that stopped early."""
    return sequence[: len(sequence) * 45 // 100]


def frame_shifted(sequence: str) -> str:
    """One base less in the middle: the reading frame is lost from there on."""
    middle = len(sequence) // 2
    return sequence[:middle] + sequence[middle + 1 :]


def with_foreign_letters(sequence: str) -> str:
    """`X`, `*` and `E` among the bases: protein letters in a nucleotide file."""
    for i, letter in enumerate("X*EX"):
        place = (i + 1) * len(sequence) // 5
        sequence = sequence[:place] + letter + sequence[place + 1 :]
    return sequence


def ambiguous(sequence: str) -> str:
    """Every 40th base as a two-fold code: a mixed sample."""
    code = {"A": "R", "C": "Y", "G": "R", "T": "Y"}
    return "".join(code.get(base, base) if i % 40 == 20 else base for i, base in enumerate(sequence))


def as_rna(sequence: str) -> str:
    """Lower case and U for T: the same sequence in other clothes."""
    return sequence.lower().replace("t", "u")


def mislabelled(sequence: str) -> str:
    """Another virus in the header than in the sequence."""
    return sequence


def unlabelled(sequence: str) -> str:
    """No organism in the header; the sequence is as it was."""
    return sequence


def emptied(_: str) -> str:
    """Nothing: a header without a sequence."""
    return ""


# Name, made from, damage, organism in the header (None: as in the original), what the flow must answer.
DAMAGE: list[tuple[str, str, Callable[[str], str], str | None, str]] = [
    ("DEMO-NS", "CY021826", with_ns, None, "too_many_n"),
    ("DEMO-TRUNCATED", "AY540474", truncated, None, "length"),
    ("DEMO-TRUNCATED-GENOME", "U88826", truncated, None, "length"),
    ("DEMO-FRAMESHIFT", "CY022346", frame_shifted, None, "reading_frame"),
    ("DEMO-LETTERS", "AF369672", with_foreign_letters, None, "letters"),
    ("DEMO-AMBIGUOUS", "GU186637", ambiguous, None, "ambiguous_bases"),
    ("DEMO-DUPLICATE", "AY540486", as_rna, None, "duplicate"),
    ("DEMO-MISLABELLED", "U52410", mislabelled, "influenza-a", "other_organism"),
    ("DEMO-NO-ORGANISM", "AF369683", unlabelled, "", "no_organism"),
    ("DEMO-EMPTY", "AF369694", emptied, None, "empty"),
]


def damaged(intact: dict[str, Record]) -> list[Record]:
    """The damaged records, in the order of the table above."""
    records = []
    for name, source, damage, organism, _ in DAMAGE:
        original = intact[source]
        declared = original.organism if organism is None else organism
        fields = {"organism": declared} if declared else {}
        fields |= {"damage": damage.__name__, "made_from": source}
        records.append(Record(name, fields, damage(original.sequence)))
    return records


def main() -> None:
    """Writes both files, or compares them with what they should be."""
    intact = [record for record in read_fasta(SEQUENCES) if "damage" not in record.fields]
    made = damaged({record.id: record for record in intact})
    fasta = "".join(record.fasta() for record in intact + made)
    rows = [("id", "made_from", "damage", "expected_reason")]
    rows += [(name, source, (damage.__doc__ or "").split("\n")[0], reason)
             for name, source, damage, _, reason in DAMAGE]  # fmt: skip
    table = "".join("\t".join(row) + "\n" for row in rows)
    if sys.argv[1:] == ["--check"]:
        if SEQUENCES.read_text() != fasta or TABLE.read_text() != table:
            sys.exit("data/sequences.fasta or data/damaged.tsv is stale: run make_damaged.py")
    else:
        SEQUENCES.write_text(fasta)
        TABLE.write_text(table)


if __name__ == "__main__":
    main()
