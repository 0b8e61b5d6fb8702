"""The verdict as GitHub Markdown."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

import pytest
from markdown_it import MarkdownIt
from markdown_it.token import Token

from dataset_doctor.report.verdict.markdown import verdict_markdown
from dataset_doctor.verdict import Verdict
from tests.report.browser import ATTACKS
from tests.report.verdicts import VERDICTS, hostile, make_everything, make_large, make_verdict

PLAIN = """\
<!-- dataset-doctor verdict -->

# pets

verify, classify  ·  3 seeds × 60 steps

**Helped: weights:sqrt (+5.0 points) of balanced accuracy.** Hurt: focal (-4.0 points). No evidence: repeat\\_factor. \
A true difference below 3.0 points would mostly have been missed.

| arm | verdict | difference, points | balanced accuracy | accuracy | training | parameters |
| --- | --- | --: | --: | --: | --: | --: |
| `baseline` | baseline |  | 50.0 % | 61.0 % | 12 s | 0.29 M |
| `weights:sqrt` | ▲ helped | +5.0 (+3.0 to +7.0) | 55.0 % | 61.0 % | 12 s | 0.29 M |
| `focal` | ▼ hurt | -4.0 (-6.0 to -2.0) | 46.0 % | 61.0 % | 12 s | 0.29 M |
| `repeat_factor` | no evidence | +0.1 (-1.9 to +2.1) | 50.1 % | 61.0 % | 12 s | 0.29 M |

Classes by the number of their training images: rare up to 10, common up to 100, frequent more.

| arm | group | verdict | classes | difference, points |
| --- | --- | --- | --: | --: |
| `weights:sqrt` | frequent | helped | 1 | +5.0 (+4.0 to +6.0) |
| `weights:sqrt` | rare | cannot verify | 1 |  |
| `focal` | frequent | helped | 1 | +5.0 (+4.0 to +6.0) |
| `focal` | rare | cannot verify | 1 |  |
| `repeat_factor` | frequent | helped | 1 | +5.0 (+4.0 to +6.0) |
| `repeat_factor` | rare | cannot verify | 1 |  |

| arm | class | verdict | difference, points | test instances |
| --- | --- | --- | --: | --: |
| `weights:sqrt` | `dog` | ▲ helped | +30.0 (+20.0 to +40.0) | 41 |
| `focal` | `dog` | ▲ helped | +30.0 (+20.0 to +40.0) | 41 |
| `repeat_factor` | `dog` | ▲ helped | +30.0 (+20.0 to +40.0) | 41 |

Notes:

- 1 of 3 classes has too few test instances to verify.
- A note of all.
- weights:sqrt: A note of the arm.

95 % intervals over seeds and test images.
"""


def tokens(text: str) -> list[Token]:
    found: list[Token] = []
    for token in MarkdownIt("gfm-like", {"linkify": False}).parse(text):
        found += [token, *(token.children or ())]
    return found


def test_the_whole_comment() -> None:
    """As it stands."""
    assert verdict_markdown(make_verdict(), "/data/pets") == PLAIN


def test_what_was_looked_at_besides() -> None:
    """One line each for the model, the best ensemble, more data, and the parameters of each arm."""
    text = verdict_markdown(make_everything(), "/data/pets")

    assert "- **model**: small\\_cnn: the smallest that was not shown to be worse than the best, resnet18." in text
    assert "- **ensemble**: mean of 3 seeds: 60.0 %, helped, +10.0 points (+4.0 to +16.0)" in text
    assert "- **more data**: Twice the data (400 images) would bring about +5.0 points (+2.0 to +9.0)." in text
    assert "- **tuned**: baseline: lr 0.00031, batch 64" in text


@pytest.mark.parametrize("make", VERDICTS.values(), ids=VERDICTS)
def test_it_fits_into_a_comment(make: Callable[[], Verdict]) -> None:
    """GitHub takes 65,536 characters; every table has as many cells a row as its head."""
    text = verdict_markdown(make(), "/data/pets")
    found = tokens(text)
    rows: list[int] = []
    for token in found:
        rows += [0] if token.type == "tr_open" else []
        if token.type in ("th_open", "td_open"):
            rows[-1] += 1

    assert len(text) < 65_536
    assert rows and set(rows) <= {5, 6, 7, 8}


def test_many_classes_are_cut_and_counted() -> None:
    """Twenty classes that were told apart are listed, the others are counted."""
    verdict = make_large(1203, 2)
    arm = verdict.arms[1]
    classes = tuple(dataclasses.replace(c, difference=arm.classes[-2].difference, verdict="helped") for c in arm.classes)
    text = verdict_markdown(dataclasses.replace(verdict, arms=(verdict.arms[0], dataclasses.replace(arm, classes=classes))), "/data/lvis")

    assert text.count("| `class ") == 20 and "1,183 more classes: `-o verdict.html` lists them." in text


def test_hostile_names_do_nothing() -> None:
    """No link, picture, heading, mention, reference, formula or HTML comes of a text."""
    names = (*ATTACKS, "[f](http://g.example) ![h](i) @torvalds #1 $x$", "# head\n# head", "a|b `c` *d*", "x" * 3000)
    text = verdict_markdown(hostile(names), "/data/<b>@me")
    found = tokens(text)

    assert not [token.type for token in found if token.type in ("link_open", "image", "html_inline")]
    assert [token.content.strip() for token in found if token.type == "html_block"] == ["<!-- dataset-doctor verdict -->"]
    assert sum(token.type == "heading_open" for token in found) == 1
    words = " ".join(token.content for token in found if token.type == "text")
    assert not set("@#$") & set(words)
    assert not set(text) & {"\x1b", "\u202e", "\u2028"} and len(text) < 65_536


def test_the_same_verdict_gives_the_same_text() -> None:
    """Nothing of the environment is in it: neither host nor path nor time."""
    verdict = make_verdict()
    other = dataclasses.replace(verdict, environment={"host": "elsewhere"})

    assert verdict_markdown(verdict, "/data/pets") == verdict_markdown(other, "/else/pets")
