"""Ingest: read what was submitted, normalise it, drop what was sent twice, split it by organism.

Reads `sequences.fasta`; writes `organisms/<organism>.fasta` and `ingest.json`.

Invariant: every record read is in `ingest.json` exactly once: kept, duplicate or rejected.
"""

from collections import defaultdict
from pathlib import Path
from typing import Any

from sequences import ID_PATTERN, Record, emit, fail, normalise, read_fasta, write_json


def problem_of(record: Record) -> str | None:
    """Why a record cannot even be given to an organism's preprocessing; none if it can."""
    if not record.sequence:
        return "empty"
    if not ID_PATTERN.fullmatch(record.organism):
        return "no_organism"
    return None


def ingest(records: list[Record]) -> tuple[dict[str, list[Record]], list[dict[str, Any]]]:
    """Returns the kept records by organism, and one entry for every record read."""
    kept: dict[str, list[Record]] = defaultdict(list)
    first: dict[tuple[str, str], str] = {}
    seen: set[str] = set()
    entries = []
    for raw in records:
        record = Record(raw.id, raw.fields, normalise(raw.sequence))
        if record.id in seen:
            fail(f"two records are called `{record.id}`; a record's id must be unique in the file")
        seen.add(record.id)
        entry: dict[str, Any] = {
            "id": record.id, "organism": record.organism, "length": len(record.sequence),
            "sha256": record.sha256, "state": "kept",
        }  # fmt: skip
        problem = problem_of(record)
        original = first.setdefault((record.organism, record.sha256), record.id)
        if problem:
            entry |= {"state": "rejected", "reason": problem}
        elif original != record.id:
            entry |= {"state": "duplicate", "duplicate_of": original}
        else:
            kept[record.organism].append(record)
        entries.append(entry)
    return dict(sorted(kept.items())), entries


def main() -> None:
    """Runs the task."""
    kept, entries = ingest(read_fasta("sequences.fasta"))
    if not kept:
        fail("no usable record in sequences.fasta; each header needs `organism=<name>`")
    Path("organisms").mkdir(exist_ok=True)
    for organism, records in kept.items():
        Path("organisms", f"{organism}.fasta").write_text("".join(r.fasta() for r in records))
        print(f"{organism}: {len(records)} records")
    write_json("ingest.json", {"organisms": list(kept), "records": entries})
    duplicates = sum(entry["state"] == "duplicate" for entry in entries)
    print(f"read {len(entries)} records, dropped {duplicates} duplicates")
    emit(
        outputs={"organisms": list(kept), "received": len(entries), "duplicates": duplicates},
        counters={"sequences_received": len(entries), "sequences_duplicate": duplicates},
    )


if __name__ == "__main__":
    main()
