"""Pictures of terminals: nothing is lost, and nothing can break out of them."""

from __future__ import annotations

import unittest
import xml.etree.ElementTree as ET

from terminal_svg import COLOURS, COLUMNS, FOREGROUND, Style, lines, svg


class TestTerminalSvg(unittest.TestCase):
    """From text with colours to SVG."""

    def test_colours_begin_and_end(self) -> None:
        (line,) = lines("a \x1b[1;32mb\x1b[0m c")
        green = Style(COLOURS[32], bold=True)
        self.assertEqual(line, [(Style(), "a "), (green, "b"), (Style(), " c")])

    def test_long_lines_wrap_and_keep_their_colour(self) -> None:
        first, second = lines("x" * (COLUMNS - 1) + "\x1b[31myz\x1b[39m")
        self.assertEqual(sum(len(piece) for _, piece in first), COLUMNS)
        self.assertEqual(second, [(Style(COLOURS[31]), "z")])

    def test_what_moves_the_cursor_is_refused(self) -> None:
        for text in ["\x1b[2K", "\x1b]0;title\x07", "\x1b[38;5;9m"]:
            with self.assertRaises(ValueError):
                list(lines(text))

    def test_the_picture_is_well_formed_and_holds_the_text(self) -> None:
        root = ET.fromstring(svg("$ a <b>", "one & two\n\n\x1b[2mthree\x1b[0m\n"))
        texts = [element.text for element in root.iter("{http://www.w3.org/2000/svg}text")]
        self.assertEqual(texts, ["$ a <b>", "one & two", "three"])
        self.assertNotIn(FOREGROUND, {element.get("fill") for element in root.iter("{http://www.w3.org/2000/svg}text")})


if __name__ == "__main__":
    unittest.main()
