"""Validate: bring ingest and every organism's quality control together, and check that nothing got lost.

Reads `ingest.json` and `preprocess.json` (the outputs of the loop's task, by organism); writes `report.json`
and `report.svg`.

Invariant: every record that ingest read has exactly one verdict in the report, or the task fails.
"""

from collections import Counter
from typing import Any

from picture import draw
from sequences import emit, fail, read_json, write_json

REASONS = {
    "duplicate": "same sequence as {duplicate_of}",
    "no_organism": "no organism in the header",
    "empty": "no sequence",
    "letters": "{foreign_letters} letters that are no IUPAC code",
    "length": "length is {length_percent:.0f} % of the expected",
    "too_many_n": "{n_percent:.1f} % N",
    "ambiguous_bases": "{ambiguous_percent:.1f} % ambiguous bases",
    "reading_frame": "reading frame is open over {orf_percent:.0f} % only",
    "other_organism": "looks like another organism",
    "unlike_references": "unlike every reference",
    "some_n": "{n_percent:.1f} % N",
    "some_ambiguous_bases": "{ambiguous_percent:.2f} % ambiguous bases",
}
"""What each code means to a person, with the record's numbers. A code without a text is an error."""


def verdicts(preprocess: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """Quality control of every record, by id, from `{organism: {"vars": {"results": [...]}}}`."""
    found: dict[str, dict[str, Any]] = {}
    for organism, outputs in preprocess.items():
        for result in outputs["vars"]["results"]:
            if result["id"] in found:
                fail(f"`{result['id']}` has two verdicts, the second from {organism}")
            found[result["id"]] = result
    return found


def merge(entry: dict[str, Any], found: dict[str, dict[str, Any]]) -> dict[str, Any]:
    """The report's line for one record that ingest read."""
    if entry["state"] == "kept":
        result = found.pop(entry["id"], None)
        if result is None:
            fail(f"`{entry['id']}` of {entry['organism']} was ingested, but has no verdict")
        codes, verdict = result["reasons"] + result["warnings"], result["verdict"]
        measures = {key: value for key, value in result.items() if isinstance(value, int | float)}
    else:
        duplicate = entry["state"] == "duplicate"
        codes = ["duplicate" if duplicate else entry["reason"]]
        verdict, measures = entry["state"], {"length": entry["length"]}
    numbers = {**measures, "duplicate_of": entry.get("duplicate_of")}
    return {
        "id": entry["id"], "organism": entry["organism"], "verdict": verdict, "codes": codes,
        "texts": [REASONS[code].format(**numbers) for code in codes], "measures": measures,
        "sha256": entry["sha256"],
    }  # fmt: skip


def report(ingest: dict[str, Any], preprocess: dict[str, Any]) -> dict[str, Any]:
    """The validation report; fails when records were lost or invented on the way."""
    found = verdicts(preprocess)
    records = [merge(entry, found) for entry in ingest["records"]]
    if found:
        fail(f"verdicts about records that were never ingested: {', '.join(sorted(found))}")
    counts = Counter(record["verdict"] for record in records)
    organisms = {
        organism: dict(sorted(Counter(r["verdict"] for r in records if r["organism"] == organism).items()))
        for organism in sorted({record["organism"] for record in records} - {""})
    }
    totals = {"received": len(records)} | {key: counts[key] for key in ("accepted", "rejected", "duplicate")}
    totals["accepted_with_remarks"] = sum(r["verdict"] == "accepted" and bool(r["codes"]) for r in records)
    return {"totals": totals, "organisms": organisms, "records": records}


def main() -> None:
    """Runs the task."""
    result = report(read_json("ingest.json"), read_json("preprocess.json"))
    write_json("report.json", result)
    with open("report.svg", "w", encoding="utf-8") as file:
        file.write(draw(result))
    totals = result["totals"]
    print(", ".join(f"{value} {key.replace('_', ' ')}" for key, value in totals.items()))
    organisms = [name for name, counts in result["organisms"].items() if counts.get("accepted")]
    emit(
        outputs={"organisms": organisms, **totals},
        counters={f"sequences_{key}": totals[key] for key in ("accepted", "rejected")},
    )


if __name__ == "__main__":
    main()
