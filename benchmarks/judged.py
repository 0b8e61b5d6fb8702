"""Compare what the checks say of real images with what a person saw in them, and publish how often they are right.

    python benchmarks/judged.py --work /tmp/judged

`judged_pictures.csv` has a line an image and a check: the dataset, the image, whether it was flagged when it was judged, and whether the
check's claim is true of it (`yes` or `no`), judged by eye on contact sheets; `judged_pairs.csv` has one a pair of images. What is flagged
now comes from the code as it is; `--update` writes it into the files. The tables, with Wilson's intervals, replace the blocks "judged" and
"judged pairs" in docs/pixels.md.

Datasets are the open ones in `--data`, and those that `variants.py` makes of their photos. `--sheets DIR` draws contact sheets of what is
flagged and has not been judged, with a list of the images beside each.
"""

from __future__ import annotations

import argparse
import csv
import math
import re
import sys
import tarfile
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import variants

if TYPE_CHECKING:
    from dataset_doctor.dataset import Dataset

HERE = Path(__file__).resolve().parent
DATA = HERE.parents[1] / "shared" / "data"
PAGE = HERE.parent / "docs" / "pixels.md"
BLOCKS = {
    file: re.compile(rf"(?<=<!-- {name} -->\n).*?(?=<!-- /{name} -->)", re.S)
    for file, name in {"judged_pictures.csv": "judged", "judged_pairs.csv": "judged pairs"}.items()
}

CHECKS = ("image-dark", "image-bright", "image-low-information", "image-blurry", "image-grey-among-colour")
"""The checks whose claims can be seen in a picture; the others state what is written in the file."""

ORDINARY = "/ordinary-"
"""Part of the names of photos among which variants stand, the same in each of their datasets."""

Z = 1.959964
"""Of a normal distribution, for intervals of 95 %."""


@dataclass(frozen=True)
class Judged:
    """What a person saw: whether the claim of a check is true of an image, or of several, named in `images`."""

    dataset: str
    images: tuple[str, ...]
    check: str
    flagged: bool
    true: bool


# Datasets -----------------------------------------------------------------------------------------------------------


def _unpacked(archive: Path, work: Path) -> Path:
    folder = work / archive.parent.name / archive.name.removesuffix(".tar")
    if not folder.is_dir():
        part = folder.with_suffix(".part")
        part.mkdir(parents=True, exist_ok=True)
        with tarfile.open(archive) as tar:
            tar.extractall(part, filter="data")
        part.rename(folder)
    return folder


def _voc100(data: Path) -> Dataset:
    import dataset_doctor as dd

    return dd.read(data / "voc100_multiformat/gts/pascalvoc_format", images=data / "voc100_multiformat/images")


def is_variant(name: str) -> bool:
    """Tell whether a dataset is made of changed photos."""
    return "/" in name


def _read(path: Path) -> Dataset:
    import dataset_doctor as dd

    return dd.read(path)


def datasets(data: Path, work: Path) -> Iterator[tuple[str, Callable[[], Dataset]]]:
    """Give the name of each dataset, and how to read it."""
    for name in ("aquarium_yolo", "bccd_voc", "amenity_coco"):
        yield name, lambda name=name: _read(data / name)
    yield "clothing64", lambda: _read(data / "clothing64/images")
    yield "voc100", lambda: _voc100(data)
    yield "cifar10_lt100", lambda: _read(_unpacked(data / "cifar10_lt100.tar", work))
    yield "cifar10n_4k", lambda: _read(_unpacked(data / "cifar10n_4k/images.tar", work))
    amenity = sorted((data / "amenity_coco/train").glob("*.jpg"))
    voc = sorted((data / "voc100_multiformat/images").glob("*.jpg"))
    aquarium = sorted((data / "aquarium_yolo/train/images").glob("*.jpg"))
    large = amenity[::11] + voc[::12] + aquarium[::50]
    others = [photo for photo in amenity[::2] + voc[1::2] + aquarium[1::9] if photo not in large]
    for name, folder in variants.make(large, others, work / "large"):
        yield f"large/{name}", lambda folder=folder: _read(folder)
    small = sorted(_unpacked(data / "cifar10n_4k/images.tar", work).rglob("*.jpg"))
    for name, folder in variants.make(small[7::190][:20], small[::11], work / "small"):
        yield f"small/{name}", lambda folder=folder: _read(folder)


# Flagged now --------------------------------------------------------------------------------------------------------


def flagged_pictures(dataset: Dataset, work: Path) -> dict[str, set[tuple[str, ...]]]:
    """Give the images that each check of pictures flags."""
    from dataset_doctor.audit import examine
    from dataset_doctor.checks import select
    from dataset_doctor.scan import scan

    pixels = scan(dataset, cache=work / "cache")
    report = examine(dataset, checks=select(CHECKS), locations=None, pixels=pixels)
    found = {finding.name: {str(place.image) for place in finding.locations} for finding in report.findings}
    return {check: {(image,) for image in images if ORDINARY not in image} for check, images in found.items()}


def flagged_pairs(dataset: Dataset, work: Path) -> dict[str, set[tuple[str, ...]]]:
    """Give the pairs that are said to be of one shot; under split-leakage those beyond doubt that lie in different splits."""
    from dataset_doctor.scan import look

    found = look(dataset, cache=work / "cache")[1]
    names, member = dataset.images.file_name, dataset.images.in_split
    apart = (member[found.near_pairs[:, 0]] != member[found.near_pairs[:, 1]]).any(axis=1)
    leaking = found.near_pairs[found.near_certain & apart]
    return {
        "image-near-duplicate": {(str(names[a]), str(names[b])) for a, b in found.near_pairs.tolist()},
        "split-leakage": {(str(names[a]), str(names[b])) for a, b in leaking.tolist()},
    }


FILES: Mapping[str, Callable[[Dataset, Path], dict[str, set[tuple[str, ...]]]]] = {
    "judged_pictures.csv": flagged_pictures,
    "judged_pairs.csv": flagged_pairs,
}
"""For each file of judgements what flags images, or tuples of images, under each check. The columns between `dataset` and `check` name
them."""


# The table ----------------------------------------------------------------------------------------------------------


def read_judgements(path: Path) -> list[Judged]:
    """Read the file of judgements."""
    with path.open(encoding="utf-8", newline="") as stream:
        rows = list(csv.reader(stream))
    return [Judged(row[0], tuple(row[1:-3]), row[-3], row[-2] == "yes", row[-1] == "yes") for row in rows[1:]]


def write_judgements(path: Path, header: Sequence[str], judged: Sequence[Judged]) -> None:
    """Write the file of judgements, in order."""
    said = {True: "yes", False: "no"}
    rows = sorted((j.dataset, *j.images, j.check, said[j.flagged], said[j.true]) for j in judged)
    with path.open("w", encoding="utf-8", newline="") as stream:
        csv.writer(stream, lineterminator="\n").writerows([header, *rows])


def wilson(true: int, n: int) -> tuple[float, float]:
    """Give the interval of a share (Wilson, 1927)."""
    if not n:
        return 0.0, 1.0
    centre = (true + Z**2 / 2) / (n + Z**2)
    reach = Z / (n + Z**2) * math.sqrt(true * (n - true) / n + Z**2 / 4)
    return max(0.0, centre - reach), min(1.0, centre + reach)


def table(judged: Sequence[Judged], flagged: Mapping[str, Mapping[str, int]]) -> list[str]:
    """Write a row a check: how much of what it flags is so, and how much of what it does not flag is so too.

    `flagged` counts what each check flags in each dataset.
    """
    lines = [
        "| check | flagged in open datasets | right | flagged in variants | right | precision (95 %) | not flagged, judged | of these so |",
        "|---|---:|---:|---:|---:|---|---:|---:|",
    ]
    for check in sorted({j.check for j in judged}):
        rows = [j for j in judged if j.check == check and j.flagged]
        passed = [j for j in judged if j.check == check and not j.flagged]
        right = sum(j.true for j in rows)
        low, high = wilson(right, len(rows))
        cells = [f"`{check}`"]
        for variant in (False, True):
            n = sum(counts.get(check, 0) for name, counts in flagged.items() if is_variant(name) == variant)
            here = [j.true for j in rows if is_variant(j.dataset) == variant]
            cells += [f"{n:,}", f"{sum(here):,} of {len(here):,}" if here else "–"]
        cells.append(f"{right / len(rows):.3f} ({low:.3f} to {high:.3f})" if rows else "–")
        lines.append(f"| {' | '.join([*cells, f'{len(passed):,}', str(sum(j.true for j in passed))])} |")
    return lines


def variant_table(flagged: Mapping[str, Mapping[str, int]]) -> list[str]:
    """Write a row a variant: what is flagged of its photos, large and small."""
    lines = ["| variant | flagged of 27 photos | flagged of 20 images of 32 px |", "|---|---|---|"]
    for variant in variants.VARIANTS:
        cells = []
        for size in ("large", "small"):
            counts = {check: n for check, n in flagged.get(f"{size}/{variant}", {}).items() if n}
            short = {check.removeprefix("image-").removesuffix("-among-colour"): n for check, n in counts.items()}
            cells.append(", ".join(f"{check} {n}" for check, n in short.items()) or "–")
        lines.append(f"| {variant.replace(' x ', ' × ')} | {' | '.join(cells)} |")
    return lines


def contact_sheet(paths: Sequence[Path], target: Path, *, cell: int = 110, columns: int = 16, first: int = 0) -> None:
    """Draw images side by side with their numbers."""
    from PIL import Image, ImageDraw, ImageOps

    rows = -(-len(paths) // columns)
    sheet = Image.new("RGB", (columns * (cell + 4), rows * (cell + 14)), (70, 0, 90))
    draw = ImageDraw.Draw(sheet)
    for i, path in enumerate(paths):
        left, top = (i % columns) * (cell + 4), (i // columns) * (cell + 14)
        with Image.open(path) as image:
            upright = ImageOps.exif_transpose(image).convert("RGB")
        scale = cell / max(upright.size)
        way = Image.Resampling.NEAREST if scale > 1 else Image.Resampling.LANCZOS
        sheet.paste(upright.resize([max(1, round(side * scale)) for side in upright.size], way), (left, top + 12))
        draw.text((left + 1, top), str(first + i), fill=(255, 255, 0))
    sheet.save(target)


def main() -> None:
    """Look at all datasets with the code as it is, and write the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=DATA, help="folder of the open datasets")
    parser.add_argument("--work", type=Path, required=True, help="folder for what is unpacked and made, kept for the next run")
    parser.add_argument("--page", type=Path, default=PAGE, help="page whose block is replaced")
    parser.add_argument("--update", action="store_true", help="write what is flagged now into the files of judgements")
    parser.add_argument("--sheets", type=Path, help="draw contact sheets of flagged images without a judgement into this folder")
    parser.add_argument("--only", choices=FILES, help="one file of judgements alone")
    options = parser.parse_args()
    work: Path = options.work.absolute()
    read = dict(datasets(options.data.absolute(), work))
    for file, flag in FILES.items():
        if options.only not in (None, file):
            continue
        path = HERE / file
        judged = read_judgements(path)
        with path.open(encoding="utf-8", newline="") as stream:
            header = next(csv.reader(stream))
        now: list[Judged] = []
        counts: dict[str, dict[str, int]] = {}
        unjudged: dict[str, list[tuple[str, Path]]] = defaultdict(list)
        for name, make in read.items():
            if is_variant(name) and file == "judged_pairs.csv":
                continue  # what is made of one photo is a pair
            dataset = make()
            flagged = flag(dataset, work)
            now += [replace(j, flagged=j.images in flagged.get(j.check, ())) for j in judged if j.dataset == name]
            seen = {(j.images, j.check) for j in judged if j.dataset == name}
            for check, images in flagged.items():
                unjudged[check] += [(f"{name},{','.join(i)}", dataset.root / i[0]) for i in sorted(images) if (i, check) not in seen]
            counts[name] = {check: len(images) for check, images in flagged.items() if images}
            print(name, counts[name], file=sys.stderr)
        if options.update:
            write_judgements(path, header, now)
        if options.sheets:
            options.sheets.mkdir(parents=True, exist_ok=True)
            for check, images in ((check, images) for check, images in unjudged.items() if images):
                for first in range(0, len(images), 160):
                    part = images[first : first + 160]
                    contact_sheet([image for _, image in part], options.sheets / f"{check}-{first:04}.png", first=first)
                listed = "".join(f"{i},{name}\n" for i, (name, _) in enumerate(images))
                (options.sheets / f"{check}.txt").write_text(listed, encoding="utf-8")
        lines = [*table(now, counts), ""]
        if file == "judged_pictures.csv":
            lines += [*variant_table(counts), ""]
        text = "\n".join(lines)
        print(text)
        if options.page.is_file():
            page = options.page.read_text(encoding="utf-8")
            options.page.write_text(BLOCKS[file].sub(lambda _, text=text: f"\n{text}\n", page), encoding="utf-8")


if __name__ == "__main__":
    main()
