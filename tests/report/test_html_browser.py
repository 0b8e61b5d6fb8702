"""The HTML page in a browser: what a reader sees and does, and what hostile names cannot do.

It needs Chromium (`apt-get install chromium`); where there is none these tests are skipped, and in CI they fail.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from dataset_doctor.audit import examine
from dataset_doctor.dataset import Place
from dataset_doctor.findings import Severity
from dataset_doctor.formats import read
from dataset_doctor.report import render
from dataset_doctor.report.record import Report
from dataset_doctor.statistics import Pair
from tests.report.browser import ATTACKS, CONTRAST, DESKTOP, PHONE, Opened, overflow, texts, watched
from tests.report.reports import REPORTS, make_bccd, make_finding, make_hostile, make_long_tail, make_report

Open = Callable[..., Opened]


@pytest.fixture
def open_report(browser: Any, tmp_path: Path) -> Iterator[Open]:
    """Open reports in a watched browser."""
    with watched(browser, tmp_path) as opener:
        yield lambda report, *size, **options: opener(render(report, ".html"), *size, **options)


def rich() -> Report:
    """BCCD as made by hand, with every chart."""
    report = make_bccd()
    boxes = report.statistics.boxes
    assert boxes is not None
    grid = tuple(tuple(x + y for x in range(10)) for y in range(10))
    together = (Pair(("RBC", "WBC"), 344, 1.03), Pair(("RBC", "Platelets"), 196, 1.02), Pair(("Platelets", "WBC"), 188, 0.95))
    broken = examine(read("fixtures/voc-broken")).statistics
    assert broken.boxes is not None
    tables = dataclasses.replace(
        report.statistics,
        boxes=dataclasses.replace(boxes, centre_heatmap=grid, shapes=broken.boxes.shapes),
        resolution=dataclasses.replace(broken.resolution, width=report.statistics.resolution.width),
        co_occurrence=together,
    )
    return dataclasses.replace(report, statistics=tables)


# What is there ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", REPORTS)
@pytest.mark.parametrize("size", [PHONE, DESKTOP], ids=["phone", "desktop"])
def test_nothing_reaches_beyond_the_page(name: str, size: tuple[int, int], open_report: Open) -> None:
    """Each report made by hand fits a phone and a desktop, with every finding open."""
    page = open_report(REPORTS[name](), size).page
    if page.get_by_role("button", name="Open all").count():
        page.get_by_role("button", name="Open all").click()

    assert overflow(page) == []


def test_the_order_of_the_page(open_report: Open) -> None:
    """Verdict and figures come first, then what to do, findings, classes, pictures, and how it was made; the bar names them."""
    page = open_report(rich()).page

    assert texts(page, "h2") == ["What to do", "Findings", "Classes", "Pictures and boxes", "How it was made"]
    assert [text.rstrip(" 0123456789") for text in texts(page, "nav a")] == texts(page, "h2")
    assert texts(page, ".verdict") == ["1 error, 1 warning. Fix the error before training. 2 checks could not run."]
    assert texts(page, ".figures .value")[:3] == ["364", "4,888", "3"]
    assert "DD401, DD402: left out with --no-pixels" in page.locator("#made").inner_text()


def test_the_contents_bar_stays_in_sight(open_report: Open) -> None:
    """Scrolled to the end, the bar is at the top of the window."""
    page = open_report(rich()).page
    page.evaluate("scrollTo(0, document.body.scrollHeight)")

    assert page.locator("nav").bounding_box()["y"] == 0


def test_every_chart_is_drawn_and_has_its_numbers(open_report: Open) -> None:
    """Six charts: a title, a text alternative, marks inside the frame, and a table on request."""
    page = open_report(rich()).page
    figures = page.locator("figure")

    assert figures.count() == 6
    for at in range(6):
        figure = figures.nth(at)
        title = figure.locator("h3").inner_text()
        assert figure.locator("svg.chart").get_attribute("aria-label") == f"Chart: {title}"
        assert figure.locator("svg.chart rect, svg.chart circle, svg.chart path").count() >= 1
        assert not figure.locator("td").count()
        figure.get_by_text("The numbers").click()
        assert figure.locator("td").count() >= 2
    assert page.evaluate("[...document.querySelectorAll('svg.chart *')].some((n) => /NaN|Infinity/.test(n.outerHTML))") is False


def test_charts_are_drawn_again_for_another_width(open_report: Open) -> None:
    """A window made narrow gets charts of its own width, so that their text stays readable."""
    page = open_report(rich()).page
    page.set_viewport_size({"width": 375, "height": 740})
    page.wait_for_timeout(200)

    for chart in page.locator("svg.chart").all():
        assert abs(float(chart.get_attribute("viewBox").split()[2]) - chart.bounding_box()["width"]) < 2
    assert overflow(page) == []


def test_one_column_on_a_phone_two_on_a_desktop(open_report: Open) -> None:
    """Charts lie side by side where there is room."""
    for size, columns in ((PHONE, 1), (DESKTOP, 2)):
        page = open_report(rich(), size).page
        assert len({round(chart.bounding_box()["x"]) for chart in page.locator("#pictures figure").all()}) == columns


# What a reader does -------------------------------------------------------------------------------------------------


def test_classes_sort_by_any_column(open_report: Open) -> None:
    """A click sorts the largest first, another click the smallest; the header says so."""
    page = open_report(make_bccd()).page
    names = "table.classes tbody td.name"

    assert texts(page, names) == ["RBC", "WBC", "Platelets"]
    page.get_by_role("button", name="class", exact=True).click()
    assert texts(page, names) == ["Platelets", "RBC", "WBC"]
    page.get_by_role("button", name="images", exact=True).click()
    assert texts(page, names) == ["WBC", "RBC", "Platelets"]
    page.get_by_role("button", name="images", exact=True).click()
    assert texts(page, names) == ["Platelets", "RBC", "WBC"]
    assert page.locator("th[aria-sort=ascending]").inner_text() == "images"


def test_classes_switch_split_and_scale(open_report: Open) -> None:
    """A split shows its own counts; the logarithmic scale makes small bars longer and leaves the largest."""
    page = open_report(make_bccd()).page
    bars = "[...document.querySelectorAll('table.classes .bar')].map((bar) => parseFloat(bar.style.width))"
    linear = page.evaluate(bars)
    page.get_by_label("logarithmic bars").check()
    logarithmic = page.evaluate(bars)

    assert linear == pytest.approx([100, 100 * 372 / 4155, 100 * 361 / 4155], abs=0.01)
    assert logarithmic[0] == 100
    assert logarithmic[2] == pytest.approx(70.7, abs=0.1)  # ln(362) ÷ ln(4156)
    page.locator("#split").select_option("test")
    assert texts(page, "table.classes tbody tr:nth-child(1) td.number") == ["68", "805", "85.2 %"]


def test_classes_are_searched(open_report: Open) -> None:
    """Of 1,203 classes 40 are shown; a word finds the others, and a button shows more."""
    page = open_report(make_long_tail()).page
    rows = page.locator("table.classes tbody tr")

    assert rows.count() == 40
    assert "40 of 1,203 classes shown" in page.locator("#classes").inner_text()
    page.get_by_label("search").fill("CLASS 1042")
    assert texts(page, "table.classes tbody td.name") == ["class 1042"]
    page.get_by_label("search").fill("")
    page.get_by_role("button", name="Show 500 more").click()
    assert rows.count() == 540


def test_findings_are_filtered(open_report: Open) -> None:
    """By severity and by family; a group without findings goes too, and the count follows."""
    findings = [
        make_finding("DD101"), make_finding("DD301", Severity.WARNING), make_finding("DD102", Severity.WARNING), make_finding("DD302", Severity.INFO),
    ]  # fmt: skip
    page = open_report(make_report(findings=findings)).page

    def visible() -> list[str]:
        return [node.get_attribute("id") for node in page.locator("details.finding").all() if node.is_visible()]

    assert visible() == ["DD101", "DD102", "DD301", "DD302"]
    page.get_by_role("button", name="warning").click()
    assert visible() == ["DD101", "DD302"]
    assert page.get_by_role("button", name="warning").get_attribute("aria-pressed") == "false"
    assert not page.get_by_text("Warnings: likely to cost accuracy").is_visible()
    page.get_by_label("family").select_option("DD3")
    assert visible() == ["DD302"]
    assert page.get_by_text("1 of 4 findings").is_visible()


def test_a_finding_says_what_it_is_and_lists_its_places(open_report: Open) -> None:
    """Its page, three examples, and all listed places on request; a link from a recommendation opens it."""
    places = [Place(f"labels/{at}.txt", at + 1) for at in range(5)]
    page = open_report(make_report(findings=[make_finding(places=places, total=9)])).page
    finding = page.locator("#DD101")

    assert "torchvision's detectors stop" in finding.inner_text()
    assert finding.locator(".places li").count() == 3
    finding.get_by_text("All 5 listed places").click()
    assert "labels/4.txt:5" in finding.inner_text() and "and 4 more" in finding.inner_text()


def test_a_link_opens_what_it_leads_to(open_report: Open) -> None:
    """The code in a recommendation leads to its finding, open, even where it was closed."""
    page = open_report(make_bccd()).page
    page.get_by_role("button", name="Close all").click()
    page.locator("#todo").get_by_role("link", name="DD201").click()
    page.wait_for_timeout(100)

    assert page.locator("#DD201").get_attribute("open") is not None
    assert page.locator("#DD201").is_visible()


def test_the_command_is_copied(open_report: Open) -> None:
    """The button puts the whole command into the clipboard and says so."""
    page = open_report(make_bccd(), permissions=["clipboard-read", "clipboard-write"]).page
    button = page.locator("#todo .copy").first
    button.click()
    page.get_by_text("Copied").first.wait_for()

    copied = page.evaluate("navigator.clipboard.readText()")
    assert copied == "dataset-doctor rebalance BCCD out --method repeat_factor --split train --budget 1.5 --seed 0"


def test_before_and_after_are_drawn(open_report: Open) -> None:
    """Each class that changes has two bars in proportion and its two numbers."""
    page = open_report(make_bccd()).page

    assert texts(page, ".change .number") == ["2,382 → 3,020", "214 → 260", "209 → 418"]
    widths = page.evaluate("[...document.querySelectorAll('.change .bar')].map((bar) => parseFloat(bar.style.width))")
    assert widths[:2] == pytest.approx([100 * 2382 / 3020, 100], abs=0.01)


def test_the_keyboard_reaches_everything_in_order(open_report: Open) -> None:
    """Tab goes down the page: skip link, contents, recommendation, findings, classes; each has a visible focus; keys work a finding."""
    page = open_report(make_bccd()).page
    seen, outlines = [], []
    for _ in range(60):
        page.keyboard.press("Tab")
        where = page.evaluate(
            "(() => { const n = document.activeElement; const s = n.closest('section, nav'); const o = getComputedStyle(n);"
            " return [n.className === 'skip' ? 'skip' : s ? s.id || 'nav' : n.id || n.tagName, o.outlineStyle + parseFloat(o.outlineWidth)] })()"
        )
        if where[0] == "BODY":
            break
        seen.append(where[0])
        outlines.append(where[1])

    assert list(dict.fromkeys(seen)) == ["skip", "nav", "todo", "findings", "classes", "pictures", "made"]
    assert set(outlines) == {"solid3"}
    page.locator("#DD101 > summary").focus()
    page.keyboard.press("Enter")
    assert page.locator("#DD101").get_attribute("open") is None


# Pictures -----------------------------------------------------------------------------------------------------------


def test_thumbnails_show_their_boxes(open_report: Open) -> None:
    """The broken fixture's box that leaves its picture is drawn over it, and the picture has a text alternative."""
    page = open_report(examine(read("fixtures/voc-broken"))).page
    page.locator("#DD102 > summary").click()
    thumbnail = page.locator("#DD102 svg.thumb")
    box, picture = (thumbnail.locator(name).first.bounding_box() for name in ("rect.line", "image"))

    assert box["x"] + box["width"] > picture["x"] + picture["width"] + 2
    assert picture["y"] < box["y"] < picture["y"] + picture["height"]
    assert thumbnail.get_attribute("aria-label") == "JPEGImages/street_002.jpg, car, 1 boxes drawn"


def test_a_box_without_area_is_ringed(open_report: Open, tmp_path: Path) -> None:
    """What would be too small to see has a ring around it."""
    Image.new("RGB", (640, 480)).save(tmp_path / "a.jpg")
    report = make_report(root=str(tmp_path), findings=[make_finding(places=[Place(image="a.jpg", box=(320, 240, 320, 240))])])
    page = open_report(report).page
    ring, picture = (page.locator(f"#DD101 {name}").first.bounding_box() for name in ("circle.line", "svg.thumb"))

    assert ring["x"] + ring["width"] / 2 == pytest.approx(picture["x"] + picture["width"] / 2, abs=1)
    assert ring["width"] > 10


def test_duplicates_lie_side_by_side(open_report: Open, tmp_path: Path) -> None:
    """The pictures of a group are on one line."""
    for name in "ab":
        Image.new("RGB", (40, 30)).save(tmp_path / f"{name}.jpg")
    places = [Place(image="a.jpg", split="train"), Place(image="b.jpg", split="test")]
    report = make_report(root=str(tmp_path), findings=[make_finding("DD503", places=places, name="split-leakage")])
    for size in (PHONE, DESKTOP):
        page = open_report(report, size).page
        one, other = (thumbnail.bounding_box() for thumbnail in page.locator("#pairs svg.thumb").all())
        assert one["y"] == other["y"] and one["x"] < other["x"]
        assert "train" in page.locator("#pairs").inner_text() and "test" in page.locator("#pairs").inner_text()


# Hostile, dark, printed, large --------------------------------------------------------------------------------------


def test_hostile_names_are_text(open_report: Open) -> None:
    """Markup in every place where text of a dataset is shown stays text: no element of it exists, nothing ran, nothing was loaded."""
    findings = [
        make_finding(f"DD{100 + at}", message=text, places=[Place(text, at, text, text, text, text, text, text)], name=text, total=9)
        for at, text in enumerate(ATTACKS)
    ]
    base = make_hostile()
    report = dataclasses.replace(
        make_report(
            classes=[(text, (1, 1), (at + 1, 2)) for at, text in enumerate(ATTACKS)],
            splits=[(text, 9) for text in ATTACKS[:2]],
            findings=findings,
        ),
        recommendations=tuple(
            dataclasses.replace(one, why=text, command=text, action=text, cost=text, sources=(text,), parameters={text: text})
            for one, text in zip(base.recommendations, ATTACKS, strict=False)
        ),
        not_run=tuple(dataclasses.replace(base.not_run[0], reason=text) for text in ATTACKS),
    )
    page = open_report(report).page
    page.get_by_role("button", name="Open all").click()
    for summary in page.locator("summary").all():
        if summary.is_visible() and summary.locator("xpath=..").get_attribute("open") is None:
            summary.click()

    assert (
        page.evaluate(
            "document.querySelectorAll('main img, main script, main style, base, main meta, [onload], [onerror], [onfocus]').length"
        )
        == 0
    )
    assert page.evaluate("[...document.links].every((link) => link.getAttribute('href').startsWith('#'))")
    shown = page.locator("body").inner_text()
    assert all(text in shown for text in ATTACKS[:10]) and "\\x1b[31m" in shown and "\\u202egnp.exe" in shown
    assert not set(shown) & {"\x1b", "\u202e", "\u2028"}


def test_hostile_reports_work(open_report: Open) -> None:
    """The report with every hostile text still sorts, filters and opens."""
    page = open_report(make_hostile()).page
    page.get_by_role("button", name="class", exact=True).click()
    page.get_by_role("button", name="Open all").click()

    assert page.locator("table.classes tbody tr").count() == 17
    assert page.locator("details.finding[open]").count() == 17


def test_script_from_elsewhere_would_not_run(open_report: Open) -> None:
    """Even where markup got in, the policy stops it: neither a handler nor an address is followed."""
    opened = open_report(make_report())
    opened.page.evaluate(
        'document.body.insertAdjacentHTML(\'beforeend\', \'<img src="https://evil.example/x.png" onerror="window.ran = 1"><button id="b" onclick="window.ran = 1">\')'
    )
    opened.page.evaluate("document.getElementById('b').click()")
    opened.page.wait_for_timeout(200)

    assert opened.page.evaluate("window.ran") is None
    assert opened.trouble and all("Content Security Policy" in text or "evil.example" in text for text in opened.trouble)
    assert any("img-src" in text for text in opened.trouble)
    opened.trouble.clear()


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_text_stands_out_by_day_and_night(scheme: str, open_report: Open) -> None:
    """Every text has a contrast of 4.5 : 1 or more (WCAG AA), and the dark page is dark."""
    page = open_report(rich(), color_scheme=scheme).page
    page.get_by_role("button", name="Open all").click()

    assert page.evaluate(CONTRAST) == []
    ground = page.evaluate("getComputedStyle(document.body).backgroundColor.match(/\\d+/g).map(Number)")
    assert (max(ground) < 60) is (scheme == "dark")


def test_what_is_printed(open_report: Open) -> None:
    """On paper findings are open, controls and the bar are gone, and the ground is white, also from a dark screen."""
    page = open_report(rich(), color_scheme="dark").page
    page.get_by_role("button", name="Close all").click()
    page.emulate_media(media="print", color_scheme="dark")
    page.evaluate("dispatchEvent(new Event('beforeprint'))")

    assert page.locator("details.finding[open]").count() == 2
    assert not page.locator("nav").is_visible() and not page.locator(".controls").first.is_visible()
    assert page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"
    page.evaluate("dispatchEvent(new Event('afterprint'))")
    assert page.locator("details.finding[open]").count() == 0
    assert page.pdf().startswith(b"%PDF")


def test_nothing_moves(open_report: Open) -> None:
    """No element has an animation or a transition."""
    page = open_report(rich()).page
    moving = "[...document.querySelectorAll('*')].filter((n) => { const s = getComputedStyle(n); return s.animationName !== 'none' || parseFloat(s.transitionDuration) > 0 }).length"

    assert page.evaluate(moving) == 0


def test_ten_thousand_classes_open_at_once(open_report: Open) -> None:
    """A page with 10,000 classes and 50 findings of 100 places is there within two seconds (the best of three), and a search finds one class."""
    places = [Place(f"labels/{at}.txt", at) for at in range(100)]
    report = make_report(
        classes=[(f"class {at:05}", (1, 1, 1), (at, 1, 1)) for at in range(10_000)],
        splits=(("train", 3), ("val", 3), ("test", 3)),
        findings=[make_finding(f"DD{100 + at}", places=places, total=10**6) for at in range(50)],
    )
    page = open_report(report).page
    timings = []
    for _ in range(3):
        page.reload()
        timings.append(page.evaluate("performance.getEntriesByType('navigation')[0].loadEventEnd"))
    page.get_by_label("search").fill("09876")

    assert texts(page, "table.classes tbody td.name") == ["class 09876"]
    assert min(timings) < 2000, timings


def test_without_script_the_verdict_is_there(open_report: Open) -> None:
    """A mail program that runs no script shows the verdict and the findings, as text."""
    findings = [make_finding(message="<b>2 boxes</b> have no area")]
    page = open_report(make_report(findings=findings), java_script_enabled=False).page

    shown = page.locator("body").inner_text()
    assert "1 error. Fix the error before training." in shown
    assert "error DD101: <b>2 boxes</b> have no area" in shown
