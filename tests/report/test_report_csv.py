"""The class table as CSV."""

import csv
import io

from dataset_doctor.report import render
from dataset_doctor.report.record import Report
from tests.report.reports import HOSTILE, make_bccd, make_hostile, make_report


def test_bccd() -> None:
    """One row a class in class order: text quoted, numbers not, splits in their order."""
    assert render(make_bccd(), ".csv") == (
        '"index","id","name","images","instances","share","group","train_images","train_instances","val_images","val_instances",'
        '"test_images","test_instances"\n'
        '0,1,"Platelets",201,361,0.07385433715220949,"frequent",117,209,46,83,38,69\n'
        '1,2,"RBC",349,4155,0.8500409165302782,"frequent",196,2382,85,968,68,805\n'
        '2,3,"WBC",358,372,0.07610474631751228,"frequent",203,214,85,87,70,71\n'
    )


def test_no_cell_is_a_formula() -> None:
    """A name that a spreadsheet would calculate gets an apostrophe, in the table and in the head; a negative number needs none."""
    names = ["=1+1", "+1", "-1", "@x", "\tx", "\rx", "\nx", "＝1", "＋1", "－1", "＠x", "a=b", "'x"]
    report = make_report(classes=[(name, (1,), (1,)) for name in names], splits=[("=split", 1)])

    head, *rows = csv.reader(io.StringIO(render(report, ".csv")))

    assert head[7:] == ["'=split_images", "'=split_instances"]
    assert [row[2] for row in rows] == [
        "'=1+1", "'+1", "'-1", "'@x", "'\\x09x", "'\\x0dx", "'\\x0ax", "'＝1", "'＋1", "'－1", "'＠x", "a=b", "'x",
    ]  # fmt: skip


def test_every_report_is_a_table(report: Report) -> None:
    """Whatever the names are, there is one line a class, each as wide as the head, and it is UTF-8 with LF ends."""
    text = render(report, ".csv")

    rows = list(csv.reader(io.StringIO(text)))
    assert len(rows) == len(text.split("\n")) - 1 == 1 + len(report.statistics.classes)
    assert {len(row) for row in rows} == {7 + 2 * len(report.statistics.splits)}
    assert "\r" not in text and text.endswith("\n") and text.encode("utf-8")


def test_plain_names_stay() -> None:
    """A name without anything odd in it comes back from the file as it went in."""
    rows = list(csv.DictReader(io.StringIO(render(make_hostile(), ".csv"))))

    assert (rows[0]["name"], rows[15]["name"]) == (HOSTILE[0], HOSTILE[15])
