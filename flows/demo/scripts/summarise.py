"""Summarise: one line per record, as a table for people (stdout) and one for programs (`summary.tsv`).

Reads `report.json` and `lineage.json` (the outputs of the loop's task, by organism).

Invariant: every accepted record has a lineage result, and no other record has one.
"""

import csv
from typing import Any

from sequences import emit, fail, read_json

COLUMNS = ["id", "organism", "verdict", "length", "lineage", "lineage_name", "distance", "confidence", "reasons"]
HEADINGS = {"id": "RECORD", "organism": "ORGANISM", "verdict": "VERDICT", "length": "LENGTH",
            "lineage": "LINEAGE*", "reasons": "WHY"}  # fmt: skip
"""What the printed table shows; the rest is in the file."""


def rows(report: dict[str, Any], lineages: dict[str, Any]) -> list[dict[str, str]]:
    """One row per record, in the order received."""
    found = {result["id"]: result for outputs in lineages.values() for result in outputs["vars"]["results"]}
    table = []
    for record in report["records"]:
        lineage = found.pop(record["id"], None)
        if (record["verdict"] == "accepted") != (lineage is not None):
            fail(f"`{record['id']}` is {record['verdict']}, but its lineage is {lineage and lineage['lineage']}")
        lineage = lineage or {}
        table.append(
            {
                "id": record["id"],
                "organism": record["organism"] or "-",
                "verdict": record["verdict"],
                "length": str(record["measures"]["length"]),
                "lineage": lineage.get("lineage", "-"),
                "lineage_name": lineage.get("name", "-"),
                "distance": f"{lineage['distance']:.4f}" if lineage else "-",
                "confidence": lineage.get("confidence", "-"),
                "reasons": "; ".join(record["texts"]),
            }
        )
    if found:
        fail(f"lineages of records that are not in the report: {', '.join(sorted(found))}")
    return table


def printed(table: list[dict[str, str]]) -> str:
    """The table in columns, numbers to the right."""
    lines = [HEADINGS, *({column: row[column] for column in HEADINGS} for row in table)]
    widths = {column: max(len(line[column]) for line in lines) for column in HEADINGS}
    text = []
    for line in lines:
        cells = [
            line[column].rjust(widths[column]) if column == "length" else line[column].ljust(widths[column])
            for column in HEADINGS
        ]
        text.append("  ".join(cells).rstrip())
    text.insert(1, "  ".join("─" * widths[column] for column in HEADINGS))
    return "\n".join(text)


def main() -> None:
    """Runs the task."""
    report = read_json("report.json")
    table = rows(report, read_json("lineage.json"))
    with open("summary.tsv", "w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, COLUMNS, delimiter="\t", lineterminator="\n")
        writer.writeheader()
        writer.writerows(table)
    totals = report["totals"]
    print(printed(table))
    print()
    print("* demo method (nearest reference by MinHash), not for science")
    print(
        f"{totals['received']} received = {totals['accepted']} accepted + {totals['rejected']} rejected"
        f" + {totals['duplicate']} duplicate"
    )
    uncertain = sum(row["confidence"] in {"uncertain", "none"} for row in table)
    emit(outputs={"accepted": totals["accepted"], "rejected": totals["rejected"], "uncertain_lineages": uncertain})


if __name__ == "__main__":
    main()
