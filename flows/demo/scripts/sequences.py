"""What every script of the demo shares: FASTA, the report envelope, and limits on what comes from outside.

Standard library only, so the scripts run in any image that has Python.

Invariant: a value reaches a script through a file or the environment, never through the script's text.
"""

import hashlib
import json
import os
import re
import sys
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

FILE_BYTES_MAX = 50_000_000
"""Bytes of an input file at most; the whole demo is under 1 MB."""
RECORDS_MAX = 10_000
"""Records of a FASTA file at most."""
ID_PATTERN = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,79}")
"""What a record may be called. Organisms follow the same rule, since they become file names."""

UNAMBIGUOUS = frozenset("ACGT")
AMBIGUOUS = frozenset("RYSWKMBDHV")
"""IUPAC codes for two or three bases; N is counted by itself."""
IUPAC = UNAMBIGUOUS | AMBIGUOUS | {"N"}
STOP_CODONS = frozenset({"TAA", "TAG", "TGA"})


@dataclass(frozen=True)
class Record:
    """One FASTA record: `>id key=value key=value`, then the sequence."""

    id: str
    fields: dict[str, str]
    sequence: str

    @property
    def organism(self) -> str:
        """The organism the submitter declared, or an empty text."""
        return self.fields.get("organism", "")

    @property
    def sha256(self) -> str:
        """Identity of the sequence, whatever it is called."""
        return hashlib.sha256(self.sequence.encode()).hexdigest()

    def fasta(self, line_length: int = 80) -> str:
        """The record as FASTA text."""
        header = " ".join([f">{self.id}", *(f"{key}={value}" for key, value in self.fields.items())])
        lines = [self.sequence[i : i + line_length] for i in range(0, len(self.sequence), line_length)]
        return "\n".join([header, *lines]) + "\n"


def fail(message: str) -> NoReturn:
    """Ends the attempt with exit code 1 and a message that says what to do."""
    print(f"error: {message}", file=sys.stderr)
    raise SystemExit(1)


def read_text(path: str | Path) -> str:
    """Reads a text file of at most [FILE_BYTES_MAX] bytes."""
    size = Path(path).stat().st_size
    if size > FILE_BYTES_MAX:
        fail(f"{path} has {size} bytes, the limit is {FILE_BYTES_MAX}; split the file")
    return Path(path).read_text(encoding="utf-8")


def read_json(path: str | Path) -> Any:
    """Reads a JSON file of at most [FILE_BYTES_MAX] bytes."""
    try:
        return json.loads(read_text(path))
    except json.JSONDecodeError as error:
        fail(f"{path} is not JSON: {error}")


def read_fasta(path: str | Path) -> list[Record]:
    """Reads a FASTA file as it is: no change of case, no check of letters."""
    records = list(parse_fasta(read_text(path).splitlines(), str(path)))
    if len(records) > RECORDS_MAX:
        fail(f"{path} has {len(records)} records, the limit is {RECORDS_MAX}; split the file")
    return records


def parse_fasta(lines: Iterable[str], name: str) -> Iterator[Record]:
    """Yields the records of a FASTA text; `name` is for messages."""
    header: str | None = None
    sequence: list[str] = []
    for number, line in enumerate(lines, start=1):
        if line.startswith(">"):
            if header is not None:
                yield _record(header, sequence, name)
            header, sequence = line[1:], []
        elif line.strip():
            if header is None:
                fail(f"{name}, line {number}: a sequence without a header; the first line must begin with `>`")
            sequence.append(line)
    if header is not None:
        yield _record(header, sequence, name)


def _record(header: str, sequence: list[str], name: str) -> Record:
    identifier, *words = header.split() or [""]
    if not ID_PATTERN.fullmatch(identifier):
        fail(f"{name}: `{identifier[:80]}` is no record id; use letters, digits, `.`, `_` and `-`")
    fields = dict(word.split("=", 1) for word in words if "=" in word)
    return Record(identifier, fields, "".join(sequence))


def normalise(sequence: str) -> str:
    """Upper case, DNA letters (U becomes T), without white space and alignment gaps."""
    return re.sub(r"[\s.-]", "", sequence).upper().replace("U", "T")


def longest_orf(sequence: str) -> int:
    """Bases of the longest stretch without a stop codon in the three forward frames.

    A start codon is not asked for: fragments are welcome. A codon with an ambiguous base is no stop.
    """
    longest = 0
    for frame in range(3):
        length = 0
        for i in range(frame, len(sequence) - 2, 3):
            length = 0 if sequence[i : i + 3] in STOP_CODONS else length + 3
            longest = max(longest, length)
    return longest


def kmers(sequence: str, k: int) -> set[str]:
    """Every word of `k` unambiguous bases; strand-specific, since these records are all plus-sense."""
    words = (sequence[i : i + k] for i in range(len(sequence) - k + 1))
    return {word for word in words if UNAMBIGUOUS.issuperset(word)}


def write_json(path: str | Path, value: Any) -> None:
    """Writes JSON with sorted keys, so that equal results are equal files."""
    Path(path).write_text(json.dumps(value, indent=2, sort_keys=True) + "\n", encoding="utf-8")


def emit(outputs: dict[str, Any] | None = None, counters: dict[str, int] | None = None) -> None:
    """Hands values (`outputs.<task>.vars.*`) and metrics to the engine, as one line each on stdout."""
    if outputs:
        print("::" + json.dumps({"outputs": outputs}, separators=(",", ":")) + "::")
    if counters:
        metrics = [{"name": name, "type": "counter", "value": value} for name, value in counters.items()]
        print("::" + json.dumps({"metrics": metrics}, separators=(",", ":")) + "::")


def number_from_env(name: str, default: float, low: float, high: float) -> float:
    """A number from the environment, within bounds."""
    text = os.environ.get(name, "")
    try:
        value = float(text) if text else default
    except ValueError:
        fail(f"{name} is `{text}`; give a number from {low:g} to {high:g}")
    if not low <= value <= high:
        fail(f"{name} is {value:g}; give a number from {low:g} to {high:g}")
    return value


def flag_from_env(name: str) -> bool:
    """True when the variable holds `true` (or `1`)."""
    return os.environ.get(name, "").lower() in {"true", "1"}


def attempt() -> int:
    """Number of this attempt, counted from 1, as the engine tells it."""
    return int(number_from_env("OPERON_ATTEMPT", 1, 1, 1000))
