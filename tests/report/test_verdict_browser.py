"""The verdict's page in a browser: that it loads nothing, fits, sorts, reads without script, and stands out by day and night."""

from __future__ import annotations

import dataclasses
import io
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from dataset_doctor.report.html.verdict import verdict_page
from dataset_doctor.verdict import Verdict
from tests.report.browser import ATTACKS, CONTRAST, DESKTOP, Opened, overflow, texts, watched
from tests.report.verdicts import VERDICTS, hostile, make_detection, make_everything, make_large, make_verdict

PHONE = (360, 740)
Open = Callable[..., Opened]


@pytest.fixture
def open_verdict(browser: Any, tmp_path: Path) -> Iterator[Open]:
    """Open verdicts in a watched browser; the dataset's folder holds two pictures."""
    root = tmp_path / "pets"
    for name in ("test/cat/1.png", "images/a.jpg"):
        (root / name).parent.mkdir(parents=True)
        Image.new("RGB", (200, 150), "teal").save(root / name)
    with watched(browser, tmp_path) as opener:
        yield lambda verdict, *size, **options: opener(verdict_page(verdict, [str(root)]), *size, **options)


def open_all(page: Any) -> None:
    page.evaluate("document.querySelectorAll('details').forEach((node) => { node.open = true; })")


@pytest.mark.parametrize("make", VERDICTS.values(), ids=VERDICTS)
@pytest.mark.parametrize("size", [PHONE, DESKTOP], ids=["phone", "desktop"])
def test_nothing_reaches_beyond_the_page(make: Callable[[], Verdict], size: tuple[int, int], open_verdict: Open) -> None:
    """Each verdict made by hand fits 360 px and a desktop, all of it open; nothing is logged or asked for."""
    page = open_verdict(make(), size).page
    open_all(page)

    assert overflow(page) == []


def test_the_bar_names_the_sections(open_verdict: Open) -> None:
    """One entry a section, each leading to it; the bar stays in sight."""
    page = open_verdict(make_everything()).page

    assert page.locator("nav a").count() == page.locator("section h2").count() == 13
    assert page.evaluate("[...document.querySelectorAll('nav a')].every((a) => document.querySelector(a.getAttribute('href')))")
    page.evaluate("scrollTo(0, document.body.scrollHeight)")
    assert page.locator("nav").bounding_box()["y"] == 0


def test_classes_sort_by_any_column(open_verdict: Open) -> None:
    """Numbers largest first, names in their order; another click turns it round; the header says so."""
    page = open_verdict(make_verdict()).page
    table = page.locator("table.sortable").first
    names = "details[open].of-arm table.sortable tbody td.name"

    assert texts(page, names) == ["dog", "cat", "owl"]
    table.get_by_role("button", name="test").click()
    assert texts(page, names) == ["dog", "cat", "owl"] and table.locator("th[aria-sort=descending]").inner_text() == "test"
    table.get_by_role("button", name="test").click()
    assert texts(page, names) == ["owl", "cat", "dog"]
    table.get_by_role("button", name="class").click()
    assert texts(page, names) == ["cat", "dog", "owl"] and table.locator("th[aria-sort=ascending]").inner_text() == "class"
    table.get_by_role("button", name="verdict").click()
    table.get_by_role("button", name="verdict").click()
    assert texts(page, names)[0] == "dog"


def test_what_has_no_value_is_sorted_last(open_verdict: Open) -> None:
    """Classes without a score stay at the end both ways."""
    verdict = make_verdict()
    arm = verdict.arms[1]
    classes = (dataclasses.replace(arm.classes[0], score=None), *arm.classes[1:2], dataclasses.replace(arm.classes[2], score=0.9))
    page = open_verdict(dataclasses.replace(verdict, arms=(verdict.arms[0], dataclasses.replace(arm, classes=classes)))).page
    names = "table.sortable tbody td.name"
    button = page.get_by_role("button", name="score")

    button.click()
    assert texts(page, names) == ["owl", "dog", "cat"]
    button.click()
    assert texts(page, names) == ["dog", "owl", "cat"]


def test_a_table_of_a_thousand_rows_sorts_at_once(open_verdict: Open) -> None:
    """A click on a page with 1,000 rows takes less than half a second."""
    page = open_verdict(make_large()).page
    took = page.evaluate(
        "(() => { const t = performance.now(); document.querySelector('th button').click(); document.body.offsetHeight; return performance.now() - t })()"
    )

    assert took < 500


@pytest.mark.parametrize("make", [make_everything, make_detection], ids=["everything", "detection"])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_text_stands_out_by_day_and_night(make: Callable[[], Verdict], scheme: str, open_verdict: Open) -> None:
    """Every text has a contrast of 4.5 : 1 or more (WCAG AA), on shaded cells too, and the dark page is dark."""
    page = open_verdict(make(), color_scheme=scheme).page
    open_all(page)

    assert page.evaluate(CONTRAST) == []
    ground = page.evaluate("getComputedStyle(document.body).backgroundColor.match(/\\d+/g).map(Number)")
    assert (max(ground) < 60) is (scheme == "dark")


def test_without_script_everything_is_there(open_verdict: Open) -> None:
    """A mail program that runs no script shows the same text; only the sorting is gone."""
    plain = open_verdict(make_everything(), java_script_enabled=False).page
    scripted = open_verdict(make_everything()).page
    words = "main"

    assert plain.locator(words).inner_text().split() == scripted.locator(words).inner_text().split()
    assert plain.locator("th button").count() == 0 and scripted.locator("th button").count() > 0


def test_marks_lie_on_their_intervals(open_verdict: Open) -> None:
    """On the screen the mark is in the middle of its interval, and the zero line of all rows is one line."""
    page = open_verdict(make_verdict()).page
    rows = page.locator("#differences .forest-row svg.difference").all()
    zeros = {round(row.locator("line.zero").bounding_box()["x"], 1) for row in rows}

    assert len(zeros) == 1 and len(rows) == 3
    for row in rows:
        span, mark = (row.locator(name).first.bounding_box() for name in ("line.span", ".mark"))
        assert mark["x"] + mark["width"] / 2 == pytest.approx(span["x"] + span["width"] / 2, abs=1)
        assert span["width"] > 40


def test_thumbnails_are_seen(open_verdict: Open) -> None:
    """The picture of a worst error is painted, from the one copy in the page; the missing one says so."""
    page = open_verdict(make_everything()).page
    first, second = page.locator("#errors svg.thumb").all()
    middle = first.screenshot()

    pixel = Image.open(io.BytesIO(middle)).convert("RGB").resize((3, 3)).getpixel((1, 1))
    assert pixel == pytest.approx((0, 128, 128), abs=12)
    assert "no picture" in second.text_content()


def test_what_is_printed(open_verdict: Open) -> None:
    """On paper all arms are open, the bar is gone, and the ground is white, also from a dark screen."""
    page = open_verdict(make_everything(), color_scheme="dark").page
    page.emulate_media(media="print", color_scheme="dark")
    page.evaluate("dispatchEvent(new Event('beforeprint'))")

    assert page.locator("details.of-arm:not([open])").count() == 0
    assert not page.locator("nav").is_visible()
    assert page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"
    page.evaluate("dispatchEvent(new Event('afterprint'))")
    assert page.locator("details.of-arm:not([open])").count() == 3
    assert page.pdf().startswith(b"%PDF")


def test_hostile_names_are_text(open_verdict: Open) -> None:
    """Markup wherever a text may stand stays text: no element of it exists, nothing ran, nothing was loaded."""
    page = open_verdict(hostile(ATTACKS)).page
    open_all(page)

    made = "main img, main script, main style, base, main meta, main iframe, [onload], [onerror], [onfocus]"
    assert page.evaluate(f"document.querySelectorAll('{made}').length") == 0
    assert page.evaluate("[...document.links].every((link) => link.getAttribute('href').startsWith('#'))")
    shown = page.locator("body").inner_text()
    assert all(text in shown for text in ATTACKS[:10]) and "\\x1b[31m" in shown and "\\u202egnp.exe" in shown
    assert not set(shown) & {"\x1b", "\u202e", "\u2028"}
    page.get_by_role("button", name="class").first.click()


def test_script_from_elsewhere_would_not_run(open_verdict: Open) -> None:
    """Even where markup got in, the policy stops it."""
    opened = open_verdict(make_verdict())
    opened.page.evaluate(
        "document.body.insertAdjacentHTML('beforeend', '<img src=\"https://evil.example/x.png\" onerror=\"window.ran = 1\">')"
    )
    opened.page.wait_for_timeout(200)

    assert opened.page.evaluate("window.ran") is None
    assert opened.trouble and any("img-src" in text for text in opened.trouble)
    opened.trouble.clear()


def test_nothing_moves(open_verdict: Open) -> None:
    """No element has an animation or a transition."""
    page = open_verdict(make_everything()).page
    moving = "[...document.querySelectorAll('*')].filter((n) => { const s = getComputedStyle(n); return s.animationName !== 'none' || parseFloat(s.transitionDuration) > 0 }).length"

    assert page.evaluate(moving) == 0
