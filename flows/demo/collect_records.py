#!/usr/bin/env python3
"""Collect the demo's viral records from three published packages.

Run it only to rebuild `data/`: the result is committed. It needs the packages, downloaded with the ordinary
clients (`data/PROVENANCE.md` has the commands) and unpacked into one directory each:

    python3 collect_records.py PYHIV_TOOLS_DIR BEAST_MCMC_EXAMPLES_DIR BIOPYTHON_DIR

It writes the intact records to `data/sequences.fasta`, the references to `data/references.fasta` and one line
for each to `data/provenance.tsv`. `make_damaged.py` then appends the damaged copies.

Invariant: a sequence is written as the package holds it, apart from upper case and removed alignment gaps.
"""

import csv
import gzip
import hashlib
import re
import sys
from dataclasses import dataclass
from pathlib import Path

DATA = Path(__file__).resolve().parent / "data"
LINE_LENGTH = 80

PYHIV = ("pyhiv-tools 1.0.0 (PyPI)", "MIT")
BEAST = ("beast-mcmc-examples 1.10.4+dfsg-5 (Debian 12)", "LGPL-3+")
BIOPYTHON = ("biopython 1.85 (PyPI)", "Biopython License or BSD-3-Clause")

HIV_REGION = "genome, as distributed"
PA_REGION = "segment 3, PA coding sequence (cut from the record by the source)"
PRM_E_REGION = "prM/E fragment"

# Accession -> lineage; "ref" in front of the lineage makes the record a reference.
HIV_1 = {
    "AB253421": "ref A1", "K03455": "ref B", "U46016": "ref C", "K03454": "ref D",
    "AF077336": "ref F1", "AF084936": "ref G", "L20571": "ref O",
    "AB253429": "A1", "AY423387": "B", "AF067155": "C", "U88824": "D",
    "AF005494": "F1", "U88826": "G", "AJ302647": "O",
}  # fmt: skip
INFLUENZA_A = {
    "CY009329": "ref human-H1N1", "CY009345": "ref human-H1N1", "CY026296": "ref classical-swine",
    "CY022074": "ref classical-swine", "CY004294": "ref avian", "CY077419": "ref avian",
    "CY013276": "human-H1N1", "CY021714": "human-H1N1", "CY021826": "human-H1N1", "CY077771": "human-H1N1",
    "CY022346": "classical-swine", "CY022418": "classical-swine", "CY022066": "classical-swine",
    "CY022058": "classical-swine", "GU186637": "avian", "CY015166": "avian", "CY024791": "avian", "CY015456": "avian",
}  # fmt: skip
YELLOW_FEVER = {
    "AY540437": "ref South-America-I", "AY161933": "ref South-America-II", "AF369684": "ref West-Africa-I",
    "AF369689": "ref West-Africa-II", "AF369676": "ref East-Africa", "AF369669": "ref Angola",
    "AF369695": "ref East-and-Central-Africa",
    "AY540477": "South-America-I", "AY540486": "South-America-I", "AY540474": "South-America-I",
    "AY540434": "South-America-II", "U52410": "South-America-II", "AF369683": "West-Africa-I",
    "AF369671": "West-Africa-II", "AF369694": "East-Africa", "AY839633": "East-and-Central-Africa",
    "AF369672": "East-and-Central-Africa",
}  # fmt: skip


@dataclass
class Record:
    """One INSDC record, or the part of it that a package distributes."""

    accession: str
    organism: str
    lineage: str
    reference: bool
    region: str
    isolate: str
    sequence: str
    package: tuple[str, str]
    path: str

    def fasta(self) -> str:
        """The record as FASTA; only references carry their lineage."""
        header = f">{self.accession} organism={self.organism}"
        if self.isolate:
            header += f" isolate={self.isolate}"
        if self.reference:
            header += f" lineage={self.lineage}"
        lines = [self.sequence[i : i + LINE_LENGTH] for i in range(0, len(self.sequence), LINE_LENGTH)]
        return "\n".join([header, *lines]) + "\n"


def plain(text: str) -> str:
    """Upper case, without white space and alignment gaps."""
    return re.sub(r"[\s-]", "", text).upper()


def chosen(wanted: dict[str, str], accession: str) -> tuple[str, bool]:
    """Lineage of an accession, and whether it is a reference."""
    lineage = wanted[accession]
    return lineage.removeprefix("ref "), lineage.startswith("ref ")


def hiv_1(package: Path) -> list[Record]:
    """Genomes, one FASTA file per accession, named `ACCESSION-SUBTYPE.fasta`."""
    records = []
    for accession in HIV_1:
        lineage, reference = chosen(HIV_1, accession)
        path = f"pyhiv/loading/reference_genomes/reference_fastas/{accession}-{lineage}.fasta"
        lines = (package / path).read_text().splitlines()
        sequence = plain("".join(line for line in lines if not line.startswith(">")))
        records.append(Record(accession, "hiv-1", lineage, reference, HIV_REGION, "", sequence, PYHIV, path))
    return records


def influenza_a(package: Path) -> list[Record]:
    """PA genes from a BEAST document; taxa are named `year|host|isolate|…|accession`, or nearly so."""
    path = "examples/TestXML/ClockModels/testFixedLocalClock.xml.gz"
    with gzip.open(package / "usr/share/doc/beast-mcmc" / path, "rt") as file:
        document = file.read()
    records = []
    for match in re.finditer(r'<sequence>\s*<taxon idref="([^"]+)"\s*/>\s*([^<]+)</sequence>', document):
        taxon, sequence = match.groups()
        accession = re.search(r"\|([A-Z]{2}\d{6})", taxon)
        isolate = re.search(r"A/[^|(]+", taxon)
        if accession and isolate and accession[1] in INFLUENZA_A:
            lineage, reference = chosen(INFLUENZA_A, accession[1])
            records.append(
                Record(accession[1], "influenza-a", lineage, reference, PA_REGION, isolate[0],
                       plain(sequence), BEAST, path)
            )  # fmt: skip
    return records


def yellow_fever(package: Path) -> list[Record]:
    """prM/E fragments from a NEXUS alignment; taxa are named `year_accession_isolate_country`."""
    path = "examples/Data/YFV.nex.gz"
    with gzip.open(package / "usr/share/doc/beast-mcmc" / path, "rt") as file:
        rows = [line.split() for line in file]
    sequences: dict[str, str] = {}
    for row in rows:
        if len(row) == 2 and re.match(r"\d{4}_", row[0]):
            sequences[row[0]] = sequences.get(row[0], "") + row[1]
    records = []
    for taxon, sequence in sequences.items():
        year, accession, isolate = (taxon.split("_", 2) + [""])[:3]
        if accession in YELLOW_FEVER:
            lineage, reference = chosen(YELLOW_FEVER, accession)
            records.append(
                Record(accession, "yellow-fever", lineage, reference, PRM_E_REGION,
                       f"{isolate.replace('_', '/')}/{year}", plain(sequence), BEAST, path)
            )  # fmt: skip
    return records


def other_segment(package: Path) -> list[Record]:
    """A haemagglutinin gene: intact, but not the segment this flow expects of influenza A."""
    path = "Tests/GenBank/EU851978.gbk"
    text = (package / path).read_text()
    origin = text.split("ORIGIN", 1)[1].split("//", 1)[0]
    sequence = plain(re.sub(r"\d", "", origin))
    return [
        Record("EU851978", "influenza-a", "-", False, "segment 4, HA coding sequence",
               "A/Wisconsin/36/2007", sequence, BIOPYTHON, path)
    ]  # fmt: skip


def write(records: list[Record]) -> None:
    """Writes both FASTA files and the provenance table."""
    records.sort(key=lambda r: (r.organism, r.lineage, r.accession))
    for name, reference in (("sequences.fasta", False), ("references.fasta", True)):
        (DATA / name).write_text("".join(r.fasta() for r in records if r.reference is reference))
    with (DATA / "provenance.tsv").open("w", newline="") as file:
        table = csv.writer(file, delimiter="\t", lineterminator="\n")
        table.writerow(
            ["accession", "organism", "lineage", "file", "region", "length", "package", "package_licence",
             "path_in_package", "sha256_of_sequence"]
        )  # fmt: skip
        for r in records:
            table.writerow(
                [r.accession, r.organism, r.lineage, "references.fasta" if r.reference else "sequences.fasta",
                 r.region, len(r.sequence), *r.package, r.path, hashlib.sha256(r.sequence.encode()).hexdigest()]
            )  # fmt: skip


def main() -> None:
    """Collects, checks that nothing is missing, writes."""
    if len(sys.argv) != 4:
        sys.exit(__doc__)
    pyhiv, beast, biopython = map(Path, sys.argv[1:])
    records = hiv_1(pyhiv) + influenza_a(beast) + yellow_fever(beast) + other_segment(biopython)
    missing = {*HIV_1, *INFLUENZA_A, *YELLOW_FEVER} - {r.accession for r in records}
    if missing:
        sys.exit(f"not in the packages: {', '.join(sorted(missing))}; use the versions in data/PROVENANCE.md")
    write(records)


if __name__ == "__main__":
    main()
