"""What random mutation broke, each as the smallest dataset that showed it."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import numpy as np
import pytest
import yaml
from PIL import Image

import dataset_doctor as dd
from dataset_doctor import report as reports
from dataset_doctor.dataset import Dataset
from dataset_doctor.errors import UsageError
from dataset_doctor.formats import unwritable
from dataset_doctor.plan import make_plan

SQUARE = {"bbox": [1, 1, 9, 9], "area": 81, "iscrowd": 0}


def save(root: Path, files: dict[str, str | bytes], images: tuple[str, ...] = ()) -> Path:
    """Write text files, and images of 64 × 48."""
    for name, content in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content.encode("utf-8", "surrogatepass") if isinstance(content, str) else content)
    for name in images:
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.linear_gradient("L").resize((64, 48)).save(path)
    return root


def coco(root: Path, document: str) -> Path:
    """Write a COCO dataset of two images."""
    return save(root, {"annotations/instances_train.json": document}, ("images/train/a.jpg", "images/train/b.jpg"))


def document(**parts: object) -> str:
    """Describe two images with a box each; parts replace members."""
    whole = {
        "images": [{"id": number, "file_name": f"{stem}.jpg", "width": 64, "height": 48} for number, stem in ((1, "a"), (2, "b"))],
        "annotations": [{"id": number, "image_id": number, "category_id": 1, **SQUARE} for number in (1, 2)],
        "categories": [{"id": 1, "name": "cat"}],
    }
    return json.dumps(whole | parts)


def converted(dataset: Dataset, out: Path, target: str) -> Dataset:
    """Write a dataset in a format without what cannot be written, and read it."""
    plan = make_plan(dataset, np.arange(dataset.n_images), command="convert", left_out=unwritable(dataset, target))
    dd.write(plan.apply(dataset), out, target)
    return dd.read(out)


def test_no_image_and_no_split(tmp_path: Path) -> None:
    """A configuration without images gives a dataset without splits, with a manifest beside it too; both can be audited."""
    root = save(tmp_path / "data", {"data.yaml": "names: [cat]\nnc: 1\ntrain:\n"})
    assert dd.read(root).splits == ()
    save(root, {"dataset-doctor.json": '{"schema": "dataset-doctor/manifest", "schema_version": 1, "images": []}'})

    assert "config-invalid" in {finding.name for finding in dd.audit(dd.read(root)).findings}


def test_numbers_without_end_are_no_part_of_a_report(tmp_path: Path) -> None:
    """Boxes as large as numbers go, and NaN, leave the JSON standard."""
    boxes = [[0, 0, 1e308, 1e308], [float("nan"), 1, 1e200, 1e200]]
    records = [{"id": row, "image_id": 1, "category_id": 1, "bbox": box, "area": 1e308} for row, box in enumerate(boxes, 1)]
    report = dd.audit(dd.read(coco(tmp_path / "data", document(annotations=records))))

    def refuse(constant: str) -> None:
        raise AssertionError(constant)

    assert json.loads(reports.render(report, ".json"), parse_constant=refuse)["summary"]["annotations"] == 2


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ('"name": "cat"}', '"name": "cat", "n\xfft": 1}'),  # a key that is not UTF-8
        ('"file_name": "b.jpg"', '"file_name": "b.jpg", "note": "\\udcff"'),  # a surrogate alone
        ('"categories": [', '"note": "\\ud800", "categories": ['),
        ('"annotations": [', '"annotations": [null, '),
        ('{"id": 2, "image_id": 2', '{"id": 2 "image_id": 2'),  # a comma is missing
    ],
)
def test_coco_text_that_strict_readers_refuse_is_written(old: str, new: str, tmp_path: Path) -> None:
    """What the reader made of a damaged label file comes out again, where records are cut from it and where splits are made anew."""
    text = document()
    assert old in text
    dataset = dd.read(save(coco(tmp_path / "data", ""), {"annotations/instances_train.json": text.replace(old, new).encode("latin-1")}))
    assert dataset.n_images == 2

    kept = converted(dataset, tmp_path / "kept", "coco")
    plan = dd.split(dataset, ratios=(0.5, 0.5), group_by="none", allow_errors=True)
    dd.write(plan.apply(dataset), tmp_path / "divided")

    assert (kept.n_images, kept.n_annotations) == (2, dataset.n_annotations)
    assert dd.read(tmp_path / "divided").images.in_split.sum(axis=0).tolist() == [1, 1]


@pytest.mark.parametrize(
    "text",
    [
        "{train: images/train, val: images/train, names: [cat], extra: {kept: 1}}\n---\nanother: document\n",
        "{train: images/train,\n  val: images/train, names: {0: cat},\n extra: {kept: 1}\n}\n",
        "%YAML 1.2\n---\n{train: images/train, val: images/train, names: [cat], extra: {kept: 1}}\n...\n",
    ],
)
def test_a_configuration_in_flow_style_is_edited(text: str, tmp_path: Path) -> None:
    """Keys are exchanged whatever the style and whatever comes after the first document; keys that nobody knows stay."""
    files = {"data.yaml": text, "labels/train/a.txt": "0 .5 .5 .2 .2\n", "labels/train/b.txt": "0 .5 .5 .3 .2\n"}
    dataset = dd.read(save(tmp_path / "data", files, ("images/train/a.jpg", "images/train/b.jpg")))
    dd.write(dd.split(dataset, ratios=(0.5, 0.5), group_by="none").apply(dataset), tmp_path / "out")

    written = yaml.safe_load((tmp_path / "out/data.yaml").read_text())
    assert (written["train"], written["val"], written["extra"]) == ("images/train", "images/val", {"kept": 1})


def test_a_number_at_the_end_of_a_name_is_no_flag(tmp_path: Path) -> None:
    """In a list of VOC, the repeat of `photo 1` is `photo 1__r1`: the 1 belongs to the name."""
    thing = "<object><name>cat</name><bndbox><xmin>1</xmin><ymin>1</ymin><xmax>9</xmax><ymax>9</ymax></bndbox></object>"
    xml = f"<annotation><size><width>64</width><height>48</height></size>{thing}</annotation>"
    files: dict[str, str | bytes] = {f"Annotations/photo {n}.xml": xml for n in (0, 1)} | {"ImageSets/Main/train.txt": "photo 0\nphoto 1\n"}
    dataset = dd.read(save(tmp_path / "data", files, ("JPEGImages/photo 0.jpg", "JPEGImages/photo 1.jpg")))
    plan = make_plan(dataset, np.array([0, 1, 1]), command="rebalance", split="train")
    dd.write(plan.apply(dataset), tmp_path / "out")

    assert (tmp_path / "out/ImageSets/Main/train.txt").read_text() == "photo 0\nphoto 1\nphoto 1__r1\n"


def test_an_empty_list_of_darknet_stays_a_list(tmp_path: Path) -> None:
    """A list without a line does not look like one; it is not written a second time as a file of class names."""
    files = {
        "obj.data": "classes = 1\ntrain = train.txt\nvalid = valid.txt\nnames = obj.names\n", "obj.names": "cat\n", "valid.txt": "",
        "train.txt": "obj/a.jpg\n", "obj/a.txt": "0 .5 .5 .2 .2\n",
    }  # fmt: skip
    dataset = dd.read(save(tmp_path / "data", files, ("obj/a.jpg",)))

    assert converted(dataset, tmp_path / "out", "yolo").n_annotations == 1


def test_lists_of_a_dataset_without_splits(tmp_path: Path) -> None:
    """`--materialize list` of images in no split: one list, which trainers know under the names of two."""
    files = {"labels/a.txt": "0 .5 .5 .2 .2\n", "labels/b.txt": "0 .5 .5 .2 .2\n", "classes.txt": "cat\n"}
    dataset = dd.read(save(tmp_path / "data", files, ("images/a.jpg", "images/b.jpg")))
    plan = make_plan(dataset, np.array([0, 0, 1]), command="rebalance", split="all")
    dd.write(plan.apply(dataset), tmp_path / "out", materialize="list")

    assert len((tmp_path / "out/all.txt").read_text().splitlines()) == 3


def test_what_a_format_cannot_tell_apart_is_refused_by_name(tmp_path: Path) -> None:
    """COCO's readers know a split by the name of its file, and YOLO's an image by its file or label; the rest is refused with its place."""
    thing = "<object><name>cat</name><bndbox><xmin>1</xmin><ymin>1</ymin><xmax>9</xmax><ymax>9</ymax></bndbox></object>"
    xml = f"<annotation><size><width>64</width><height>48</height></size>{thing}</annotation>"
    files = {"Annotations/a.xml": xml, "Annotations/b.xml": "<annot", "ImageSets/Main/dog_test.txt": "a\nb\n"}
    dataset = dd.read(save(tmp_path / "data", files, ("JPEGImages/a.jpg",)))

    with pytest.raises(UsageError, match="the split dog_test cannot be written as COCO"):
        converted(dataset, tmp_path / "coco", "coco")
    with pytest.raises(UsageError, match=r"1 image cannot be written as YOLO, first .*Annotations/b\.xml"):
        converted(dataset, tmp_path / "yolo", "yolo")
    assert [path.name for path in tmp_path.iterdir()] == ["data"]


def test_a_name_without_the_end_of_an_image_gets_one(tmp_path: Path) -> None:
    """An entry of COCO that names no file, or one that no reader takes for an image, is an image in YOLO too."""
    entries = [
        {"id": 1, "file_name": "a.jpg", "width": 64, "height": 48},
        {"id": 2, "width": 64, "height": 48},
        {"id": 3, "file_name": "c.bin", "width": 64, "height": 48},
    ]
    dataset = dd.read(coco(tmp_path / "data", document(images=entries)))

    assert converted(dataset, tmp_path / "out", "yolo").n_images == dataset.n_images == 3


def test_images_elsewhere_are_told(tmp_path: Path) -> None:
    """Images in folders that no label file speaks of are no part of the dataset, and the report says how many."""
    root = save(coco(tmp_path / "data", document()), {}, ("elsewhere/x.jpg", "elsewhere/y.jpg"))

    assert "2 images elsewhere are not part of it" in dd.read(root).evidence


def test_classes_that_nothing_is_of_cost_a_split_no_time(tmp_path: Path) -> None:
    """A class number in the ten thousands declares as many classes; only those in use are divided."""
    files = {f"labels/{n}.txt": f"{n % 2 * 60_000} .5 .5 .2 .2\n" for n in range(6)}
    dataset = dd.read(save(tmp_path / "data", files, tuple(f"images/{n}.jpg" for n in range(6))))
    plan = dd.split(dataset, ratios=(0.5, 0.5), group_by="none")

    assert [plan.classes[at].in_splits for at in (0, 60_000)] == [(2, 1), (1, 2)] or [plan.classes[at].in_splits for at in (0, 60_000)] == [
        (1, 2),
        (2, 1),
    ]


def test_a_byte_order_mark_in_a_name(tmp_path: Path) -> None:
    """A name that begins with one would lose it as the first line of a list."""
    dataset = dd.read(save(tmp_path / "data", {"valid/labels/\ufeffa.txt": "0 .5 .5 .2 .2\n"}, ("valid/images/\ufeffa.jpg",)))

    assert converted(dataset, tmp_path / "out", "voc").splits == dataset.splits == ("val",)


def test_a_configuration_too_large_to_be_read_is_refused(tmp_path: Path) -> None:
    """A stray class number makes a hundred thousand names, which no data.yaml that is read can hold."""
    files = {"labels/a.txt": "99999 .5 .5 .2 .2\n", "labels/b.txt": "0 .5 .5 .2 .2\n"}
    dataset = dd.read(save(tmp_path / "data", files, ("images/a.jpg", "images/b.jpg")))

    with pytest.raises(UsageError, match=r"100,000 classes make a data\.yaml larger than is read \(1 MiB\)"):
        dd.write(dataset, tmp_path / "out")


def test_what_is_written_at_its_place_and_does_not_read_back_gets_the_usual_names(tmp_path: Path) -> None:
    """Where files of an odd source cannot stay where they are, they are written as a new dataset is."""
    dataset = dd.read(coco(tmp_path / "data", document()))
    dd.write(dataclasses.replace(dataset, keeps_places=False), tmp_path / "out")

    assert (tmp_path / "out/annotations/instances_train.json").is_file()
    assert dd.read(tmp_path / "out").n_annotations == 2


def test_the_name_of_a_split_is_one_that_a_folder_can_have(tmp_path: Path) -> None:
    """A list whose name holds a carriage return gives a split of a name that reads back from every format."""
    label = "<annotation><filename>a.jpg</filename><size><width>64</width><height>48</height></size></annotation>"
    files = {"VOC2012/ImageSets/Main/a\rb.txt": "a\n", "VOC2012/Annotations/a.xml": label}
    dataset = dd.read(save(tmp_path / "data", files, ("VOC2012/JPEGImages/a.jpg",)))

    assert dataset.splits == ("a_b",)
    assert converted(dataset, tmp_path / "yolo", "yolo").splits == ("a_b",)


def test_a_category_whose_name_is_no_text_is_written_under_it(tmp_path: Path) -> None:
    """Where two files disagree on a category and one name is a list, a new split keeps both classes with their instances."""
    entries = [{"id": number, "file_name": f"{number}.jpg", "width": 64, "height": 48} for number in (1, 2, 3, 4)]
    records = [{"id": number, "image_id": number, "category_id": 1, **SQUARE} for number in (1, 2, 3, 4)]
    files: dict[str, str | bytes] = {
        f"annotations/instances_{split}.json": document(
            images=entries[part], annotations=records[part], categories=[{"id": 1, "name": name}]
        )
        for split, part, name in (("train", slice(2), [2, 3]), ("val", slice(2, 4), "bird"))
    }
    images = tuple(f"images/{split}/{number}.jpg" for split, number in (("train", 1), ("train", 2), ("val", 3), ("val", 4)))
    dataset = dd.read(save(tmp_path / "data", files, images))
    plan = dd.split(dataset, ratios=(0.5, 0.5), group_by="none")
    dd.write(plan.apply(dataset), tmp_path / "out", "coco")
    written = dd.read(tmp_path / "out")

    assert sorted(written.class_names) == ["[2, 3]", "bird"]
    assert written.n_annotations == 4 and np.bincount(written.annotations.class_index).tolist() == [2, 2]


def test_a_dataset_without_images_is_refused_by_name(tmp_path: Path) -> None:
    """There is nothing to write, in whatever way images would be brought."""
    dataset = dd.read(save(tmp_path / "data", {"data.yaml": "names: [cat]\nnc: 1\ntrain:\n"}))

    for mode in ("copy", "list"):
        with pytest.raises(UsageError, match="no images, so there is nothing to write"):
            dd.write(dataset, tmp_path / "out", "coco", materialize=mode)


def test_a_copy_of_an_image_without_an_id_gets_one_for_its_objects(tmp_path: Path) -> None:
    """An entry without an id has no objects; what is pasted into its copy names the copy's own id."""
    entries = [{"id": 1, "file_name": "a.jpg", "width": 400, "height": 300}, {"file_name": "b.jpg", "width": 400, "height": 300}]
    boxes = ((1, [20, 20, 60, 60]), (1, [120, 20, 60, 60]), (1, [220, 20, 60, 60]), (2, [20, 200, 60, 60]))
    records = [
        {"id": n, "image_id": 1, "category_id": kind, "bbox": [x, y, 60, 60], "area": 3600, "iscrowd": 0,
         "segmentation": [[x, y, x + 60, y, x + 60, y + 60, x, y + 60]]}
        for n, (kind, (x, y, _, _)) in enumerate(boxes, 1)
    ]  # fmt: skip
    classes = [{"id": 1, "name": "cat"}, {"id": 2, "name": "dog"}]
    root = coco(tmp_path / "data", document(images=entries, annotations=records, categories=classes))
    for name in ("a", "b"):
        Image.linear_gradient("L").resize((400, 300)).save(root / f"images/train/{name}.jpg")
    dataset = dd.read(root)
    treated = dd.rebalance(dataset, method="copy_paste", target="uniform", split="train", seed=0).apply(dataset)
    dd.write(treated, tmp_path / "out", "coco")

    assert dd.read(tmp_path / "out").n_annotations == treated.n_annotations > 4
    assert {str(name) for name in treated.images.file_name[treated.is_made]} == {"images/train/b.jpg"}


def test_a_damaged_file_that_holds_an_array_twice_is_not_written(tmp_path: Path) -> None:
    """Two documents run into each other are read as far as they go, and refused where records would have to be cut out of them."""
    records = [{"id": number, "image_id": 1 + number // 4, "category_id": 1 + number // 4, **SQUARE} for number in (1, 2, 3, 4)]
    whole = document(annotations=records, categories=[{"id": 1, "name": "cat"}, {"id": 2, "name": "dog"}])
    dataset = dd.read(coco(tmp_path / "data", whole.rstrip("}") + whole.lstrip("{")))
    plan = dd.rebalance(dataset, method="oversample", target="uniform", split="train", allow_errors=True)

    with pytest.raises(UsageError, match="is damaged"):
        dd.write(plan.apply(dataset), tmp_path / "out", "coco")


def test_members_that_are_no_arrays_give_way_to_those_of_other_files(tmp_path: Path) -> None:
    """One file has a number for its categories; what is split anew has the other's."""
    entries = [{"id": number, "file_name": f"{number}.jpg", "width": 64, "height": 48} for number in (1, 2)]
    files: dict[str, str | bytes] = {
        "annotations/instances_train.json": document(images=entries[:1], annotations=[], categories=0),
        "annotations/instances_val.json": document(images=entries[1:], annotations=[{"id": 1, "image_id": 2, "category_id": 1, **SQUARE}]),
    }
    dataset = dd.read(save(tmp_path / "data", files, ("images/train/1.jpg", "images/val/2.jpg")))
    dd.write(dd.split(dataset, ratios=(0.5, 0.5), group_by="none").apply(dataset), tmp_path / "out", "coco")

    assert dd.read(tmp_path / "out").class_names == ("cat",)


def test_lists_of_images_of_one_name_in_two_splits_read_back(tmp_path: Path) -> None:
    """A label file in each split's folder, images numbered from one in both: repeated records lead to the right ones."""
    one = document(
        images=[{"id": 1, "file_name": "1.jpg", "width": 64, "height": 48}],
        annotations=[{"id": 1, "image_id": 1, "category_id": 1, **SQUARE}],
    )
    files: dict[str, str | bytes] = {f"{folder}/_annotations.coco.json": one for folder in ("train", "extra")}
    dataset = dd.read(save(tmp_path / "data", files, ("train/1.jpg", "extra/1.jpg")))
    plan = dd.rebalance(dataset, method="repeat_factor", split="train")
    dd.write(plan.apply(dataset), tmp_path / "out", "coco", materialize="list")

    assert len(dataset.splits) == 2
    assert dd.read(tmp_path / "out").images.has_file.tolist() == [True, True]


def test_a_list_that_leads_outside_is_left_out(tmp_path: Path) -> None:
    """It was not followed when the dataset was read, and does not keep it from being written."""
    label = "<annotation><filename>a.jpg</filename><size><width>64</width><height>48</height></size></annotation>"
    root = save(tmp_path / "data", {"Annotations/a.xml": label, "ImageSets/Main/val.txt": "a\n"}, ("JPEGImages/a.jpg",))
    (tmp_path / "elsewhere.txt").write_text("a\n")
    (root / "ImageSets/Main/train.txt").symlink_to(tmp_path / "elsewhere.txt")
    out = tmp_path / "out"
    dd.write(dd.read(root), out, "voc")

    assert sorted(file.name for file in (out / "ImageSets/Main").iterdir()) == ["val.txt"]


def test_a_manifest_that_names_a_file_without_utf8_is_read(tmp_path: Path) -> None:
    """Its repeats count, whatever bytes another image's name is made of."""
    entries = [{"id": 1, "file_name": "a.jpg", "width": 64, "height": 48}, {"id": 2, "file_name": "\udcff.jpg", "width": 64, "height": 48}]
    records = [{"id": n, "image_id": 1 + (n > 3), "category_id": 1 + (n > 3), **SQUARE} for n in (1, 2, 3, 4)]
    whole = document(images=entries, annotations=records, categories=[{"id": 1, "name": "cat"}, {"id": 2, "name": "dog"}])
    dataset = dd.read(save(tmp_path / "data", {"instances.json": whole}))
    treated = dd.rebalance(dataset, method="oversample", target="uniform").apply(dataset)
    dd.write(treated, tmp_path / "out", "coco", materialize="list")

    assert dd.read(tmp_path / "out").n_images == treated.n_images > 2
