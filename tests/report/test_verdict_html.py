"""The verdict's page as a file: what it says, what is escaped, which pictures it holds, what it leaves out."""

from __future__ import annotations

import base64
import dataclasses
import io
import re
from collections.abc import Callable
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from dataset_doctor.errors import OutputRefused, UsageError
from dataset_doctor.report.html.drawing import Scale
from dataset_doctor.report.html.markup import el
from dataset_doctor.report.html.verdict import verdict_page
from dataset_doctor.report.verdict import files as verdict_files
from dataset_doctor.verdict import ArmVerdict, Interval, SeedRun, Verdict
from tests.report.verdicts import (
    VERDICTS,
    everything,
    hostile,
    make_arm,
    make_detection,
    make_everything,
    make_large,
    make_one_seed,
    make_verdict,
)

TAGS = (
    "html head meta title style body a header h1 h2 h3 p strong dl dt dd nav ul li main section article div span svg rect line path circle"
    " polyline image defs use text figure figcaption table caption thead tbody tr th td details summary code footer script"
)


class Reader(HTMLParser):
    """Collects what a page is made of: tags, attributes, and the text of each section."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.tags: set[str] = set()
        self.attributes: set[str] = set()
        self.links: list[str] = []
        self.sections: dict[str, str] = {"head": ""}
        self._in, self._own = "head", False
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        self.attributes |= {key for key, _ in attrs}
        self.links += [value or "" for key, value in attrs if key in ("href", "src")]
        self._own = tag in ("style", "script")
        if tag == "section":
            self._in = dict(attrs).get("id") or ""
            self.sections[self._in] = ""

    def handle_endtag(self, tag: str) -> None:
        self._own = False

    def handle_data(self, data: str) -> None:
        if not self._own:
            self.sections[self._in] += data.replace("\u00a0", " ")


def read(verdict: Verdict, root: Path | str = "/data/pets") -> Reader:
    return Reader(verdict_page(verdict, [str(root)]))


# What it says -------------------------------------------------------------------------------------------------------


def test_the_answer_comes_first() -> None:
    """Helped, hurt and no evidence in one sentence, with what could have been seen."""
    head = read(make_verdict()).sections["head"]

    assert "Helped: weights:sqrt (+5.0 points) of balanced accuracy. Hurt: focal (-4.0 points). No evidence: repeat_factor." in head
    assert "A true difference below 3.0 points would mostly have been missed." in head


def test_sections_are_there_where_there_is_something_to_show() -> None:
    """With everything all sections come in their order; what was not looked at has none."""
    all_of_them = [
        "arms", "differences", "groups", "classes", "curves", "confusion", "errors", "models", "more-data", "ensembles", "tuning", "made", "caution",
    ]  # fmt: skip

    assert list(read(make_everything()).sections)[1:] == all_of_them
    assert list(read(make_verdict()).sections)[1:] == ["arms", "differences", "groups", "classes", "curves", "made", "caution"]
    assert list(read(make_detection()).sections)[1:] == [
        "arms", "differences", "groups", "classes", "curves", "precision", "errors", "made", "caution",
    ]  # fmt: skip


def test_a_card_says_what_an_arm_brought_took_and_tests() -> None:
    """Metrics with intervals, cost beside the baseline's, and the findings in the words of `explain`."""
    slow = dataclasses.replace(make_arm("baseline").cost, train_seconds=24.8, peak_memory_bytes=3 << 30)
    arms = [make_arm("baseline"), make_arm("weights:sqrt", 0.05, addresses=("R2", "DD201"), notes=("Seed 1: halved.",), cost=slow)]

    advice = {"R2": {"action": "focal_loss", "why": "<b>Rare</b> classes drown."}}

    card = read(make_verdict(arms, extras={"recommendations": advice})).sections["arms"].partition("weights:sqrt")[2]

    assert "+5.0 points of balanced accuracy" in card and "95 % interval +3.0 to +7.0" in card
    assert "balanced accuracy55.0 % (53.0 to 57.0)" in card and "accuracy61.0 %" in card
    assert "training25 s, 2 × the baseline's" in card and "0.29 M, 1.1 MiB" in card and "memory, at most3.0 GiB" in card
    assert "R2 Focal loss. <b>Rare</b> classes drown." in card
    assert "DD201 class-imbalance. Datasets in which the most frequent class has at least 10 times" in card
    assert "Seed 1: halved." in card


def test_scores_are_written_as_what_they_are() -> None:
    """Shares in percent, counts as numbers, and what is not known not at all."""
    metrics = {
        "map": Interval(0.4, 0.3, 1.2),
        "ar100": Interval(0.55, None, None),
        "false_positives_per_background_image": Interval(1.25, 0.5, 2.0),
        "ap_small": Interval(float("nan"), None, None),
    }
    card = read(make_verdict([make_arm("baseline", metrics=metrics)], metric="map", task="detect")).sections["arms"]

    assert "mAP40.0 % (30.0 to 100.0)AR10055.0 %false positives per background image1.25 (0.50 to 2.00)" in card
    assert "small" not in card and "nan" not in card


def test_a_class_that_cannot_be_verified_is_grey_and_says_why() -> None:
    """Few test instances are the reason; the others have their verdict."""
    page = verdict_page(make_verdict(), ["/data/pets"])
    rows = re.findall(r"<tr( class=\"passed\")?><td class=\"name\">.*?</tr>", page)
    classes = read(make_verdict()).sections["classes"]

    assert rows == ["", "", ' class="passed"'] * 3
    assert "only 5 test instances" in classes
    assert "weights:sqrt: 1 helped, 1 no evidence, 1 cannot verify" in classes
    assert "+30.0 +20.0 to +40.0" in classes


def test_many_classes_are_cut_and_counted() -> None:
    """1,203 classes and five treatments list the most telling 200 of each, name where all are, and stay below 2 MB."""
    page = verdict_page(make_large(), ["/data/lvis"])

    assert page.count('<td class="name">') == 1000
    assert page.count("… and 1,003 more classes") == 5
    assert "class 1201" in page
    assert len(page.encode()) < 2e6


def test_groups_stand_against_zero() -> None:
    """Each group that is there has a row an arm; one with too few test instances says so, without figures."""
    groups = read(make_verdict()).sections["groups"]

    assert "weights:sqrt helped the frequent classes" in groups
    assert groups.count("cannot verify: too few test instances") == 3 and "+5.0 (+4.0 to +6.0) ▲ helped" in groups
    assert "Common" not in groups


def test_one_seed_has_no_interval_and_no_claim() -> None:
    """Nothing is drawn or said of chance where there is one training an arm."""
    page = read(make_one_seed())

    assert "No evidence of a change in balanced accuracy: weights:sqrt." in page.sections["head"]
    assert "What difference could have been seen is not known." in page.sections["head"]
    assert "one seed, no interval" in page.sections["arms"]
    assert "No intervals: one seed tells nothing of chance" in page.sections["differences"]
    assert "balanced accuracy70.0 %" in page.sections["arms"]


def test_the_caution_fits_the_verdict() -> None:
    """It names the model and the steps, what could not be seen, and how often several arms that do nothing give a false call."""
    caution = read(make_verdict()).sections["caution"]

    assert "It holds for small_cnn trained for 60 steps" in caution
    assert "With 3 arms that do nothing at all, the chance that at least one is called helped or hurt is up to 15 %." in caution
    assert "1 class with too few test instances" in caution
    assert "chance that" not in read(make_one_seed()).sections["caution"]


# What is drawn ------------------------------------------------------------------------------------------------------


def test_an_interval_lies_where_its_numbers_are() -> None:
    """On the forest's scale, zero, the mean, both ends and the shaded band lie in proportion."""
    arms = [make_arm("baseline"), make_arm("weights:sqrt", 0.05)]
    page = verdict_page(make_verdict(arms, detectable_difference=0.03), ["/data/pets"])
    drawn = page.partition('class="forest-row"')[2].partition("</svg></svg>")[0]

    low, high = -0.03 - 0.1 * 0.06, 0.07 + 0.1 * 0.06  # the band's left end to the interval's right one, and 6 % beside
    at = {value: 100 * (value - low) / (high - low) for value in (-0.03, 0.0, 0.03, 0.05, 0.07)}
    line = re.search(r'class="span" x1="([\d.]+)%" x2="([\d.]+)%" y1="50%"', drawn)
    band = re.search(r'class="unseen" x="([\d.]+)%" y="0" width="([\d.]+)%"', drawn)
    zero = re.search(r'class="zero" x1="([\d.]+)%"', drawn)
    mark = re.search(r'<svg x="([\d.]+)%"', drawn)

    assert line and band and zero and mark
    assert [float(v) for v in line.groups()] == pytest.approx([at[0.03], at[0.07]], abs=0.01)
    assert [float(v) for v in band.groups()] == pytest.approx([at[-0.03], at[0.03] - at[-0.03]], abs=0.01)
    assert (float(zero[1]), float(mark[1])) == pytest.approx((at[0.0], at[0.05]), abs=0.01)


@pytest.mark.parametrize("scale", [(0.0, 1.0), (-0.031, 0.077), (3.0, 3.0001), (-5e6, 2e7)])
def test_axes_have_few_round_marks(scale: tuple[float, float]) -> None:
    """Two to eleven marks, inside, a like step of 1, 2 or 5 apart."""
    marks = Scale(*scale).marks()
    step = np.diff(marks)
    leading = f"{step[0]:.0e}"[0]

    assert 2 <= len(marks) <= 11 and scale[0] - 1e-9 <= marks[0] and marks[-1] <= scale[1] + abs(scale[1]) * 1e-9
    assert np.allclose(step, step[0], rtol=1e-3) and leading in "125"


def test_curves_are_means_over_the_seeds() -> None:
    """The thick line goes through the mean of the seeds at the steps that all reached, the thin ones through each."""
    seeds = (
        SeedRun(0, {"balanced_accuracy": 0.5}, {"step": (10, 20, 30), "loss": (4.0, 3.0, 2.0), "val": (0.2, 0.4, 0.6)}),
        SeedRun(1, {"balanced_accuracy": 0.5}, {"step": (10, 20), "loss": (2.0, 1.0), "val": (0.4, 0.6)}),
    )
    verdict = make_verdict([dataclasses.replace(make_arm("baseline"), seeds=seeds)])
    page = verdict_page(verdict, ["/data/pets"])
    chart = page.partition('id="curves"')[2]
    lines = re.findall(r'class="stroke k0( thin)?" points="([^"]+)"', chart)

    assert [bool(thin) for thin, _ in lines] == [True, True, False] * 2
    first, second, mean = ([[float(v) for v in pair.split(",")] for pair in points.split()] for _, points in lines[:3])
    assert len(first) == 3 and len(second) == len(mean) == 2
    assert [pair[1] for pair in mean] == pytest.approx([(a[1] + b[1]) / 2 for a, b in zip(first[:2], second, strict=True)], abs=1.5)
    assert "Validation balanced accuracy: baseline reached 50.0" in chart and "Training loss: baseline reached 2" in chart


def test_twenty_classes_are_drawn_whole_and_more_are_chosen() -> None:
    """Of 60 classes the 20 most confused are drawn, with a column for all others, so that each row still adds up."""
    page = verdict_page(make_large(60, 2), ["/data/lvis"])
    matrix = page.partition('<table class="heat">')[2].partition("</table>")[0]
    rows = re.findall(r"<tr><th scope=\"row\">(.*?)</tr>", matrix)
    totals = [sum(int(n) for n in re.findall(r">(\d+)</td>", row)) for row in rows]

    assert len(rows) == 20 and "all others" in matrix and "The 20 most confused of 60 classes" in page
    assert re.sub("<.*?>", "", rows[0]).startswith("class 0040")
    assert totals == [50 + at for at in range(40, 60)]


def test_a_cell_is_shaded_by_its_share_of_the_row() -> None:
    """30 of 40 cats is 0.75, whatever the other rows hold; the most frequent confusion is named."""
    page = verdict_page(make_everything(), ["/data/pets"])

    assert '<td class="own" style="--share:0.750" title="cat: 30 of 40 (75 %) called cat">30</td>' in page.replace("\u00a0", " ")
    assert "most often cat was called dog (9 of 40)" in page


def test_what_was_looked_at_besides_is_told() -> None:
    """Models, forecast, the best ensemble and the best parameters stand in words above their tables."""
    sections = read(make_everything()).sections

    assert "small_cnn: the smallest that was not shown to be worse than the best, resnet18." in sections["models"]
    assert "Twice the data (400 images) would bring about +5.0 points (+2.0 to +9.0)." in sections["more-data"]
    assert "Best: mean of 3 seeds: 60.0 %, helped, +10.0 points (+4.0 to +16.0)" in sections["ensembles"]
    assert "lr0.00031" in sections["tuning"] and "pruned" in sections["tuning"]


def test_the_best_ensemble_is_not_chosen_by_what_it_is_judged_on() -> None:
    """With scores on the validation split the best is the best of these; what it brings against the best arm stands beside."""
    vote, mean = everything()["ensembles"]
    rival = {"arm": "focal", "difference": {"mean": 0.02, "low": -0.01, "high": 0.05}, "verdict": "no evidence"}
    found = [
        vote | {"metrics": {"balanced_accuracy": 0.55, "val_balanced_accuracy": 0.7}, "against_best": rival},
        mean | {"metrics": {"balanced_accuracy": 0.6, "val_balanced_accuracy": 0.6}, "against_best": None},
    ]

    told = read(make_verdict(extras={"ensembles": found})).sections["ensembles"]

    assert "Best: vote of all: 55.0 %, no evidence" in told and "by its score on the validation split" in told
    assert "against focal, the best arm" in told and "+2.0 (-1.0 to +5.0)" in told and "val balanced" not in told


def test_a_fitted_curve_goes_through_what_it_says() -> None:
    """It is drawn from the fit, 1 − (a × images^−b + c), up to the forecast; a forecast without a fit is joined to the last point."""
    extras = everything()
    extras["learning_curve"]["fit"] = {"a": 4.0, "b": 0.5, "c": 0.1}  # 1 - 4 ÷ 10 - 0.1 at 100 images, 1 - 4 ÷ 20 - 0.1 at 400
    fitted = verdict_page(make_verdict(extras=extras), ["/data/pets"]).partition('id="more-data"')[2]
    extras["learning_curve"] |= {"fit": None}
    joined = verdict_page(make_verdict(extras=extras), ["/data/pets"]).partition('id="more-data"')[2]

    points = re.search(r'class="stroke k1" points="([^"]+)"', fitted)
    assert points and len(points[1].split()) == 41 and "fitted curve" in fitted
    (x1, y1), *_, (x2, y2) = ([float(v) for v in pair.split(",")] for pair in points[1].split())
    measured = re.search(r'class="stroke k0" points="([^"]+)"', fitted)
    assert measured and x1 == float(measured[1].split(",")[0]) and x2 == pytest.approx(1000 / 1.02, abs=1)
    room = 0.2 * 0.06  # the chart goes from 0.5 to 0.7, and 6 % beyond
    assert [y1, y2] == pytest.approx([1000 * (1 - (score - 0.5 + room) / (0.2 + 2 * room)) for score in (0.5, 0.7)], abs=1)
    assert "forecast</span>" in joined and "fitted curve" not in joined


def test_a_forecast_that_cannot_be_made_is_not_made() -> None:
    """Without one, the sentence says why, and no forecast is drawn."""
    extras = everything()
    extras["learning_curve"] |= {"forecast": None, "said": "Two points allow no forecast."}

    more = read(make_verdict(extras=extras)).sections["more-data"]

    assert "Two points allow no forecast." in more and "forecast" not in more.replace("no forecast", "")


# Escaping, privacy, bytes -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("make", VERDICTS.values(), ids=VERDICTS)
def test_only_our_markup_is_in_it(make: Callable[[], Verdict]) -> None:
    """No tag, handler or address comes from anywhere but the page itself."""
    page = read(make(), "/data/<img src=x onerror=y>")

    assert page.tags <= set(TAGS.split())
    assert not {key for key in page.attributes if key.startswith("on")}
    assert all(link.startswith(("#", "data:image/jpeg;")) for link in page.links)


def test_hostile_names_show_as_text() -> None:
    """Markup, direction overrides, control characters and very long names are shown harmlessly."""
    names = ("<script>alert(1)</script>", '"><svg onload=alert(2)>', "\u202egnp.exe", "\x1b[31m\u2066", "x" * 5000, "&amp;", "</style>")
    page = verdict_page(hostile(names), ["/data/pets"])

    assert page.count("<script>") == 1 and "alert(1)&lt;/script&gt;" in page and "<svg onload" not in page
    assert not set("\u202e\u2066\x1b") & set(page) and "\\u202egnp.exe" in page
    assert "x" * 1300 not in page and "&amp;amp;" in page and page.count("</style>") == 1


def test_text_is_escaped_where_it_is_put() -> None:
    """Only what an element gave is markup; a string that joins markup and text is text again."""
    joined = el("b", "<") + "<i>"

    assert el("p", joined, title='"<\x00') == '<p title="&quot;&lt;\\x00">&lt;b&gt;&amp;lt;&lt;/b&gt;&lt;i&gt;</p>'


def test_the_same_verdict_gives_the_same_page_without_host_and_paths() -> None:
    """Where and when it was made may change what stands under "Where", and nothing else."""
    verdict = make_everything()
    elsewhere = dataclasses.replace(verdict, environment={**verdict.environment, "host": "other", "root": "/else/pets", "state": "/tmp"})
    page = verdict_page(verdict, ["/secret/pets"])

    assert page == verdict_page(elsewhere, ["/else/pets"])
    assert "/secret" not in page and "myhost" not in page


def test_no_verdict_breaks_it() -> None:
    """A verdict without arms that were compared, without classes, curves or cost still makes a page."""
    bare = ArmVerdict("baseline", (SeedRun(0, {"map": 0.1}),), {"map": Interval(0.1, None, None)}, None, None, {}, ())

    assert "Nothing was compared with the baseline." in read(make_verdict([bare], metric="map", extras={})).sections["head"]
    assert "NaN" not in verdict_page(make_verdict([bare], metric="map"), ["/data/pets"])


# Pictures -----------------------------------------------------------------------------------------------------------


@pytest.fixture
def pets(tmp_path: Path) -> Path:
    """A dataset's folder: one picture that the errors name, with a red square, and one beside the folder."""
    root = tmp_path / "pets"
    (root / "test/cat").mkdir(parents=True)
    (root / "images").mkdir()
    Image.new("RGB", (400, 300), "green").save(root / "test/cat/1.png")
    picture = Image.new("RGB", (400, 300), "green")
    picture.paste("red", (200, 100, 240, 140))
    picture.save(root / "images/a.png")
    Image.new("RGB", (40, 40)).save(tmp_path / "outside.png")
    return root


def pictures(page: str) -> list[Image.Image]:
    return [Image.open(io.BytesIO(base64.b64decode(found))) for found in re.findall(r'href="data:image/jpeg;base64,([^"]+)"', page)]


def entry(image: str, box: list[float] | None = None) -> dict[str, object]:
    return {"image": image, "box": box, "class": "cat", "predicted": "dog", "probability": 0.9}


def test_worst_errors_are_shown_from_the_dataset(pets: Path) -> None:
    """The picture is there as a thumbnail, once for all arms that erred on it; what is gone is a placeholder, and counted."""
    extras = {"worst_errors": {name: [entry("test/cat/1.png"), entry("gone.png")] for name in ("baseline", "focal")}}
    page = verdict_page(make_verdict(extras=extras), [str(pets)])

    assert [picture.size for picture in pictures(page)] == [(160, 120)]
    assert page.count('href="#picture-0"') == 2 and page.count("no picture</text>") == 2
    assert "cat, called dog, 90" in page and "1 picture not shown" in page


def test_an_object_is_shown_near_with_its_box(pets: Path) -> None:
    """Around a box of 40 px, 80 px are shown, and the box is drawn around the red square."""
    page = verdict_page(make_verdict(extras={"worst_errors": {"baseline": [entry("images/a.png", [200, 100, 240, 140])]}}), [str(pets)])
    [picture] = pictures(page)
    red = np.asarray(picture)[..., 0] > 150
    drawn = re.search(r'class="line" x="([\d.]+)" y="([\d.]+)" width="([\d.]+)" height="([\d.]+)"', page)

    assert picture.size == (80, 80)
    rows, columns = np.flatnonzero(red.any(axis=1)), np.flatnonzero(red.any(axis=0))
    assert [columns[0], columns[-1], rows[0], rows[-1]] == pytest.approx([20, 59, 20, 59], abs=2)
    assert drawn and [float(v) for v in drawn.groups()] == [20 + 30, 30, 60, 60]  # drawn 1.5 times as large, 20 px from the left


def test_a_detector_s_errors_say_what_kind_they_are() -> None:
    """Missed objects and false positives, with the score of what was found."""
    errors = read(make_detection()).sections["errors"]

    assert errors.count("missed: cat") >= 2 and errors.count("false positive: dog, 97 %") >= 2


def test_nothing_outside_the_dataset_is_read(pets: Path) -> None:
    """A name or a link that leads out is a placeholder, but for a folder that was named with --images."""
    (pets / "link.png").symlink_to(pets.parent / "outside.png")
    names = ("../outside.png", str(pets.parent / "outside.png"), "link.png")
    verdict = make_verdict(extras={"worst_errors": {"baseline": [entry(name) for name in names]}})

    assert pictures(verdict_page(verdict, [str(pets)])) == []
    assert len(pictures(verdict_page(verdict, [str(pets), str(pets.parent)]))) == 3


def test_pictures_never_make_the_page_large(tmp_path: Path) -> None:
    """Noise for 20 arms, which JPEG cannot make small, ends at 1.2 MB of pictures; the rest are placeholders, of every arm some are shown."""
    rng = np.random.default_rng(0)
    arms = [make_arm("baseline"), *(make_arm(f"arm {at}", 0.01) for at in range(19))]
    errors = {}
    for at, arm in enumerate(arms):
        names = [f"{at}_{n}.png" for n in range(12)]
        for name in names[:8]:
            Image.fromarray(rng.integers(0, 255, (120, 160, 3), dtype=np.uint8)).save(tmp_path / name)
        errors[arm.name] = [entry(name) for name in names]
    page = verdict_page(make_verdict(arms, extras={"worst_errors": errors}), [str(tmp_path)])

    assert len(page.encode()) < 2e6 and sum(map(len, re.findall(r'href="(data:[^"]+)"', page))) <= 1_200_000
    assert 60 < len(pictures(page)) < 160 and page.count("no picture</text>") == 160 - len(pictures(page))
    assert all("<use" in part for part in page.partition('id="errors"')[2].split('<h3 class="group">')[1:])


# The door -----------------------------------------------------------------------------------------------------------


def test_save_writes_the_page_and_nothing_else(pets: Path, tmp_path: Path) -> None:
    """`-o verdict.html` holds the pictures of the dataset, and another time replaces itself; the dataset's own files stay."""
    verdict = make_everything()
    target = tmp_path / "verdict.HTML"
    verdict_files.save(verdict, target, root=str(pets))
    verdict_files.save(verdict, target, root=str(pets))
    (pets / "own.html").write_text("<!doctype html><p>mine")

    assert len(pictures(target.read_text(encoding="utf-8"))) == 1
    assert sorted(path.name for path in tmp_path.iterdir()) == ["outside.png", "pets", "verdict.HTML"]
    with pytest.raises(OutputRefused, match="not a verdict"):
        verdict_files.save(verdict, pets / "own.html", root=str(pets))


def test_an_unknown_suffix_names_those_there_are() -> None:
    """Before anything is trained."""
    with pytest.raises(UsageError) as refused:
        verdict_files.check_targets([Path("verdict.htm")])

    assert refused.value.hint is not None and ".html" in refused.value.hint
    assert set(verdict_files.FILES) == {".json", ".html", ".md", ".csv"}
