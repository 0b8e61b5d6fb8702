"""The report on a terminal."""

import dataclasses
import re
import shlex

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dataset_doctor.dataset import Place
from dataset_doctor.findings import Expected, NotRun, Recommendation, Severity
from dataset_doctor.report import show
from dataset_doctor.report.record import Report
from dataset_doctor.report.text import cells
from tests.report.reports import HOSTILE, REPORTS, make_bccd, make_finding, make_folders, make_hostile, make_long_tail, make_report, shown

BCCD = """\
 BCCD  ·  Pascal VOC  ·  364 images, 4,888 instances, 3 classes           0.2 s

 Verdict  1 error, 1 warning.  Fix the error before training.
          2 checks could not run.

 1  error    2 boxes have no area                                         DD101
             Annotations/BloodImage_00338.xml:137  RBC  … and 1 more
 2  warning  RBC holds 85 % of the instances, 11.5 × Platelets            DD201
             RBC  … and 1 more
             → dataset-doctor rebalance BCCD out --method repeat_factor \\
                 --split train --budget 1.5 --seed 0
               Platelets 209 → 418, RBC 2,382 → 3,020  (predicted)

 class      images  instances   share  train  val  test
 RBC           349      4,155  85.0 %  2,382  968   805  ████████████████
 WBC           358        372   7.6 %    214   87    71  █▍
 Platelets     201        361   7.4 %    209   83    69  █▍

 balance      imbalance 11.5 : 1 · effective classes 1.7 of 3 · Gini 0.52
 backgrounds  0 of 364 images
 resolution   640 × 480 px, all alike · from the files
 boxes        41 small, 1,524 medium, 3,323 large
              per image 1 to 30, median 14, mean 13.4
 splits       train 205 · val 87 · test 72 · no file in two splits
 not run      DD401, DD402: left out with --no-pixels
 to run       repeat factor (at 2)

 Next   dataset-doctor explain DD101
        dataset-doctor audit BCCD -o report.html
"""

FOLDERS = """\
 clothing  ·  image folders (class folders)  ·  180 images, 2 classes     0.2 s

 Verdict  No defects found.

 class  images   share
 dress     120  66.7 %  ████████████████
 hat        60  33.3 %  ████████

 balance     imbalance 2.0 : 1 · effective classes 1.9 of 2 · Gini 0.17
 resolution  64 × 64 px, all alike · from the files
 splits      train 180

 Next   dataset-doctor audit clothing -o report.html
"""


def test_bccd() -> None:
    """The whole report, as it stands at 80 columns."""
    assert shown(make_bccd()) == BCCD


def test_a_clean_image_folder() -> None:
    """Without findings the verdict says so; an image folder has no boxes, no backgrounds, and images are its instances."""
    assert shown(make_folders(), name="clothing") == FOLDERS


def test_show_prints_on_stdout(capsys: pytest.CaptureFixture[str]) -> None:
    """Without a console, the report goes to stdout."""
    show(make_report(), name="pets")

    assert " pets  ·  COCO" in capsys.readouterr().out


@pytest.mark.parametrize("width", [40, 41, 60, 72, 80, 99, 120, 200])
@pytest.mark.parametrize("encoding", ["utf-8", "ascii", "cp1252", "shift-jis"])
def test_every_line_fits_and_is_harmless(report: Report, width: int, encoding: str) -> None:
    """No line is wider than the console, ends in spaces or holds a character that acts, in any encoding."""
    lines = shown(report, width, encoding=encoding).split("\n")

    assert max(map(cells, lines)) <= width
    assert all(line.isprintable() and not line.endswith(" ") for line in lines)


@pytest.mark.parametrize("width", [40, 80])
@pytest.mark.parametrize("name", HOSTILE)
def test_the_dataset_may_be_called_anything(name: str, width: int) -> None:
    """The name that the user gives is as harmless as those in the dataset."""
    lines = shown(make_bccd(), width, name=name).split("\n")

    assert max(map(cells, lines)) <= width
    assert all(line.isprintable() and not line.endswith(" ") for line in lines)


@settings(max_examples=60, deadline=None)
@given(
    names=st.lists(st.text(st.characters(exclude_categories=()), max_size=220), min_size=1, max_size=20),
    count=st.integers(0, 10**9),
    width=st.integers(40, 200),
)
def test_no_name_breaks_the_table(names: list[str], count: int, width: int) -> None:
    """Whatever the names and counts, lines fit and every row of the class table ends its share at the same cell."""
    report = make_report(classes=[(name, (1, 0), (count, 1)) for name in names], splits=((names[0], 1), ("val", 1)))

    lines = shown(report, width, name=names[-1]).split("\n")

    assert max(map(cells, lines)) <= width
    table = lines[next(at for at, line in enumerate(lines) if line.startswith(" class  ")) :]
    rows = [line for line in table[1 : table.index("")] if not line.startswith(" … ")]
    assert len(rows) == min(len(names), 14 if len(names) <= 14 else 13)
    assert len({cells(row[: row.rindex(" %")]) for row in rows if " %" in row}) <= 1


def test_colour_only_strengthens(report: Report) -> None:
    """With the colours taken away, the text is the same to the letter."""
    colourful = shown(report, colour=True)

    assert "\x1b[" in colourful
    assert re.sub(r"\x1b\[[0-9;]*m", "", colourful) == shown(report)


def test_ascii_says_the_same() -> None:
    """A terminal with ASCII only gets bars of number signs and spelt-out signs."""
    text = shown(make_bccd(), encoding="ascii")

    assert "RBC holds 85 % of the instances, 11.5 x Platelets" in text
    assert "  ################\n" in text
    assert "-> dataset-doctor rebalance" in text


def test_findings_stand_by_severity_then_code() -> None:
    """Errors come first whatever their code is, and the rank counts on."""
    severities = {"DD001": Severity.INFO, "DD102": Severity.ERROR, "DD201": Severity.WARNING, "DD101": Severity.ERROR}
    report = make_report(findings=[make_finding(code, severity, f"about {code}") for code, severity in severities.items()])

    ranks = re.findall(r"^ (\d)  (\w+) +about (\w+) +(\w+)$", shown(report), re.MULTILINE)

    assert ranks == [
        ("1", "error", "DD101", "DD101"),
        ("2", "error", "DD102", "DD102"),
        ("3", "warning", "DD201", "DD201"),
        ("4", "info", "DD001", "DD001"),
    ]


def test_a_screen_holds_twelve_findings_and_thirteen_classes() -> None:
    """Nothing scrolls off: the rest of the findings and classes is counted, with the file that lists it."""
    text = shown(make_long_tail())

    assert len(re.findall(r"^ +\d+  (?:warning|info) ", text, re.MULTILINE)) == 12
    assert "\n              … 5 more (5 infos): -o report.html\n" in text
    table = [line for line in text.partition("\n class ")[2].split("\n\n")[0].splitlines() if line.startswith(" class")]
    report = make_long_tail()
    used = sorted((row for row in report.statistics.classes if row.instances), key=lambda row: (-row.instances, row.index))
    assert [line.split()[1] for line in table] == [row.name.split()[1] for row in used[:8] + used[-5:]], "the rarest that are in use"
    assert f"\n … {len(used) - 13:,} more: -o report.html\n" in text
    assert f"\n … {1203 - len(used):,} classes without an instance: -o report.html\n" in text
    assert "… and 11,988 more\n" in text


def test_what_can_be_run_is_listed_and_its_command_shown() -> None:
    """A command stands once, in the row of its finding or under Next; what no command does is told apart."""
    report = make_bccd()
    (first,) = report.recommendations
    weigh = dataclasses.replace(first, id="R2", action="weights", command="dataset-doctor weights BCCD --cap 50", expected=None)
    collect = dataclasses.replace(first, id="R3", action="collect", command=None, expected=None)

    text = shown(dataclasses.replace(report, recommendations=(first, weigh, collect)))

    assert "\n to run       repeat factor (at 2) · weights (under Next)\n advice       collect · details: -o report.html\n" in text
    assert "\n Next   dataset-doctor weights BCCD --cap 50\n        dataset-doctor explain DD101\n" in text
    assert text.count("dataset-doctor weights") == text.count("dataset-doctor rebalance") == 1


@pytest.mark.parametrize(
    ("place", "total", "line"),
    [
        (Place("a.xml", 7, class_name="RBC", detail="504,337"), 1, "a.xml:7  RBC  504,337"),
        (Place("a.json", pointer="/annotations/3/bbox", class_name="cat"), 1204, "a.json  /annotations/3/bbox  cat  … and 1,203 more"),
        (Place(image="images/a.jpg"), 2, "images/a.jpg  … and 1 more"),
        (Place(class_name="RBC"), 1, "RBC"),
        (Place("folder/" * 20 + "a.txt", 3), 1, "…r/" + "folder/" * 8 + "a.txt:3"),
    ],
    ids=["line", "pointer", "image", "class", "long path"],
)
def test_one_example_a_finding(place: Place, total: int, line: str) -> None:
    """A finding shows one place, as exactly as is known, and how many more there are; of a long path the end stays."""
    text = shown(make_report(findings=[make_finding(places=[place], total=total)]))

    assert f"\n             {line}\n" in text


def advised(*findings: str, command: str | None, addresses: tuple[str, ...], expected: Expected | None = None) -> Report:
    recommendation = Recommendation("R1", "weights", addresses, "why", command, {}, expected, "", "policy", ())
    return make_report(findings=[make_finding(code) for code in findings], recommendations=[recommendation])


def test_a_long_command_can_be_copied() -> None:
    """A command that takes two lines is continued as a shell does it, with quoted words whole."""
    command = "dataset-doctor rebalance 'my data' out --method repeat_factor --class 'red blood cell' --budget 1.5"

    text = shown(advised("DD101", command=command, addresses=("DD101",)))

    copied = text[text.index("→ ") + 2 : text.index("\n\n class")]
    assert copied.count("\\\n") == 1
    assert shlex.split(copied.replace("\\\n", "")) == shlex.split(command)


def test_a_word_that_does_not_fit_is_broken_where_a_shell_joins_it() -> None:
    """What follows the break stands at the left edge; nothing of a command is left out."""
    text = shown(advised("DD101", command="dataset-doctor weights " + "x" * 200 + " --cap 5", addresses=("DD101",)))

    command = text.partition("→ ")[2].partition("--cap 5")[0]
    assert command.replace("\\\n", "").split() == ["dataset-doctor", "weights", "x" * 200]
    assert "\\\nxxx" in command


def test_advice_is_given_once() -> None:
    """The second finding of a recommendation refers to the first; one without a command says nothing here."""
    text = shown(advised("DD101", "DD102", command="dataset-doctor weights pets", addresses=("DD102", "DD101")))

    assert text.count("→ dataset-doctor weights pets\n") == 1 and text.count("→ as for 1\n") == 1
    assert "→" not in shown(advised("DD101", command=None, addresses=("DD101",)))


def test_the_prediction_names_the_class_that_grows_and_the_largest() -> None:
    """Of all predicted classes the most telling two are shown; classes that stay as they are are not."""
    expected = Expected((("a", 10, 10), ("b", 5, 20), ("c", 100, 110), ("d", 7, 8)), 30, 5.5)

    text = shown(advised("DD101", command="dataset-doctor weights pets", addresses=("DD101",), expected=expected))

    assert "\n               b 5 → 20, c 100 → 110  (predicted)\n" in text


@pytest.mark.parametrize(
    ("severities", "says"),
    [
        ("", "No defects found."),
        ("i", "1 info.  Nothing found that harms training."),
        ("wwi", "2 warnings, 1 info.  No errors; warnings may cost accuracy."),
        ("ewii", "1 error, 1 warning, 2 infos.  Fix the error before training."),
        ("ee", "2 errors.  Fix the errors before training."),
    ],
)
def test_the_verdict_counts_and_explains(severities: str, says: str) -> None:
    """The verdict follows from the worst finding."""
    of = {"e": Severity.ERROR, "w": Severity.WARNING, "i": Severity.INFO}
    report = make_report(findings=[make_finding(f"DD{at}", of[letter]) for at, letter in enumerate(severities)])

    assert f" Verdict  {says}\n" in shown(report)


def test_what_was_not_looked_at_is_no_pass() -> None:
    """A check that could not run shows in the verdict and with its reason; an empty dataset is not called clean."""
    codes = [NotRun(f"DD40{at}", "no image files") for at in range(6)] + [NotRun("DD501", "no memory")]

    text = shown(make_report(not_run=codes))

    assert " Verdict  No defects found.  7 checks could not run.\n" in text
    assert " not run      DD400, DD401, DD402, DD403 and 2 more: no image files\n              DD501: no memory\n" in text
    assert " Verdict  No images, so nothing to judge.\n" in shown(REPORTS["empty"]())


def test_unlabeled_images_of_yolo_train_as_background() -> None:
    """What other formats leave out, a YOLO trainer takes for background, and the report says so."""
    figures = {"background_images": 4, "background_share": 0.4, "positive_negative_ratio": 0.5, "unlabeled_images": 4}
    splits = (("train", 10),)

    yolo = shown(make_report(format="yolo", splits=splits, **figures))
    coco = shown(make_report(splits=splits, **figures))

    said = "4 of 10 images (40.0 %) · 1 positive : 2 background"
    assert re.search(re.escape(said) + r"\n +4 more without a label file, which trains as background\n", yolo)
    assert said in coco and "4 more without a label file" in coco and "trains as" not in coco


def test_columns_leave_before_numbers_are_cut() -> None:
    """With more figures than 80 columns hold, the bar goes first, then the splits; shares and counts stay whole."""
    wide = [("a class with quite a long name", (10**6,) * 4, (10**7,) * 4)]
    splits = [(name, 10**6) for name in ("train", "val", "test", "extra")]
    report = make_report(classes=wide, splits=splits)

    assert re.search(r"^ class +images +instances +share$", shown(report), re.MULTILINE)
    assert re.search(r" 4,000,000  40,000,000  100.0 %  █{8,}$", shown(report), re.MULTILINE)
    assert re.search(r"^ class +images +instances +share +train +val +test +extra$", shown(report, 100), re.MULTILINE)
    five = dataclasses.replace(report, statistics=make_report(classes=[("a", (1,) * 5, (1,) * 5)], splits=[*splits, ("x", 1)]).statistics)
    assert re.search(r"^ class +images +instances +share$", shown(five, 100), re.MULTILINE)


def test_a_class_with_few_instances_leaves_a_mark() -> None:
    """One instance beside a million shows as the thinnest bar, none as no bar, and its share never reads as zero."""
    report = make_report(classes=[("many", (1,), (10**6,)), ("one", (1,), (1,)), ("none", (0,), (0,))])

    assert re.search(r"^ one  +1 +1 +<0.1 %  ▏$", shown(report), re.MULTILINE)
    assert re.search(r"^ none +0 +0 +0.0 %$", shown(report), re.MULTILINE)


def test_images_in_two_splits_are_said() -> None:
    """Splits that add up to more images than there are share some."""
    two = (("train", 3), ("val", 2))
    classes = [("cat", (3, 2), (3, 2))]

    assert "train 3 · val 2 · no file in two splits\n" in shown(make_report(classes=classes, splits=two))
    assert "train 3 · val 2 · some files in two splits\n" in shown(make_report(classes=classes, splits=two, images=4))
    assert " splits       none given\n" in shown(make_report())


def test_markup_in_names_is_text() -> None:
    """Names that look like the printing library's own markup, emoji codes or links show as they are written."""
    text = shown(make_hostile(), colour=True)

    assert " [red]x[/red] " in re.sub(r"\x1b\[[0-9;]*m", "", text)
    assert ":warning: ~~gone~~" in text and "⚠" not in text and "\x1b]8" not in text


def test_lines_stay_whole_where_widths_are_in_dispute() -> None:
    """The printing library, which counts some signs as wider than older Unicode does, gets no chance to break a line."""
    report = make_report(classes=[("\u2630" * 28, (1,), (5,)), ("dog", (1,), (1,))])

    assert re.search(r"^ \u2630+…? +1 +5 +83.3 %", shown(report, 60, name="\u2630" * 30), re.MULTILINE)
    assert shown(report, 60).count("\n") == shown(make_report(), 60).count("\n")
