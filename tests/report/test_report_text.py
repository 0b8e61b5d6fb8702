"""The one filter for text of a dataset, and the measure of terminal cells."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dataset_doctor.report.text import cells, cut, encodable, printable, shorten, shorten_path, wrap

ANY_TEXT = st.text(st.characters(exclude_categories=()), max_size=60)


@pytest.mark.parametrize(
    ("raw", "shown"),
    [
        ("\x1b[2J", "\\x1b[2J"),
        ("\x9b2J", "\\x9b2J"),
        ("\x00\x7f", "\\x00\\x7f"),
        ("a\r\n\tb", "a\\x0d\\x0a\\x09b"),
        ("a\u2028b\u2029c", "a\\u2028b\\u2029c"),
        ("\u202a\u202b\u202c\u202d\u202e", "\\u202a\\u202b\\u202c\\u202d\\u202e"),
        ("\u2066\u2067\u2068\u2069\u200e\u200f\u061c", "\\u2066\\u2067\\u2068\\u2069\\u200e\\u200f\\u061c"),
        ("\u200b\u200c\u200d\u2060\ufeff\u00ad", "\\u200b\\u200c\\u200d\\u2060\\ufeff\\xad"),
        ("cat\ufe0f\u3164", "cat\\ufe0f\\u3164"),
        ("cat\u00a0", "cat\\xa0"),
        ("\udc80\udcff", "\\x80\\xff"),
        ("\ud800", "\\ud800"),
        ("\U000e0041", "\\U000e0041"),
        ("[red]x[/red] 猫 é אב 🐈 \\n", "[red]x[/red] 猫 é אב 🐈 \\n"),
        ("", ""),
    ],
)
def test_printable_shows_what_would_act_or_hide(raw: str, shown: str) -> None:
    """Whatever moves the cursor, reverses the line, takes no room or cannot be encoded becomes a visible escape; the rest stays."""
    assert printable(raw) == shown


@given(ANY_TEXT)
def test_printable_text_is_one_harmless_line(raw: str) -> None:
    """The result can be encoded, stands on one line, and the filter leaves it alone the second time."""
    shown = printable(raw)

    assert shown.isprintable()
    assert shown.encode("utf-8")[:0] == b""
    assert len(shown.splitlines()) <= 1
    assert printable(shown) == shown


@pytest.mark.parametrize(
    ("raw", "encoding", "shown"),
    [
        ("1 × 2 → 3 … “x”", "ascii", '1 x 2 -> 3 ... "x"'),
        ("1 × 2", "cp1252", "1 × 2"),
        ("猫 × 2", "latin-1", "\\u732b x 2"),
        ("é · 2", "no-such-encoding", "\\xe9 | 2"),
    ],
)
def test_encodable_keeps_the_meaning(raw: str, encoding: str, shown: str) -> None:
    """What an encoding lacks is written plainly or as an escape."""
    assert encodable(raw, encoding) == shown


@pytest.mark.parametrize(
    ("text", "width"),
    [("cat", 3), ("", 0), ("猫", 2), ("ＡＢ", 4), ("e\u0301", 1), ("🐈", 2), ("한", 2), ("\u1112\u1161\u11ab", 2), ("é─█", 3)],
)
def test_cells_are_what_a_terminal_uses(text: str, width: int) -> None:
    """Wide characters take two cells, combining ones none."""
    assert cells(text) == width


@pytest.mark.parametrize(
    ("text", "width", "shown"),
    [
        ("Platelets", 9, "Platelets"),
        ("Platelets", 8, "Platele…"),
        ("猫猫猫", 6, "猫猫猫"),
        ("猫猫猫", 5, "猫猫…"),
        ("猫猫猫", 4, "猫…"),
        ("a" + "\u0301" * 500, 10, "a" + "\u0301" * 8 + "…"),
    ],
)
def test_shorten_cuts_by_cells(text: str, width: int, shown: str) -> None:
    """A wide character is never cut in half, and a tower of accents counts as too long."""
    assert shorten(text, width) == shown


@given(ANY_TEXT.map(printable), st.integers(3, 80))
def test_shortened_and_wrapped_text_fits(text: str, width: int) -> None:
    """No piece is wider than asked for, and wrapping loses nothing but spaces."""
    assert cells(shorten(text, width)) <= width
    assert cells(shorten_path(text, width)) <= width
    assert all(cells(line) <= width and cut(line, width) == line for line in wrap(text, width))
    assert "".join(wrap(text, width)).replace(" ", "") == text.replace(" ", "")
