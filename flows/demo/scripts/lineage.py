"""Lineage: the nearest reference by MinHash. DEMO METHOD, NOT FOR SCIENCE.

A sketch is the [SKETCH_SIZE] smallest hashes of a sequence's words; two sketches give an estimate of the
Jaccard index, and that a distance (Ondov et al. 2016, "Mash"). Real lineages follow from a phylogeny: use
Nextclade or its like for anything but a demonstration of the engine.

Reads `sequences.fasta`, `references.fasta`, `report.json`, `nomenclature.json`; writes `lineage.json`.

Invariant: only records that the validation accepted get a lineage.
"""

import hashlib
import math
from typing import Any

from sequences import Record, emit, fail, kmers, read_fasta, read_json, write_json

WORD = 11
"""Bases of a word: short, since subtypes of HIV-1 differ at one base in six."""
SKETCH_SIZE = 1000
"""Hashes kept per sequence; sequences with fewer words keep them all."""
DISTANCE_MAX = 0.3
"""No lineage beyond this distance to the nearest reference."""
MARGIN_MIN = 0.01
"""Nearer than this to a second lineage, the answer is called uncertain."""
METHOD = "nearest reference by MinHash sketch; demo method, not for science"


def sketch(sequence: str) -> list[int]:
    """The smallest hashes of the sequence's words, ascending."""
    hashes = (int.from_bytes(hashlib.blake2b(word.encode(), digest_size=8).digest()) for word in kmers(sequence, WORD))
    return sorted(hashes)[:SKETCH_SIZE]


def distance(a: list[int], b: list[int]) -> float:
    """Mash distance of two sketches: 0 for equal ones, 1 for those that share nothing."""
    union = sorted({*a, *b})[:SKETCH_SIZE]
    shared = len({*a} & {*b} & {*union})
    if not shared:
        return 1.0
    jaccard = shared / len(union)
    return min(1.0, max(0.0, -math.log(2 * jaccard / (1 + jaccard)) / WORD))


def assign(record: Record, references: list[tuple[Record, list[int]]]) -> dict[str, Any]:
    """The nearest lineage of a record, with how near it and the next one are."""
    own = sketch(record.sequence)
    nearest: dict[str, tuple[float, str]] = {}
    for reference, reference_sketch in references:
        candidate = (distance(own, reference_sketch), reference.id)
        lineage = reference.fields["lineage"]
        nearest[lineage] = min(candidate, nearest.get(lineage, candidate))
    ranked = sorted((found, reference, lineage) for lineage, (found, reference) in nearest.items())
    best, reference_id, lineage = ranked[0]
    margin = ranked[1][0] - best if len(ranked) > 1 else 1.0
    if best > DISTANCE_MAX:
        lineage, confidence = "unassigned", "none"
    else:
        confidence = "clear" if margin >= MARGIN_MIN else "uncertain"
    return {
        "id": record.id, "lineage": lineage, "reference": reference_id,
        "distance": round(best, 4), "margin": round(margin, 4), "confidence": confidence,
    }  # fmt: skip


def main() -> None:
    """Runs the task."""
    accepted = {entry["id"] for entry in read_json("report.json")["records"] if entry["verdict"] == "accepted"}
    records = [record for record in read_fasta("sequences.fasta") if record.id in accepted]
    if not records:
        fail("no accepted record of this organism; the loop should not have come here")
    organism = records[0].organism
    references = [(r, sketch(r.sequence)) for r in read_fasta("references.fasta") if r.organism == organism]
    names = read_json("nomenclature.json")["names"].get(organism, {})
    results = [assign(record, references) for record in records]
    for result in results:
        result["name"] = names.get(result["lineage"], result["lineage"])
    write_json("lineage.json", {"organism": organism, "method": METHOD, "results": results})
    print(METHOD)
    for result in results:
        print(f"{result['id']:12} {result['lineage']:24} {result['distance']:.3f} {result['confidence']}")
    emit(
        outputs={"organism": organism, "results": results},
        counters={"lineages_assigned": sum(result["lineage"] != "unassigned" for result in results)},
    )


if __name__ == "__main__":
    main()
