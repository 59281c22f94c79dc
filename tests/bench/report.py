"""Figures, their targets, and how both are shown."""

from __future__ import annotations

import os
import platform
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from enum import StrEnum
from pathlib import Path

from measure import Summary


class Bound(StrEnum):
    """On which side of its target a figure must lie; the target itself meets it."""

    AT_MOST = "at most"
    AT_LEAST = "at least"


@dataclass(frozen=True)
class Target:
    """What a figure must reach, in the figure's unit."""

    bound: Bound
    value: float

    def met_by(self, figure: float) -> bool:
        """Whether the figure lies on the right side."""
        if self.bound is Bound.AT_MOST:
            return figure <= self.value
        return figure >= self.value


@dataclass(frozen=True)
class Figure:
    """One measured number: the median over runs, or a ratio of medians, where `summary` is None."""

    name: str
    value: float
    unit: str
    target: Target | None = None
    summary: Summary | None = None

    @staticmethod
    def of(name: str, summary: Summary, unit: str, target: Target | None = None) -> Figure:
        """The median of a summary."""
        return Figure(name, summary.median, unit, target, summary)

    @property
    def verdict(self) -> str:
        """`met`, `missed`, or nothing for a figure without a target."""
        if self.target is None:
            return ""
        return "met" if self.target.met_by(self.value) else "missed"

    def as_json(self) -> dict[str, object]:
        """The figure as the `--json` file holds it."""
        return {
            "name": self.name,
            "value": self.value,
            "unit": self.unit,
            "target": asdict(self.target) if self.target else None,
            "verdict": self.verdict or None,
            "summary": asdict(self.summary) if self.summary else None,
        }


def table(figures: Sequence[Figure]) -> str:
    """The figures in aligned columns, numbers to the right."""
    rows = [("figure", "median", "min", "max", "runs", "unit", "target", "")]
    for figure in figures:
        summary = figure.summary
        spread = (
            (_number(summary.min), _number(summary.max), str(summary.runs))
            if summary
            else ("", "", "")
        )
        target = (
            f"{_SIGNS[figure.target.bound]} {_number(figure.target.value)}" if figure.target else ""
        )
        rows.append(
            (figure.name, _number(figure.value), *spread, figure.unit, target, figure.verdict)
        )
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    return "\n".join(_aligned(row, widths) for row in rows)


_SIGNS = {Bound.AT_MOST: "<=", Bound.AT_LEAST: ">="}
_RIGHT_ALIGNED = {1, 2, 3, 4}


def _aligned(row: Sequence[str], widths: Sequence[int]) -> str:
    cells = [
        cell.rjust(width) if column in _RIGHT_ALIGNED else cell.ljust(width)
        for column, (cell, width) in enumerate(zip(row, widths, strict=True))
    ]
    return "  ".join(cells).rstrip()


def _number(value: float) -> str:
    """Three significant digits below 1,000, whole numbers with separators from there on."""
    if abs(value) >= 1_000:
        return f"{value:,.0f}"
    return f"{value:#.3g}".rstrip(".")


def machine() -> dict[str, object]:
    """What a reader needs to know of the machine to compare figures."""
    return {
        "kernel": f"{platform.system()} {platform.release()}",
        "architecture": platform.machine(),
        "cpu_model": _field(Path("/proc/cpuinfo"), "model name"),
        "cpu_count": os.cpu_count(),
        "memory_total": _field(Path("/proc/meminfo"), "MemTotal"),
        "python": platform.python_version(),
        "load_average_1_min": round(os.getloadavg()[0], 2),
    }


def _field(file: Path, name: str) -> str | None:
    """The first value of a `name: value` file of /proc; None where there is no such file."""
    try:
        lines = file.read_text().splitlines()
    except OSError:
        return None
    for line in lines:
        key, _, value = line.partition(":")
        if key.strip() == name:
            return value.strip()
    return None
