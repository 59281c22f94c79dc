"""The validation report as a picture: totals, one bar per organism, one row of checks per record.

A verdict is told by colour, shape and word alike, so the picture also works in grey. The SVG stands alone: no
script, no font and no other file is loaded.

Invariant: every text from a record is escaped.
"""

from collections.abc import Callable
from typing import Any
from xml.sax.saxutils import escape

WIDTH = 1120
MARGIN = 40
ROW = 24
INK, FAINT, LINE, PAPER = "#1c2733", "#66758a", "#e3e8ef", "#ffffff"
COLOUR = {"accepted": "#1f8a70", "rejected": "#c2410c", "duplicate": "#8a94a6"}
TINT = {"good": "#d9f0e8", "remark": "#fdf0c8", "bad": "#fbdccb", "none": "#f3f5f8"}
TINT_INK = {"good": "#14614e", "remark": "#7a5b00", "bad": "#9a3208", "none": "#a8b1bf"}
SHAPE = {"accepted": "✓", "rejected": "✕", "duplicate": "="}
STYLE = (
    "text{font-family:ui-sans-serif,system-ui,-apple-system,'Segoe UI',Roboto,'DejaVu Sans',sans-serif;"
    f"fill:{INK}}}"
    ".mono{font-family:ui-monospace,SFMono-Regular,Menlo,'DejaVu Sans Mono',monospace}"
    f".faint{{fill:{FAINT}}}"
)

# Heading, measure, how its number is shown, codes that reject, codes that remark.
CHECKS: list[tuple[str, str, Callable[[float], str], set[str], set[str]]] = [
    ("length", "length", lambda v: f"{v:,.0f}", {"length", "empty"}, set()),
    ("N", "n_percent", lambda v: f"{v:.1f} %", {"too_many_n"}, {"some_n"}),
    ("ambiguous", "ambiguous_percent", lambda v: f"{v:.1f} %", {"ambiguous_bases"}, {"some_ambiguous_bases"}),
    ("letters", "foreign_letters", lambda v: "ok" if not v else f"{v:.0f}", {"letters"}, set()),
    ("frame", "orf_percent", lambda v: f"{v:.0f} %", {"reading_frame"}, set()),
    ("similarity", "similarity_percent", lambda v: f"{v:.0f} %", {"other_organism", "unlike_references"}, set()),
]
NEVER_CHECKED = {"duplicate", "no_organism", "empty"}
NOT_CHECKED = {"orf_percent": NEVER_CHECKED | {"length", "other_organism", "unlike_references"}}
"""Codes with which a number says nothing; by measure, where it differs."""
CHECK_X, CHECK_WIDTH = 250, 72
REASON_X = CHECK_X + len(CHECKS) * CHECK_WIDTH + 16
REASON_LENGTH_MAX = 60


def text(x: float, y: float, content: str, size: int = 12, **attributes: str) -> str:
    """A text element; `cls` gives its class, `_` in names becomes `-`."""
    extra = "".join(f' {k.replace("cls", "class").replace("_", "-")}="{v}"' for k, v in attributes.items())
    return f'<text x="{x:g}" y="{y:g}" font-size="{size}"{extra}>{escape(content)}</text>'


def box(x: float, y: float, width: float, height: float, fill: str, radius: float = 0) -> str:
    """A filled rectangle."""
    return f'<rect x="{x:g}" y="{y:g}" width="{width:g}" height="{height:g}" rx="{radius:g}" fill="{escape(fill)}"/>'


def tiles(totals: dict[str, int], y: float) -> list[str]:
    """Four numbers: received, accepted, rejected, duplicates."""
    parts = []
    width = (WIDTH - 2 * MARGIN - 3 * 16) / 4
    rows = [("received", "received", INK), ("accepted", "accepted", COLOUR["accepted"]),
            ("rejected", "rejected", COLOUR["rejected"]), ("duplicates", "duplicate", COLOUR["duplicate"])]  # fmt: skip
    for i, (label, key, colour) in enumerate(rows):
        x = MARGIN + i * (width + 16)
        parts.append(box(x, y, width, 76, "#f7f9fb", 8))
        parts.append(box(x, y + 14, 4, 48, colour, 2))
        parts.append(text(x + 22, y + 46, str(totals[key]), 32, font_weight="600"))
        parts.append(text(x + 22, y + 64, label, 12, cls="faint"))
        if key == "accepted" and totals["accepted_with_remarks"]:
            remark = f"{totals['accepted_with_remarks']} with remarks"
            parts.append(text(x + width - 16, y + 64, remark, 12, cls="faint", text_anchor="end"))
    return parts


def bars(organisms: dict[str, dict[str, int]], y: float) -> list[str]:
    """One stacked bar per organism, all on the same scale."""
    parts = []
    left, right = MARGIN + 150, WIDTH - MARGIN - 70
    largest = max((sum(counts.values()) for counts in organisms.values()), default=1)
    unit = (right - left) / largest
    for i, (organism, counts) in enumerate(organisms.items()):
        top = y + i * 30
        parts.append(text(MARGIN, top + 15, organism, 13, font_weight="600"))
        x = float(left)
        for verdict, colour in COLOUR.items():
            count = counts.get(verdict, 0)
            if count:
                parts.append(box(x, top, count * unit - 2, 20, colour, 3))
                parts.append(
                    text(x + count * unit / 2 - 1, top + 14, str(count), 11, fill=PAPER, text_anchor="middle",
                         style=f"fill:{PAPER}", font_weight="600")
                )  # fmt: skip
                x += count * unit
        parts.append(text(x + 8, top + 14, f"{sum(counts.values())}", 12, cls="faint"))
    return parts


def legend(y: float) -> list[str]:
    """What the colours of bars and cells mean."""
    parts, x = [], float(MARGIN)
    for verdict, colour in COLOUR.items():
        parts += [box(x, y - 10, 12, 12, colour, 3), text(x + 18, y, f"{SHAPE[verdict]} {verdict}", 12)]
        x += 120
    x = CHECK_X + 180.0
    for label, key in (
        ("check passed", "good"),
        ("remark", "remark"),
        ("reason to reject", "bad"),
        ("not checked", "none"),
    ):
        parts += [box(x, y - 10, 12, 12, TINT[key], 3), text(x + 18, y, label, 12)]
        x += 36 + 8 * len(label)
    return parts


def cell(x: float, y: float, shown: str, state: str) -> list[str]:
    """One check of one record."""
    weight = "700" if state == "bad" else "400"
    return [
        box(x + 2, y + 2, CHECK_WIDTH - 4, ROW - 4, TINT[state], 4),
        text(x + CHECK_WIDTH / 2, y + 16, shown, 11, cls="mono", text_anchor="middle",
             style=f"fill:{TINT_INK[state]}", font_weight=weight),
    ]  # fmt: skip


def row(record: dict[str, Any], y: float) -> list[str]:
    """One record: verdict, id, its checks, and why."""
    verdict, codes = record["verdict"], set(record["codes"])
    parts = [
        f'<circle cx="{MARGIN + 8}" cy="{y + 12:g}" r="8" fill="{COLOUR[verdict]}"/>',
        text(MARGIN + 8, y + 16, SHAPE[verdict], 11, text_anchor="middle", style=f"fill:{PAPER}", font_weight="700"),
        text(MARGIN + 26, y + 16, record["id"], 12, cls="mono"),
    ]
    for i, (_, measure, show, bad, remark) in enumerate(CHECKS):
        value = record["measures"].get(measure)
        if codes & bad:
            state = "bad"
        elif value is None or codes & NOT_CHECKED.get(measure, NEVER_CHECKED):
            state = "none"
        else:
            state = "remark" if codes & remark else "good"
        parts += cell(CHECK_X + i * CHECK_WIDTH, y, "–" if value is None else show(value), state)
    why = "; ".join(record["texts"])
    shown = why if len(why) <= REASON_LENGTH_MAX else why[: REASON_LENGTH_MAX - 1].rstrip() + "…"
    if shown:
        parts.append(f"<g>{text(REASON_X, y + 16, shown, 12)}<title>{escape(why)}</title></g>")
    return parts


def draw(report: dict[str, Any]) -> str:
    """The whole picture."""
    parts = [
        text(MARGIN, 58, "Validation report", 26, font_weight="600"),
        text(MARGIN, 80, "Quality control without alignment, against the references of each organism", 13, cls="faint"),
    ]
    parts += tiles(report["totals"], 102)
    y = 214.0
    parts += bars(report["organisms"], y)
    y += len(report["organisms"]) * 30 + 30
    parts += legend(y)
    y += 24
    records = report["records"]
    for organism in [*report["organisms"], ""]:
        group = [record for record in records if record["organism"] == organism]
        if not group:
            continue
        y += 22
        parts.append(text(MARGIN, y, organism or "no organism", 14, font_weight="600"))
        for i, (heading, *_) in enumerate(CHECKS):
            x = CHECK_X + (i + 0.5) * CHECK_WIDTH
            parts.append(text(x, y, heading, 11, cls="faint", text_anchor="middle"))
        y += 8
        parts.append(box(MARGIN, y, WIDTH - 2 * MARGIN, 1, LINE))
        y += 4
        for record in group:
            parts += row(record, y)
            y += ROW
        y += 10
    height = y + 30
    title = f"Validation report: {report['totals']['accepted']} accepted, {report['totals']['rejected']} rejected"
    head = (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH}" height="{height:g}" '
        f'viewBox="0 0 {WIDTH} {height:g}" role="img" aria-label="{escape(title)}">'
    )
    return "\n".join([head, f"<title>{escape(title)}</title>", f"<style>{STYLE}</style>",
                      box(0, 0, WIDTH, height, PAPER), *parts, "</svg>", ""])  # fmt: skip
