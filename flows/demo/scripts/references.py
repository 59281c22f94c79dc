"""References: a simulated download that fails at the first attempt, then a profile of each organism.

There is no network here. The "download" copies `source.fasta`; with `SIMULATE_FAILURES=true` the first
attempt ends with exit code 75 (try again later), which the flow's `retry` heals.

Writes `references.fasta` and `profiles.json`: what a record of each organism is expected to look like.
"""

import statistics
import sys
from typing import Any

from sequences import Record, attempt, emit, fail, flag_from_env, longest_orf, normalise, read_fasta, write_json

TRY_AGAIN = 75
"""EX_TEMPFAIL of sysexits.h."""


def profile(references: list[Record]) -> dict[str, Any]:
    """Expected length and reading frame, learnt from the references themselves."""
    return {
        "length": int(statistics.median(len(r.sequence) for r in references)),
        "orf": int(statistics.median(longest_orf(r.sequence) for r in references)),
        "references": len(references),
        "lineages": sorted({r.fields["lineage"] for r in references}),
    }


def profiles(references: list[Record]) -> dict[str, dict[str, Any]]:
    """One profile per organism."""
    by_organism: dict[str, list[Record]] = {}
    for record in references:
        if not record.organism or not record.fields.get("lineage"):
            fail(f"reference `{record.id}` needs `organism=` and `lineage=` in its header")
        by_organism.setdefault(record.organism, []).append(record)
    return {organism: profile(records) for organism, records in sorted(by_organism.items())}


def main() -> None:
    """Runs the task."""
    if flag_from_env("SIMULATE_FAILURES") and attempt() == 1:
        print("simulated: the reference server closed the connection (attempt 1 always fails)", file=sys.stderr)
        raise SystemExit(TRY_AGAIN)
    records = [Record(r.id, r.fields, normalise(r.sequence)) for r in read_fasta("source.fasta")]
    found = profiles(records)
    with open("references.fasta", "w", encoding="utf-8") as file:
        file.writelines(record.fasta() for record in records)
    write_json("profiles.json", found)
    for organism, values in found.items():
        print(f"{organism}: {values['references']} references, about {values['length']} bases")
    emit(outputs={"references": len(records), "attempt": attempt()})


if __name__ == "__main__":
    main()
