"""Plant bad pictures among good photos, and compare what CleanVision finds with what this tool finds.

    python benchmarks/pictures.py --data /tmp/bench --peers-python /tmp/peers/bin/python

For each kind of flaw a dataset is made: good photos, and others to which the flaw was done, from faint to strong. Both tools look at it
with their defaults, CleanVision in a process of the peers' Python, this tool by its public door. The table says how many of the planted
pictures each has found under the kind's own name, and how many of the good photos it has flagged under any name. It replaces the block
"pictures" in RESULTS.md.

CleanVision looks for dark, light, blurry, grey, odd and low-information pictures, for identical files, and for pictures with one
perceptual hash; what else the table has, as copies mirrored, it does not promise.
"""

from __future__ import annotations

import argparse
import contextlib
import hashlib
import io
import json
import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from PIL.Image import Image as Picture

HERE = Path(__file__).resolve().parent
GENERATOR = HERE.parents[1] / "shared" / "bench" / "gen_images.py"
SCALE = "0.5"
"""Of the photos that `run.py` makes for its case `scan`: 1,500."""

CLEAN, PLANTED = 200, 8
"""Good photos a dataset, and planted pictures a strength."""

SHARP_BYTES = 80_000
"""The generator has blurred, darkened, bleached and copied some of its photos without saying which. At its quality of 93 those are smaller
files than this, or have been there before, or are grey."""

GREY_LEVELS = 6
"""Photos whose red and blue are nearer to green than this, on average, are mixed of grey ones."""

BLOCK = re.compile(r"\n*<!-- pictures -->\n.*?<!-- /pictures -->\n", re.S)


# What is planted ----------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Kind:
    """A kind of flaw: its name in CleanVision (its columns `is_NAME_issue`) and here, and how it is done, from faint to strong."""

    name: str
    theirs: tuple[str, ...]
    ours: tuple[str, ...]
    strengths: dict[str, Callable[[Picture], Picture | bytes]]
    suffix: str = ".jpg"
    beside_original: bool = False


def scaled(share: float) -> Callable[[Picture], Picture]:
    """Make darker."""
    return lambda photo: photo.point(lambda level: round(level * share))


def bleached(share: float) -> Callable[[Picture], Picture]:
    """Make the distance to white smaller."""
    return lambda photo: photo.point(lambda level: 255 - round((255 - level) * share))


def flattened(share: float) -> Callable[[Picture], Picture]:
    """Take the contrast away, around middle grey."""
    return lambda photo: photo.point(lambda level: round(128 + (level - 128) * share))


def blurred(sigma: float) -> Callable[[Picture], Picture]:
    """Blur with a Gaussian of so many pixels."""

    def blur(photo: Picture) -> Picture:
        from PIL import ImageFilter

        return photo.filter(ImageFilter.GaussianBlur(sigma))

    return blur


def dragged(length: int) -> Callable[[Picture], Picture]:
    """Blur along a row of so many pixels, as a camera that moves does."""

    def blur(photo: Picture) -> Picture:
        import numpy as np
        from PIL import Image

        values = np.cumsum(np.asarray(photo, np.float64), axis=1)
        return Image.fromarray(((values[:, length:] - values[:, :-length]) / length).astype(np.uint8)).resize(photo.size)

    return blur


def sized(width: int, height: int) -> Callable[[Picture], Picture]:
    """Scale to a size, after a crop to its shape."""

    def fit(photo: Picture) -> Picture:
        from PIL import ImageOps

        return ImageOps.fit(photo, (width, height))

    return fit


def filled(photo: Picture) -> Picture:
    """Paint everything in one of the picture's colours."""
    from PIL import Image

    return Image.new("RGB", photo.size, photo.getpixel((9, 9)))


def placeholder(photo: Picture) -> Picture:
    """Draw a small sign on a plain ground, as where a download has failed."""
    from PIL import ImageDraw

    made = filled(photo)
    ImageDraw.Draw(made).text((250, 220), "image not available")
    return made


def mask(photo: Picture) -> Picture:
    """Keep two levels, as a mask has."""
    return photo.convert("L").point(lambda level: 255 * (level > 128)).convert("RGB")


def encoded(photo: Picture, file_format: str = "JPEG", quality: int = 93) -> bytes:
    """Encode a picture."""
    stream = io.BytesIO()
    photo.save(stream, file_format, quality=quality)
    return stream.getvalue()


def recompressed(quality: int) -> Callable[[Picture], bytes]:
    """Encode with another quality."""
    return lambda photo: encoded(photo, quality=quality)


def mirrored(photo: Picture) -> Picture:
    """Exchange left and right."""
    from PIL import ImageOps

    return ImageOps.mirror(photo)


def faded(share: float) -> Callable[[Picture], Picture]:
    """Take colour away."""

    def fade(photo: Picture) -> Picture:
        from PIL import ImageEnhance

        return ImageEnhance.Color(photo).enhance(share)

    return fade


KINDS = (
    Kind("dark", ("dark",), ("image-dark",), {f"× {s}": scaled(s) for s in (0.5, 0.3, 0.2, 0.1, 0.05)}),
    Kind("bright", ("light",), ("image-bright",), {f"distance to white × {s}": bleached(s) for s in (0.3, 0.15, 0.08, 0.04)}),
    Kind(
        "blurry", ("blurry",), ("image-blurry",),
        {**{f"Gaussian, {s} px of 640": blurred(s) for s in (2, 4, 6, 8, 12)}, **{f"dragged over {n} px": dragged(n) for n in (16, 40)}},
    ),
    Kind(
        "low information", ("low_information",), ("image-low-information",),
        {"contrast × 0.1": flattened(0.1), "contrast × 0.03": flattened(0.03), "two levels": mask, "a sign on one colour": placeholder,
         "one colour": filled},
    ),
    Kind(
        "odd aspect", ("odd_aspect_ratio",), ("image-odd-aspect",),
        {f"{w} × {h}": sized(w, h) for w, h in ((640, 256), (640, 213), (160, 480), (640, 80))},
    ),
    Kind(
        "odd size", ("odd_size",), ("image-odd-size",),
        {f"{w} × {h}": sized(w, h) for w, h in ((400, 300), (240, 180), (96, 72), (32, 24), (1920, 1440))},
    ),
    Kind(
        "grey", ("grayscale",), ("image-grey-among-colour",),
        {"colour × 0.2": faded(0.2), "three equal channels": faded(0.0), "one channel": lambda photo: photo.convert("L")},
    ),
    Kind("same file", ("exact_duplicates",), ("image-duplicate",), {"bytes": lambda photo: b""}, beside_original=True),
    Kind(
        "same pixels", ("exact_duplicates", "near_duplicates"), ("image-duplicate",),
        {"as PNG": lambda photo: encoded(photo, "PNG")}, ".png", beside_original=True,
    ),
    Kind(
        "nearly the same", ("exact_duplicates", "near_duplicates"), ("image-near-duplicate", "image-duplicate"),
        {"quality 75": recompressed(75), "quality 40": recompressed(40),
         "90 % of the size": sized(576, 432), "half the size": sized(320, 240),
         "15 % brighter": scaled(1.15), "mirrored": mirrored, "grey": lambda photo: photo.convert("L")},
        beside_original=True,
    ),
)  # fmt: skip


def photos_in(folder: Path) -> Iterator[bytes]:
    """Give those photos of the generator that are as it has made them first."""
    from PIL import Image, ImageChops, ImageStat

    seen = set()
    for path in sorted(folder.rglob("*.jpg")):
        data = path.read_bytes()
        digest = hashlib.sha256(data).digest()
        if len(data) < SHARP_BYTES or digest in seen:
            continue
        seen.add(digest)
        with Image.open(io.BytesIO(data)) as photo:
            red, green, blue = photo.split()
            if min(ImageStat.Stat(ImageChops.difference(a, green)).mean[0] for a in (red, blue)) > GREY_LEVELS:
                yield data


def plant(kind: Kind, photos: Iterator[bytes], root: Path, clean: int = CLEAN, each: int = PLANTED) -> dict[str, list[str]]:
    """Write good photos and planted pictures into two classes; give the names of the planted ones by strength."""
    from PIL import Image

    (root / "train" / "photo").mkdir(parents=True)
    for i in range(clean):
        (root / f"train/photo/good-{i:03}.jpg").write_bytes(next(photos))
    names: dict[str, list[str]] = {}
    for number, (strength, change) in enumerate(kind.strengths.items()):
        for i in range(each):
            data = next(photos)
            original, name = root / f"train/photo/original-{number}-{i}.jpg", f"train/photo/planted-{number}-{i}{kind.suffix}"
            if kind.beside_original:
                original.write_bytes(data)
            made = change(Image.open(io.BytesIO(data)))
            (root / name).write_bytes((made or data) if isinstance(made, bytes) else encoded(made))
            names.setdefault(strength, []).append(name)
    return names


# What the tools find ------------------------------------------------------------------------------------------------


def ours(root: Path) -> dict[str, list[str]]:
    """Audit the pictures; give the names of the images under each finding."""
    import dataset_doctor as dd
    from dataset_doctor.audit import examine
    from dataset_doctor.checks import select
    from dataset_doctor.scan import look

    dataset = dd.read(root, format="folder")
    pixels, duplicates = look(dataset, cache=None)
    report = examine(dataset, checks=select(["DD4", "DD5"]), locations=None, pixels=pixels, duplicates=duplicates)
    return {finding.name: [str(place.image) for place in finding.locations] for finding in report.findings}


def theirs(root: Path) -> dict[str, list[str]]:
    """Let CleanVision look for all that it knows; give the names of the images under each issue."""
    from cleanvision import Imagelab

    with contextlib.redirect_stdout(sys.stderr):
        lab = Imagelab(data_path=os.fspath(root))
        lab.find_issues(n_jobs=os.cpu_count(), verbose=False)
    table = lab.issues
    columns = [column for column in table.columns if column.startswith("is_") and column.endswith("_issue")]
    return {column[3:-6]: [os.path.relpath(path, root) for path in table.index[table[column]]] for column in columns}


def theirs_elsewhere(root: Path, python: Path) -> dict[str, list[str]]:
    """Run `theirs` with the peers' Python."""
    command = [os.fspath(python), __file__, "--cleanvision", os.fspath(root)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        sys.exit(f"CleanVision did not run: {done.stderr.strip().splitlines()[-1:]}")
    found: dict[str, list[str]] = json.loads(done.stdout.splitlines()[-1])
    return found


# The table ----------------------------------------------------------------------------------------------------------


def rows_of(kind: Kind, planted: dict[str, list[str]], by_them: dict[str, list[str]], by_us: dict[str, list[str]]) -> list[str]:
    """Write a row for each strength, and one for the good photos."""
    named = [{image for name in names for image in found.get(name, ())} for names, found in ((kind.theirs, by_them), (kind.ours, by_us))]
    lines, title = [], f"**{kind.name}**"
    for strength, names in planted.items():
        them, us = (len(images.intersection(names)) for images in named)
        lines.append(f"| {title} | {strength} | {len(names)} | {them} | {'**' + str(us) + '**' if us < them else us} |")
        title = ""
    alarms = [{image for images in found.values() for image in images if "/good-" in image} for found in (by_them, by_us)]
    them, us = map(len, alarms)
    lines.append(f"| | *good photos flagged, of any kind* | {CLEAN} | {them} | {'**' + str(us) + '**' if us > them else us} |")
    return lines


def photo_folder(data: Path, python: Path) -> Path:
    """Give the folder of generated photos; makes it where it is not there."""
    folder = data / f"photos-small-{SCALE}"
    if not folder.is_dir():
        command = [
            os.fspath(python),
            os.fspath(HERE / "data.py"),
            "photos-small",
            SCALE,
            os.fspath(folder),
            "--generator",
            os.fspath(GENERATOR),
        ]
        subprocess.run(command, check=True, stdout=sys.stderr)
    return folder


def main() -> None:
    """Make the datasets, let both tools look, and write the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, help="folder to make the photos in and find them again (default: a temporary one)")
    parser.add_argument("--peers-python", type=Path, default=Path(sys.executable), help="Python that has CleanVision installed")
    parser.add_argument("--output", type=Path, default=HERE, help="folder of RESULTS.md (default: this one)")
    parser.add_argument("--cleanvision", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.cleanvision:
        print(json.dumps(theirs(options.cleanvision)))
        return
    lines = ["| planted | how | pictures | CleanVision | this tool |", "|---|---|---:|---:|---:|"]
    with tempfile.TemporaryDirectory(prefix="dataset-doctor-pictures-") as temporary:
        folder = photo_folder((options.data or Path(temporary)).absolute(), options.peers_python)
        for kind in KINDS:
            root = Path(temporary, kind.name.replace(" ", "-"))
            planted = plant(kind, photos_in(folder), root)
            lines += rows_of(kind, planted, theirs_elsewhere(root, options.peers_python), ours(root))
            print("\n".join(lines[-len(planted) - 1 :]), file=sys.stderr)
    table = "\n".join(lines)
    said = (
        f"Each kind is planted in {CLEAN} good photos of 640 × 480, {PLANTED} pictures a strength; found under the kind's own name."
        " `python benchmarks/pictures.py` writes this block. Bold: fewer planted pictures found, or more good ones flagged, than by"
        " CleanVision; where it finds one of eight, that is no more than it flags among good photos. Photos of half the light are not"
        " called very dark here, nor sharp ones of two levels empty."
    )
    path = options.output / "RESULTS.md"
    page = BLOCK.sub("", path.read_text(encoding="utf-8")).rstrip("\n") if path.is_file() else ""
    path.write_text(f"{page}\n\n<!-- pictures -->\n## Bad pictures\n\n{said}\n\n{table}\n<!-- /pictures -->\n", encoding="utf-8")
    print(table)


if __name__ == "__main__":
    main()
