"""Images: what is cut out where, what is left out and said, and the numbers that scale them."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from dataset_doctor.balance.presets import PRESETS, Augmentation
from dataset_doctor.dataset import Dataset
from dataset_doctor.formats import read
from dataset_doctor.pixels import FileState
from dataset_doctor.scan import scan
from dataset_doctor.trials.augmentation import augment
from dataset_doctor.trials.images import choose, load
from tests.drawing import draw
from tests.trials.drawn import write_folders

SCENE = """
format: coco
classes: cat dog
a.png 100x80 train
  cat  10 20  30 50
  dog  60 10  90 30
b.png 100x80 val
  cat  40 40  45 46
  dog  80 70 120 80
  dog  50 50  50 60
  cat   0  0  40 40 crowd
c.png 100x80 test background
"""


def on_disk(root: Path, text: str = SCENE) -> Dataset:
    """Draw the scene's labels, and for each image an image: black, and each box red 200 for cats and green 100 for dogs."""
    dataset, _ = draw(text)
    for row, name in enumerate(dataset.images.file_name.tolist()):
        picture = np.zeros((80, 100, 3), np.uint8)
        for at in np.flatnonzero(dataset.annotations.image == row).tolist():
            x1, y1, x2, y2 = dataset.boxes[at].astype(int)
            channel = int(dataset.annotations.class_index[at])
            picture[max(y1, 0) : y2, max(x1, 0) : x2, channel] = (200, 100)[channel]
        Image.fromarray(picture).save(root / name)
    return dataclasses.replace(dataset, root=root)


def test_a_crop_is_a_square_around_the_box_with_a_margin(tmp_path: Path) -> None:
    """Box 10,20–30,50 is 20 × 30: with a tenth of 30 on each side the square is 36 wide around (20, 35)."""
    cuts = choose(on_disk(tmp_path), margin=0.1)

    assert cuts.window[0].tolist() == [2, 17, 38, 53]
    assert cuts.label.tolist() == [0, 1, 1]
    assert cuts.notes == (
        "1 instance left out: no box inside the image.",
        "1 instance left out: the longer side has fewer than 8 pixels.",
    )


def test_the_pixels_of_a_crop_are_those_of_the_box(tmp_path: Path) -> None:
    """A cat fills the middle 20 × 30 of 36 × 36 in red; a dog at the edge goes on beyond it."""
    data = load(on_disk(tmp_path), choose(on_disk(tmp_path), margin=0.1), 36)

    cat = data.train.pixels[0].numpy()
    assert (cat[3:33, 8:28] == [200, 0, 0]).all()
    assert not cat[:3].any() and not cat[:, :8].any()
    dog = data.val.pixels[0].numpy()  # 80,70–100,80 of the image: green up to its right and lower edge, and on
    assert (dog[-1, -1] == [0, 100, 0]).all()
    assert data.class_names == ("cat", "dog") and data.train_images.tolist() == [1, 1]


def test_background_crops_touch_no_label_and_are_a_class(tmp_path: Path) -> None:
    """Crowd regions and boxes of any kind are kept clear; images without labels have them too."""
    dataset = on_disk(tmp_path)
    cuts = choose(dataset, background=3)
    background = cuts.label == 2

    assert cuts.class_names == ("cat", "dog", "background") and cuts.has_background
    assert background.sum() >= 5 and 2 in cuts.image[background]
    for image, window in zip(cuts.image[background], cuts.window[background], strict=True):
        assert (window >= 0).all() and window[2] <= 100 + 1e-9 and window[3] <= 80 + 1e-9
        for box in dataset.boxes[dataset.annotations.image == image]:
            assert window[0] >= box[2] or window[2] <= box[0] or window[1] >= box[3] or window[3] <= box[1]
    assert (np.diff(cuts.image) >= 0).all()
    assert choose(dataset, background=3).window.tolist() == cuts.window.tolist()


def test_labels_of_a_turned_photo_count_as_they_were_written(tmp_path: Path) -> None:
    """The file is stored 80 × 100 and to be turned; labels for 100 × 80 mean the turned image, labels for 80 × 100 the stored one."""
    upright = np.zeros((80, 100, 3), np.uint8)
    upright[20:50, 10:30, 0] = 200
    exif = Image.Exif()
    exif[0x0112] = 6  # turn by 90° clockwise to see it upright
    Image.fromarray(np.rot90(upright).copy()).save(tmp_path / "a.png", exif=exif)
    for size, box in (("100x80", "10 20 30 50"), ("80x100", "20 70 50 90")):
        dataset, _ = draw(
            f"format: coco\nclasses: cat\na.png {size} train file=100x80\n  cat {box}\nb.png 9x9 val missing\nc.png 9x9 test missing\n"
        )
        dataset = dataclasses.replace(dataset, root=tmp_path)

        pixels = load(dataset, choose(dataset, margin=0), 30).train.pixels[0].numpy()

        assert pixels[10:20, 10:20, 0].min() > 190, size
        assert int((pixels[..., 0] > 100).sum()) == pytest.approx(600, abs=60), size


def test_a_whole_image_is_cut_to_its_middle(tmp_path: Path) -> None:
    """Of 48 × 24 the middle 24 × 24, shrunk to 12 × 12."""
    for split in ("train", "val", "test"):
        for name in ("left", "right"):
            (tmp_path / split / name).mkdir(parents=True)
            picture = np.zeros((24, 48, 3), np.uint8)
            picture[:, 12:24] = 90
            picture[:, 24:36] = 180
            Image.fromarray(picture).save(tmp_path / split / name / "a.png")
    dataset = read(tmp_path)

    pixels = load(dataset, choose(dataset), 12).train.pixels[0].numpy()

    assert (pixels[:, :6] == 90).all() and (pixels[:, 6:] == 180).all()


def test_mean_and_spread_are_those_of_the_training_split(tmp_path: Path) -> None:
    """Over training images alone, 0 to 1."""
    dataset = read(write_folders(tmp_path, {"train": (4, 3), "val": (2, 2), "test": (2, 2)}, side=16))
    data = load(dataset, choose(dataset), 16)
    values = data.train.pixels.numpy().reshape(-1, 3) / 255

    np.testing.assert_allclose(data.mean, values.mean(axis=0), rtol=1e-9)
    np.testing.assert_allclose(data.std, values.std(axis=0), rtol=1e-9)
    assert data.counts.tolist() == [4, 3]


def test_damaged_and_missing_files_are_left_out_and_named(tmp_path: Path) -> None:
    """One file that a scan found broken, and one that breaks between scan and training."""
    dataset = read(write_folders(tmp_path, {"train": (4, 3), "val": (2, 2), "test": (2, 2)}, side=16))
    pixels = scan(dataset)
    pixels.state[dataset.images.file_name == "train/a/train0000.png"] = FileState.TRUNCATED
    (tmp_path / "train" / "b" / "train1000.png").write_bytes(b"broken since")

    data = load(dataset, choose(dataset), 16, pixels=pixels)

    assert data.counts.tolist() == [3, 2]
    assert data.notes == ("2 images left out, missing or damaged: train/a/train0000.png, train/b/train1000.png.",)


# Augmentation -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", sorted(PRESETS))
def test_every_preset_keeps_shape_and_range(name: str) -> None:
    """Values stay near 0 to 1, images keep their place in the batch, and chance decides alone."""
    batch = torch.rand(6, 3, 16, 16)
    torch.manual_seed(0)
    one = augment(batch, PRESETS[name].training)
    torch.manual_seed(0)

    assert torch.equal(augment(batch, PRESETS[name].training), one)
    assert one.shape == batch.shape and float(one.min()) > -1 and float(one.max()) < 2
    assert torch.equal(one, batch) == (name == "none")


def test_flips_and_whole_shifts_move_pixels_without_blur() -> None:
    """A single bright pixel stays one bright pixel, mirrored half the time, and moves by whole pixels."""
    batch = torch.zeros(64, 3, 8, 8)
    batch[:, :, 3, 2] = 1
    torch.manual_seed(0)
    flipped = augment(batch, Augmentation(flip=True))
    shifted = augment(batch, Augmentation(shift=0.25))

    assert flipped[:, 0, 3, 2].sum() + flipped[:, 0, 3, 5].sum() == 64
    assert 16 < flipped[:, 0, 3, 5].sum() < 48
    assert torch.allclose(shifted.amax(dim=(1, 2, 3)), torch.ones(64), atol=1e-5)
    places = shifted[:, 0].flatten(1).argmax(dim=1)
    assert set((places // 8).tolist()) == {1, 2, 3, 4, 5} and set((places % 8).tolist()) == {0, 1, 2, 3, 4}


def test_upside_down_moves_rows_alone() -> None:
    """The bright pixel stays in its column, and is in its row or the opposite one."""
    batch = torch.zeros(64, 3, 8, 8)
    batch[:, :, 1, 2] = 1
    torch.manual_seed(0)
    turned = augment(batch, Augmentation(flip_vertical=True))[:, 0]

    assert turned[:, 1, 2].sum() + turned[:, 6, 2].sum() == pytest.approx(64, abs=1e-3)
    assert 16 < float(turned[:, 6, 2].sum()) < 48


def test_zoom_keeps_the_shape_and_turning_the_size() -> None:
    """A white square on black: by up to a half larger or smaller, as high as wide; turned, its area and middle stay."""
    batch = torch.zeros(32, 3, 32, 32)
    batch[:, :, 12:20, 12:20] = 1
    torch.manual_seed(0)
    zoomed = augment(batch, Augmentation(zoom=0.5))[:, 0]
    turned = augment(batch, Augmentation(degrees=45))[:, 0]
    width, height = zoomed.amax(dim=1).sum(dim=1), zoomed.amax(dim=2).sum(dim=1)

    assert torch.allclose(width, height, atol=0.01)
    assert 3.5 < float(width.min()) < 6 and 10 < float(width.max()) < 12.5
    assert torch.allclose(turned.sum(dim=(1, 2)), torch.full((32,), 64.0), atol=1.5)
    assert float(turned.amax(dim=1).sum(dim=1).max()) > 10


def test_quarter_turns_and_flips_give_all_eight_views() -> None:
    """An image without any symmetry is seen in eight ways, and in no other."""
    base = torch.zeros(3, 6, 6)
    base[:, 0, 1] = 1
    torch.manual_seed(0)
    seen = augment(base.expand(200, 3, 6, 6), Augmentation(flip=True, quarter_turns=True))
    views = {tuple(picture.round().flatten().tolist()) for picture in seen[:, 0]}
    expected = {tuple(torch.rot90(v, k).flatten().tolist()) for v in (base[0], base[0].flip(1)) for k in range(4)}

    assert views == expected
