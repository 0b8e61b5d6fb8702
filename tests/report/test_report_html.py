"""The report as an HTML page: what is in the file, before any browser looks at it."""

import base64
import dataclasses
import hashlib
import io
import json
import os
import re
import time
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from dataset_doctor.audit import examine
from dataset_doctor.dataset import Place
from dataset_doctor.formats import read
from dataset_doctor.report import render
from dataset_doctor.report.record import Report
from dataset_doctor.statistics import SizeCount
from tests.report.reports import make_bccd, make_finding, make_folders, make_hostile, make_report


def shown(report: Report) -> dict[str, Any]:
    """Give the data that the page is built from."""
    match = re.search(r'<script type="application/json" id="data">(.*?)</script>', render(report, ".html"), re.DOTALL)
    assert match
    data: dict[str, Any] = json.loads(match[1])
    return data


def at(report: Report, root: Path, **options: Any) -> Report:
    return dataclasses.replace(report, run=dataclasses.replace(report.run, root=str(root), options=options))


def pictured(*names: str, box: tuple[float, float, float, float] | None = None, root: Path, **options: Any) -> dict[str, Any]:
    return shown(at(make_report(findings=[make_finding(places=[Place(image=name, box=box) for name in names])]), root, **options))


def test_every_report_is_a_whole_page(report: Report) -> None:
    """Each report made by hand gives valid UTF-8 with one script that may run, and no text of a dataset outside the data."""
    page = render(report, ".html")

    page.encode("utf-8")
    assert page.startswith("<!doctype html>\n<!-- dataset-doctor report -->\n") and page.endswith("</html>\n")
    assert page.count("<script") == page.count("</script>") == 2
    assert "<img" not in page and "\x1b" not in page and "\u202e" not in page


def test_the_policy_allows_the_page_s_own_script_only() -> None:
    """The hash in the policy is that of the script, and nothing but `data:` pictures may be loaded."""
    page = render(make_bccd(), ".html")
    script = page.rpartition("<script>")[2].partition("</script>")[0]
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()

    assert (
        "content=\"default-src 'none'; img-src data:; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none';"
        f" script-src 'sha256-{digest}'\"" in page
    )


def test_data_cannot_end_its_element() -> None:
    """Of what could leave the data element nothing is there as it is written."""
    data = render(make_hostile(), ".html").partition('id="data">')[2].partition("</script>")[0]

    assert not set("<>&\u2028\u2029\x1b\r") & set(data)
    assert "\\u003cscript\\u003ealert(1)" in data


def test_times_host_and_paths_stay_out() -> None:
    """The same dataset gives the same page wherever and whenever it is audited."""
    report = make_bccd()
    other = dataclasses.replace(report, run=dataclasses.replace(report.run, started="2031", seconds=99.0, host="elsewhere", root="/x/BCCD"))

    assert render(report, ".html") == render(other, ".html")
    assert "/data/" not in render(report, ".html")


def test_five_figures_at_most(report: Report) -> None:
    """The head shows five figures or fewer."""
    assert len(shown(report)["figures"]) <= 5


def test_the_command_makes_the_report_again() -> None:
    """Options that were given are in the command, those that stood at their default are not."""
    options = {"pixels": False, "select": "DD1", "ignore": "", "fail_on": "error", "strict": True, "policy": None}

    command = shown(at(make_bccd(), Path("/data/my pets"), **options))["made"]["command"]

    assert command == "dataset-doctor audit 'my pets' --no-pixels --select DD1 --strict -o report.html"


def test_titles_state_the_message() -> None:
    """A chart's title says what it shows, with its figure."""
    data = shown(make_bccd())

    assert data["classes"]["title"] == "RBC holds 85.0 % of the instances, 11.5 × Platelets"
    assert data["charts"]["background"]["title"] == "Backgrounds: none, within the detector policy (0 to 10 %)"
    assert data["charts"]["splits"]["title"] == "The splits hold the classes in like shares"


def test_the_policy_s_band_is_the_one_that_was_asked_for() -> None:
    """`article` wants two thirds to three quarters, `screening` what its prior says; folders want nothing by default."""
    article = shown(at(make_bccd(), Path("/data/BCCD"), policy="article"))["charts"]["background"]
    screening = shown(at(make_bccd(), Path("/data/BCCD"), policy="screening", prior=0.2))["charts"]["background"]

    assert article["band"] == ["article", 2 / 3, 3 / 4]
    assert article["title"] == "Backgrounds: none, fewer than the article policy wants (67 to 75 %)"
    assert [round(value, 2) for value in screening["band"][1:]] == [0.72, 0.88]
    assert "background" not in shown(make_folders())["charts"]


def test_a_check_s_page_comes_in_parts() -> None:
    """What it is, why it matters and what to do are told apart."""
    page = next(finding for finding in shown(make_bccd())["findings"] if finding["code"] == "DD101")["page"]

    assert page[0] == ["", "Boxes without area: a width or height of zero, or corners in reversed order."]
    assert [label for label, _ in page[1:]] == ["Why it matters", "Usual cause", "What to do"]


# Pictures -----------------------------------------------------------------------------------------------------------


def test_a_picture_with_its_box(tmp_path: Path) -> None:
    """A thumbnail has at most 160 pixels a side, and the box is a share of the picture, corners in order, cut just outside."""
    Image.new("RGB", (800, 400), "red").save(tmp_path / "a.jpg")

    data = pictured("a.jpg", box=(400.0, 300.0, 200.0, 9000.0), root=tmp_path)

    [[address, width, height]] = data["pictures"]
    assert (width, height) == (800, 400)
    assert Image.open(io.BytesIO(base64.b64decode(address.removeprefix("data:image/jpeg;base64,")))).size == (160, 80)
    assert data["findings"][0]["strip"] == [{"picture": 0, "name": "a.jpg", "boxes": [[0.25, 0.75, 0.5, 1.06]], "note": ""}]


def test_a_turned_picture_is_shown_as_a_trainer_sees_it(tmp_path: Path) -> None:
    """The EXIF orientation is applied to the picture and to the size that boxes are measured by."""
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.new("RGB", (400, 300)).save(tmp_path / "a.jpg", exif=exif)

    [[address, width, height]] = pictured("a.jpg", root=tmp_path)["pictures"]

    assert (width, height) == (300, 400)
    assert Image.open(io.BytesIO(base64.b64decode(address.partition(",")[2]))).size == (120, 160)


def test_what_a_file_says_besides_its_pixels_stays_out(tmp_path: Path) -> None:
    """Comments and EXIF, a camera's place among them, are not in the thumbnail."""
    exif = Image.Exif()
    exif[0x010F] = "Maker of the camera"
    Image.new("RGB", (400, 300)).save(tmp_path / "a.jpg", exif=exif, comment=b"a private remark")

    [[address, *_]] = pictured("a.jpg", root=tmp_path)["pictures"]
    thumbnail = base64.b64decode(address.partition(",")[2])

    assert b"Maker" not in thumbnail and b"remark" not in thumbnail


def test_nothing_outside_the_dataset_is_opened(tmp_path: Path) -> None:
    """A name or a link that leads out gives no picture; a folder that was named with --images does."""
    root, outside = tmp_path / "set", tmp_path / "pictures"
    root.mkdir(), outside.mkdir()
    Image.new("RGB", (40, 30)).save(outside / "a.png")
    (root / "link.png").symlink_to(outside / "a.png")
    os.mkfifo(root / "pipe.jpg")
    names = ("../pictures/a.png", str(outside / "a.png"), "link.png", "pipe.jpg")

    assert pictured(*names, root=root)["pictures"] == []
    assert len(pictured(*names, root=root, images=str(outside))["pictures"]) == 3


def test_broken_and_enormous_pictures_leave_a_placeholder(tmp_path: Path) -> None:
    """Of pictures that cannot be decoded, or would need too much memory, the name stays; the good one beside them is shown."""
    Image.new("RGB", (40, 30)).save(tmp_path / "good.png")
    Image.new("1", (9000, 9000)).save(tmp_path / "huge.png")
    (tmp_path / "bad.jpg").write_bytes(b"\xff\xd8\xff\xe0 and no more")

    data = pictured("good.png", "huge.png", "bad.jpg", "gone.jpg", root=tmp_path)

    assert [entry["picture"] for entry in data["findings"][0]["strip"]] == [0, None, None, None]


def test_every_kind_of_pixel_can_be_shown(tmp_path: Path) -> None:
    """Sixteen bits, palettes, CMYK and transparency end as pictures."""
    Image.fromarray(np.full((30, 40), 40000, np.uint16)).save(tmp_path / "a.png")
    for name, mode in {"b.gif": "P", "c.jpg": "CMYK", "d.png": "RGBA", "e.png": "LA", "f.tif": "F", "g.png": "1"}.items():
        Image.new(mode, (40, 30)).save(tmp_path / name)

    assert len(pictured(*(path.name for path in tmp_path.iterdir()), root=tmp_path)["pictures"]) == 7


def test_pictures_are_bounded_and_shared_out(tmp_path: Path) -> None:
    """Twelve a finding and 120 in all; the last finding gets as many as the first."""
    names = [f"{at:03}.png" for at in range(400)]
    for name in names:
        Image.new("RGB", (4, 3)).save(tmp_path / name)
    findings = [make_finding(f"DD{100 + f}", places=[Place(image=name) for name in names[f * 20 : f * 20 + 20]]) for f in range(20)]

    data = shown(at(make_report(findings=findings), tmp_path))

    assert len(data["pictures"]) == 120
    assert {sum(entry["picture"] is not None for entry in finding["strip"]) for finding in data["findings"]} == {6}


def test_duplicates_come_in_their_groups(tmp_path: Path) -> None:
    """Places stand together whose detail ends in the other's name or says the group; places that say neither stand two by two."""
    for name in "abcd":
        Image.new("RGB", (4, 3)).save(tmp_path / f"{name}.png")
    details = {"image-near-duplicate": "CDAB", "image-duplicate": "1212", "split-leakage": "    "}
    findings = [
        make_finding(
            f"DD50{at}",
            places=[
                Place(
                    image=f"{name}.png", detail=f"nearly {said.lower()}.png" if said.isalpha() else f"group {said}" if said != " " else None
                )
                for name, said in zip("abcd", saying, strict=True)
            ],
            name=check,
        )
        for at, (check, saying) in enumerate(details.items())
    ]

    shown_groups = [finding["groups"] for finding in shown(at(make_report(findings=findings), tmp_path))["findings"]]

    names = [[[member[1] for member in group] for group in groups] for groups in shown_groups]
    assert names[0] == names[1] == [["a.png", "c.png"], ["b.png", "d.png"]]
    assert names[2] == [["a.png", "b.png"], ["c.png", "d.png"]]


def test_both_pictures_of_a_pair_are_looked_at(tmp_path: Path) -> None:
    """Partners that stand far apart in file order are both among the pictures."""
    names = [f"{split}/{at:02}.png" for split in ("test", "train") for at in range(40)]
    (tmp_path / "test").mkdir(), (tmp_path / "train").mkdir()
    for name in names:
        Image.new("RGB", (4, 3)).save(tmp_path / name)
    places = [Place(image=name, detail=f"the same as {names[(at + 40) % 80]}") for at, name in enumerate(names)]

    finding = shown(at(make_report(findings=[make_finding(places=places, name="image-duplicate")]), tmp_path))["findings"][0]

    assert len(finding["groups"]) == 6
    assert all(member[0] is not None for group in finding["groups"] for member in group)


def test_labels_of_a_pair_are_shown_side_by_side(tmp_path: Path) -> None:
    """Each member of a group comes with its labels in words, and their boxes as shares of the image."""
    for name in "ab":
        Image.new("RGB", (40, 20)).save(tmp_path / f"{name}.png")
    labels = {"a": (("cat", (0.0, 0.0, 20.0, 10.0)), ("cat", (20.0, 0.0, 40.0, 20.0))), "b": (("dog", None),)}
    places = [Place(image=f"{name}.png", detail="group 1", labels=labels[name]) for name in "ab"]

    [group] = shown(at(make_report(findings=[make_finding(places=places, name="duplicate-label-conflict")]), tmp_path))["findings"][0][
        "groups"
    ]

    assert [member[3:] for member in group] == [["cat × 2", [[0.0, 0.0, 0.5, 0.5], [0.5, 0.0, 1.0, 1.0]]], ["dog", []]]


# From the audit to the page -----------------------------------------------------------------------------------------


def test_an_audit_gives_the_box_that_is_wrong() -> None:
    """The box that leaves its image in the broken fixture is drawn where the label says, and the JSON has no new key."""
    report = examine(read("fixtures/voc-broken"))

    finding = next(finding for finding in report.findings if finding.name == "box-outside-image")
    entry = next(finding for finding in shown(report)["findings"] if finding["name"] == "box-outside-image")["strip"][0]

    box = finding.locations[0].box
    assert box is not None and box[2] == 200.0
    assert entry["boxes"] == [[round(box[0] / 160, 4), round(box[1] / 120, 4), 1.06, round(box[3] / 120, 4)]]
    assert "box" not in report.to_dict()["findings"][0]["locations"][0]


def test_sizes_and_shapes_reach_the_page() -> None:
    """The page draws the image sizes and box shapes that the statistics count."""
    report = examine(read("fixtures/voc"))
    charts, tables = shown(report)["charts"], report.statistics

    assert tables.boxes
    assert tables.resolution.sizes[0] == SizeCount(240, 180, 16)
    assert charts["resolution"]["sizes"][0] == [240, 180, 16]
    assert sum(cell[2] for cell in charts["shapes"]["cells"]) == tables.boxes.small + tables.boxes.medium + tables.boxes.large


def test_many_of_everything_stays_small_and_quick() -> None:
    """10,000 classes and 100 findings of 1,000 places with long names make a page under 5 MB within seconds."""
    classes = [(f"class {at} {'x' * 30}", (1, 2, 3), (at, 2, 3)) for at in range(10_000)]
    places = [Place("labels/" + "y" * 60 + f"/{at}.txt", at, image=f"{at}.jpg", class_name="class") for at in range(100)]
    findings = [make_finding(f"DD{at}", places=places, total=10**6) for at in range(100, 200)]

    begun = time.perf_counter()
    page = render(make_report(classes=classes, splits=(("train", 1), ("val", 2), ("test", 3)), findings=findings), ".html")

    assert len(page.encode()) < 5e6
    assert time.perf_counter() - begun < 10
