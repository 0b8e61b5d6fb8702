"""The report as GitHub Markdown."""

import dataclasses
import re

from markdown_it import MarkdownIt
from markdown_it.token import Token

from dataset_doctor.dataset import Place
from dataset_doctor.report import render
from dataset_doctor.report.record import Report
from tests.report.reports import make_bccd, make_finding, make_hostile, make_long_tail, make_report

BCCD = """\
<!-- dataset-doctor report -->

# BCCD

Pascal VOC (ImageSets) · 364 images, 4,888 instances, 3 classes

**1 error, 1 warning.** Fix the error before training. 2 checks could not run.

## Findings

| severity | code | finding | count |
| --- | --- | --- | --: |
| error | `DD101` | 2 boxes have no area | 2 |
| warning | `DD201` | RBC holds 85 % of the instances, 11.5 × Platelets | 2 |

### DD101 box-degenerate

- `Annotations/BloodImage_00338.xml:137` · `RBC`
- `Annotations/BloodImage_00343.xml:67` · `RBC`

### DD201 class-imbalance

- `RBC`
- `Platelets`

To do: R1 below.

## What to do

### R1 repeat factor

RBC has 11.5 × the instances of Platelets.

```sh
dataset-doctor rebalance BCCD out --method repeat_factor --split train --budget 1.5 --seed 0
```

Predicted: `Platelets` 209 → 418, `RBC` 2,382 → 3,020.

Cost: an epoch of 270 images instead of 205 · based on policy, Gupta et al., LVIS, 2019

## Classes

| class | group | images | instances | share | `train` | `val` | `test` |
| --- | --- | --: | --: | --: | --: | --: | --: |
| `RBC` | frequent | 349 | 4,155 | 85.0 % | 2,382 | 968 | 805 |
| `WBC` | frequent | 358 | 372 | 7.6 % | 214 | 87 | 71 |
| `Platelets` | frequent | 201 | 361 | 7.4 % | 209 | 83 | 69 |

## Figures

- **balance**: imbalance 11.5 : 1 · effective classes 1.7 of 3 · Gini 0.52
- **backgrounds**: 0 of 364 images
- **resolution**: 640 × 480 px, all alike · from the files
- **boxes**: 41 small, 1,524 medium, 3,323 large · per image 1 to 30, median 14, mean 13.4
- **splits**: train 205 · val 87 · test 72 · no file in two splits
- **not run**: DD401, DD402: left out with --no-pixels

`sha256:0000000000000000000000000000000000000000000000000000000000000000`, dataset-doctor 0.1.0
"""


def test_bccd() -> None:
    """The whole page, as it stands."""
    assert render(make_bccd(), ".md") == BCCD


def test_nothing_of_the_dataset_comes_alive(report: Report) -> None:
    """Read as GitHub reads it, the page holds no link, image, emphasis of data, raw HTML but our comment, and every row its cells."""
    tokens = MarkdownIt("commonmark").enable(["table", "strikethrough"]).parse(render(report, ".md"))
    leaves = [leaf for token in tokens for leaf in (token.children or [token])]

    kinds = {leaf.type for leaf in leaves}
    assert not kinds & {"link_open", "image", "html_inline", "em_open", "s_open", "hardbreak", "softbreak", "blockquote_open", "hr"}
    assert [leaf.content for leaf in leaves if leaf.type == "html_block"] == ["<!-- dataset-doctor report -->\n"]
    for leaf in leaves:
        if leaf.type == "text":
            assert not re.search(r"[@#$][\w(]", leaf.content), leaf.content
    tables = [len(report.findings), len(report.statistics.classes)]
    assert [len(row) for row in rows(tokens)] == [4] * (1 + tables[0]) * bool(tables[0]) + [columns(report)] * (1 + tables[1]) * bool(
        tables[1]
    )


def rows(tokens: list[Token]) -> list[list[Token]]:
    """Give the cells of each table row."""
    found: list[list[Token]] = []
    for token in tokens:
        if token.type == "tr_open":
            found.append([])
        elif token.type in ("td_open", "th_open"):
            found[-1].append(token)
    return found


def columns(report: Report) -> int:
    """Count the columns that the class table should have."""
    splits = len(report.statistics.splits)
    return (4 if report.dataset.format == "folder" else 5) + (splits if splits > 1 else 0)


def test_names_can_be_read() -> None:
    """What is escaped still says what it was."""
    page = render(make_hostile(), ".md")

    assert "| `<script>alert(1)</script> <img src=x onerror=y>` |" in page
    assert "| `a\\x7cb \\x60c\\x60 *d* _e_ [f](http://g.example)" in page
    assert "| Class \\[red\\]x\\[/red\\] is odd |" in page
    assert (
        "Because of a&#124;b \\`c\\` \\*d\\* \\_e\\_ \\[f\\](http\\://g.example) \\!\\[h\\](i) `@`torvalds `#`1 `$`x`$` &amp;amp; www\\.evil"
        in page
    )


def test_a_very_long_class_table_ends_with_a_note() -> None:
    """GitHub cuts pages that are too long, so the table ends at 2,000 rows and says what it leaves out."""
    page = render(make_report(classes=[(f"c{at}", (1,), (3000 - at,)) for at in range(2345)]), ".md")

    assert page.count("\n| `c") == 2000
    assert "345 more classes with fewer instances: `-o classes.csv` lists all." in page


def test_all_findings_are_there_with_ten_places_each() -> None:
    """The page is where the terminal sends readers for the rest, so no finding is left out; of places it says how many."""
    many = make_finding("DD500", places=[Place(file=f"{at}.txt") for at in range(30)])
    page = render(dataclasses.replace(make_long_tail(), findings=(*make_long_tail().findings, many)), ".md")

    assert page.count("\n### DD1") == 17
    assert "- `9.txt`\n- … and 20 more\n" in page
    assert "- `lvis_v1_train.json  /annotations/16000/bbox` · `class 0007`\n- … and 15,984 more" in page


def test_no_time_and_no_path_of_this_machine() -> None:
    """Two audits of one dataset give one page."""
    page = render(make_bccd(), ".md")

    assert "/data" not in page and "2025" not in page and "0.2" not in page
