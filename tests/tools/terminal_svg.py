"""Draws what a program wrote to a terminal as SVG.

    operon --color always run flow.yaml | python3 terminal_svg.py '$ operon run flow.yaml' > picture.svg

Standard input is text with ANSI colours (SGR); the argument is a line to put above it. Lines longer than
`COLUMNS` are wrapped as a terminal does. Other escape sequences are refused: they would be a lie in a
still picture.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from dataclasses import dataclass, replace
from html import escape

COLUMNS = 110
# Of a monospaced font of 13 px: pixels per character and line.
CHAR_WIDTH, LINE_HEIGHT, MARGIN = 7.8, 18, 14
FONTS = "Menlo, Consolas, 'DejaVu Sans Mono', monospace"
BACKGROUND, FOREGROUND = "#16181d", "#d7dae0"
COLOURS = {
    30: "#5c6370", 31: "#e06c75", 32: "#98c379", 33: "#e5c07b",
    34: "#61afef", 35: "#c678dd", 36: "#56b6c2", 37: "#d7dae0",
}  # fmt: skip
"""The eight colours of a terminal; the bright ones are drawn alike."""

_ESCAPE = re.compile(r"\x1b\[([0-9;]*)([A-Za-z])")


@dataclass(frozen=True)
class Style:
    """How characters look."""

    colour: str = FOREGROUND
    bold: bool = False
    dim: bool = False

    def after(self, codes: str) -> Style:
        """This style changed by an SGR sequence."""
        style = self
        for code in (int(code or 0) for code in codes.split(";")):
            match code:
                case 0:
                    style = Style()
                case 1:
                    style = replace(style, bold=True)
                case 2:
                    style = replace(style, dim=True)
                case 22:
                    style = replace(style, bold=False, dim=False)
                case 39:
                    style = replace(style, colour=FOREGROUND)
                case _ if code in COLOURS or code - 60 in COLOURS:
                    style = replace(style, colour=COLOURS[code if code in COLOURS else code - 60])
                case _:
                    raise ValueError(f"the SGR code {code} is not drawn")
        return style


Line = list[tuple[Style, str]]


def lines(text: str) -> Iterator[Line]:
    """Lines of styled pieces, wrapped."""
    style = Style()
    for source in text.splitlines():
        line: Line = []
        room = COLUMNS
        at = 0
        for match in [*_ESCAPE.finditer(source), None]:
            piece = source[at : match.start() if match else len(source)]
            if "\x1b" in piece:
                raise ValueError(f"not an SGR sequence: {piece!r}")
            while piece:
                if room == 0:
                    yield line
                    line, room = [], COLUMNS
                line.append((style, piece[:room]))
                piece, room = piece[room:], room - len(piece[:room])
            if match:
                if match[2] != "m":
                    raise ValueError(f"not an SGR sequence: {match[0]!r}")
                style = style.after(match[1])
                at = match.end()
        yield line


def svg(title: str, text: str) -> str:
    """The picture."""
    drawn = [[(Style(bold=True), title)], *lines(text)]
    width = round(COLUMNS * CHAR_WIDTH + 2 * MARGIN)
    height = len(drawn) * LINE_HEIGHT + 2 * MARGIN
    out = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}" height="{height}" '
        f'role="img" aria-label="{escape(title)}">',
        f'<rect width="{width}" height="{height}" rx="8" fill="{BACKGROUND}"/>',
        f'<g font-family="{FONTS}" font-size="13" fill="{FOREGROUND}" '
        'xml:space="preserve">',
    ]
    for number, line in enumerate(drawn):
        y = MARGIN + number * LINE_HEIGHT + 13
        column = 0
        for style, piece in line:
            if piece.strip():
                looks = [f'fill="{style.colour}"'] if style.colour != FOREGROUND else []
                looks += ['font-weight="bold"'] if style.bold else []
                looks += ['opacity="0.6"'] if style.dim else []
                # The length is given, so that another font does not shift what follows.
                x, length = MARGIN + column * CHAR_WIDTH, len(piece) * CHAR_WIDTH
                attributes = " ".join([f'x="{x:.1f}"', f'y="{y}"', f'textLength="{length:.1f}"', *looks])
                out.append(f"<text {attributes}>{escape(piece, quote=False)}</text>")
            column += len(piece)
    return "\n".join([*out, "</g>", "</svg>"]) + "\n"


def main() -> None:
    """Reads standard input and writes the picture."""
    if len(sys.argv) != 2:
        sys.exit("terminal_svg: takes the line above the output as its only argument")
    sys.stdout.write(svg(sys.argv[1], sys.stdin.read()))


if __name__ == "__main__":
    main()
