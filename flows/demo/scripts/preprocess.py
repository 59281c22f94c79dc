"""Preprocess: quality control of one organism's sequences without an alignment.

The checks follow those that Nextclade makes (missing data, mixed sites, frame shifts, wrong virus), in forms
that need no alignment. Expectations come from the references, not from constants about viruses.

Reads `sequences.fasta`, `references.fasta`, `profiles.json`; writes `qc.json`.

Invariant: a record is rejected when, and only when, it has at least one reason.
"""

from dataclasses import dataclass
from typing import Any

from sequences import (
    AMBIGUOUS,
    IUPAC,
    Record,
    emit,
    fail,
    kmers,
    longest_orf,
    number_from_env,
    read_fasta,
    read_json,
    write_json,
)

LENGTH_TOLERANCE = 0.15
"""Share of the expected length by which a record may be shorter or longer."""
AMBIGUOUS_PERCENT_MAX = 1.0
"""IUPAC codes for two or three bases, in percent of the record."""
ORF_PERCENT_MIN = 80.0
"""Longest open reading frame, in percent of the references' median. A frame shift in the middle gives about 50."""
WORD = 11
"""Bases of a word shared with a reference; a random 10-kb sequence shares few of the 4 million words."""
SIMILARITY_PERCENT_MIN = 5.0
"""Words found in a reference of the declared organism. Relatives at 20 % distance still share about 9 %."""
N_PERCENT_WARNING = 1.0
"""From here on, Ns are mentioned without rejecting the record."""


@dataclass(frozen=True)
class Expected:
    """What a record of this organism should look like."""

    organism: str
    length: int
    orf: int
    n_percent_max: float
    words: dict[str, set[str]]
    """Words of all references, by organism."""


def similarity(sequence: str, words: set[str]) -> float:
    """Percent of the sequence's words that occur in `words`."""
    own = kmers(sequence, WORD)
    return 100 * len(own & words) / len(own) if own else 0.0


def measure(record: Record, expected: Expected) -> dict[str, float]:
    """The numbers that the verdict rests on."""
    sequence = record.sequence
    length = len(sequence)
    return {
        "length": length,
        "length_percent": round(100 * length / expected.length, 1),
        "n_percent": round(100 * sequence.count("N") / length, 2),
        "ambiguous_percent": round(100 * sum(base in AMBIGUOUS for base in sequence) / length, 2),
        "foreign_letters": sum(base not in IUPAC for base in sequence),
        "orf_percent": round(100 * longest_orf(sequence) / expected.orf, 1),
        "similarity_percent": round(similarity(sequence, expected.words[expected.organism]), 1),
    }


def reasons_of(record: Record, values: dict[str, float], expected: Expected) -> list[str]:
    """Why the record is rejected; empty if it is not."""
    reasons = []
    if values["foreign_letters"]:
        reasons.append("letters")
    if abs(values["length_percent"] - 100) > 100 * LENGTH_TOLERANCE:
        reasons.append("length")
    if values["n_percent"] > expected.n_percent_max:
        reasons.append("too_many_n")
    if values["ambiguous_percent"] > AMBIGUOUS_PERCENT_MAX:
        reasons.append("ambiguous_bases")
    if values["similarity_percent"] < SIMILARITY_PERCENT_MIN:
        other = max(expected.words, key=lambda organism: similarity(record.sequence, expected.words[organism]))
        known = similarity(record.sequence, expected.words[other]) >= SIMILARITY_PERCENT_MIN
        reasons.append("other_organism" if known else "unlike_references")
    # A short or foreign record has no full reading frame either; saying so would only hide the cause.
    elif "length" not in reasons and values["orf_percent"] < ORF_PERCENT_MIN:
        reasons.append("reading_frame")
    return reasons


def check(record: Record, expected: Expected) -> dict[str, Any]:
    """Numbers, verdict, reasons and warnings of one record."""
    values = measure(record, expected)
    reasons = reasons_of(record, values, expected)
    warnings = []
    if not reasons and values["n_percent"] > N_PERCENT_WARNING:
        warnings.append("some_n")
    if not reasons and values["ambiguous_percent"] > 0:
        warnings.append("some_ambiguous_bases")
    verdict = "rejected" if reasons else "accepted"
    return {"id": record.id, "verdict": verdict, "reasons": reasons, "warnings": warnings, **values}


def main() -> None:
    """Runs the task."""
    records = read_fasta("sequences.fasta")
    organism = records[0].organism if records else ""
    profiles = read_json("profiles.json")
    if organism not in profiles:
        fail(f"no reference for organism `{organism}`; add one to references.fasta")
    words: dict[str, set[str]] = {}
    for reference in read_fasta("references.fasta"):
        words.setdefault(reference.organism, set()).update(kmers(reference.sequence, WORD))
    n_percent_max = number_from_env("MAX_N_PERCENT", 5, 0, 100)
    expected = Expected(organism, profiles[organism]["length"], profiles[organism]["orf"], n_percent_max, words)
    results = [check(record, expected) for record in records]
    write_json("qc.json", {"organism": organism, "expected": profiles[organism], "results": results})
    for result in results:
        print(f"{result['id']:24} {result['verdict']:9} {', '.join(result['reasons'] + result['warnings'])}")
    rejected = sum(result["verdict"] == "rejected" for result in results)
    emit(
        outputs={"organism": organism, "results": results},
        counters={"sequences_processed": len(results), "sequences_failed_qc": rejected},
    )


if __name__ == "__main__":
    main()
