"""Plant changed copies of real photos among the photos, run the whole audit's search for them, and say which kinds of change are found.

    python benchmarks/twins.py --data ../shared/data --update

Originals are every n-th image of each open dataset, copies are made of them in another split and class-less folder, one kind of change a
run; a copy is found where it is in one cluster with its original. Pairs of others that are joined besides are counted as well. `--update`
writes the table into docs/pixels.md, block "planted twins".
"""

from __future__ import annotations

import argparse
import io
import re
import tarfile
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageEnhance, ImageOps

HERE = Path(__file__).resolve().parent
PAGE = HERE.parent / "docs" / "pixels.md"
BLOCK = re.compile(r"(?<=<!-- planted twins -->\n).*?(?=<!-- /planted twins -->)", re.S)

SETS = {
    "photos, 64 to 640 px": ("aquarium_yolo/**/*.jpg", "bccd_voc/**/*.jpg", "amenity_coco/**/*.jpg", "voc100_multiformat/images/*.jpg"),
    "photos of 64 px": ("clothing64/images/**/*.jpg",),
    "photos of 32 px": ("cifar10n_4k/images.tar",),
}

Change = Callable[[Image.Image], Image.Image]


def cropped(left: float, top: float, right: float, bottom: float) -> Change:
    """Cut shares of the sides off, and scale what is left to the size before."""

    def change(image: Image.Image) -> Image.Image:
        w, h = image.size
        kept = image.crop((round(left * w), round(top * h), w - round(right * w), h - round(bottom * h)))
        return kept.resize((w, h), Image.Resampling.BICUBIC)

    return change


def shifted(share: float) -> Change:
    """Move to the lower right; the edge is repeated."""

    def change(image: Image.Image) -> Image.Image:
        dx, dy = round(share * image.width), round(share * image.height)
        levels = np.pad(np.asarray(image), ((dy, 0), (dx, 0), (0, 0)), mode="edge")
        return Image.fromarray(levels[: image.height, : image.width])

    return change


def recompressed(quality: int) -> Change:
    """Save as JPEG with few levels left."""

    def change(image: Image.Image) -> Image.Image:
        stored = io.BytesIO()
        image.save(stored, "JPEG", quality=quality)
        return Image.open(stored).convert("RGB")

    return change


def warmer(image: Image.Image) -> Image.Image:
    """Exchange some blue for red."""
    return Image.fromarray(np.clip(np.asarray(image) * [1.15, 1.0, 0.8], 0, 255).astype(np.uint8))


def with_logo(image: Image.Image) -> Image.Image:
    """Put a white plate with a bar into a corner, a fifth of the sides wide."""
    image = image.copy()
    w, h = image.size
    draw = ImageDraw.Draw(image)
    draw.rectangle((w * 0.75, h * 0.8, w * 0.97, h * 0.95), fill="white")
    draw.rectangle((w * 0.78, h * 0.85, w * 0.94, h * 0.9), fill="black")
    return image


CHANGES: dict[str, Change] = {
    "saved as JPEG of quality 30": recompressed(30),
    "half the size": lambda image: image.resize((image.width // 2, image.height // 2), Image.Resampling.LANCZOS),
    "30 % darker": lambda image: ImageEnhance.Brightness(image).enhance(0.7),
    "30 % brighter": lambda image: ImageEnhance.Brightness(image).enhance(1.3),
    "warmer colours": warmer,
    "grey": lambda image: ImageOps.grayscale(image).convert("RGB"),
    "mirrored": ImageOps.mirror,
    "turned by 90°": lambda image: image.transpose(Image.Transpose.ROTATE_90),
    "cropped by 5 % all around": cropped(0.05, 0.05, 0.05, 0.05),
    "cropped by 10 % all around": cropped(0.1, 0.1, 0.1, 0.1),
    "cropped by 15 % at one corner": cropped(0.15, 0.15, 0, 0),
    "shifted by 4 %": shifted(0.04),
    "shifted by 8 %": shifted(0.08),
    "mirrored, cropped by 5 %, darker": lambda image: ImageEnhance.Brightness(
        cropped(0.05, 0.05, 0.05, 0.05)(ImageOps.mirror(image))
    ).enhance(0.8),
    "turned by 2°": lambda image: image.rotate(2, Image.Resampling.BICUBIC),
    "with a logo": with_logo,
}


def originals(data: Path, patterns: tuple[str, ...], wanted: int) -> Iterator[Image.Image]:
    """Give evenly spread photos of some datasets."""
    for pattern in patterns:
        if pattern.endswith(".tar"):
            with tarfile.open(data / pattern) as archive:
                members = sorted((m for m in archive.getmembers() if m.name.endswith(".jpg")), key=lambda m: m.name)
                for member in members[:: max(1, len(members) // wanted)]:
                    stored = archive.extractfile(member)
                    assert stored is not None
                    yield Image.open(io.BytesIO(stored.read())).convert("RGB")
            continue
        names = sorted(data.glob(pattern))
        for name in names[:: max(1, len(names) * len(patterns) // wanted)]:
            with Image.open(name) as image:
                yield image.convert("RGB")


def found(photos: list[Image.Image], change: Change) -> tuple[int, int]:
    """Count the copies that are joined with their original, and the joined pairs of others."""
    from dataset_doctor.formats import read
    from dataset_doctor.scan import look

    with tempfile.TemporaryDirectory() as folder:
        for split, make in (("train", None), ("test", change)):
            place = Path(folder) / split / "thing"
            place.mkdir(parents=True)
            for number, photo in enumerate(photos):
                (make(photo) if make else photo).save(place / f"{number:04d}.png")
        dataset = read(Path(folder), "folder")
        same = look(dataset, cache=None)[1]
        number = [int(Path(name).stem) for name in dataset.images.file_name.tolist()]
        pairs = {tuple(sorted((number[a], number[b]))) for a, b in same.near_pairs.tolist()}
        groups: dict[int, list[int]] = {}
        for row, group in enumerate(same.near_group.tolist()):
            if group >= 0:
                groups.setdefault(group, []).append(number[row])
        joined = sum(len(members) - len(set(members)) for members in groups.values())
        return joined, sum(a != b for a, b in pairs)


def main() -> None:
    """Print the table, and write it into the documentation."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=HERE.parents[1] / "shared" / "data")
    parser.add_argument("--photos", type=int, default=120, help="originals of each set")
    parser.add_argument("--update", action="store_true")
    args = parser.parse_args()
    sets = {name: list(originals(args.data, patterns, args.photos)) for name, patterns in SETS.items()}
    lines = [
        "| copies | " + " | ".join(f"{name} ({len(photos)})" for name, photos in sets.items()) + " |",
        "|---|" + "---:|" * len(sets),
    ]
    for kind, change in CHANGES.items():
        cells = []
        for photos in sets.values():
            joined, others = found(photos, change)
            cells.append(f"{joined / len(photos):.0%}" + (f", {others} others" if others else ""))
        lines.append(f"| {kind} | " + " | ".join(cells) + " |")
        print(lines[-1], flush=True)
    if args.update:
        page = PAGE.read_text(encoding="utf-8")
        PAGE.write_text(BLOCK.sub(lambda _: "\n" + "\n".join(lines) + "\n\n", page), encoding="utf-8")


if __name__ == "__main__":
    main()
