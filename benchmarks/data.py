"""Make the data of one benchmark case: `data.py KIND SCALE FOLDER --generator gen_labels.py`.

The label files come from the seeded generator that lies beside the project (`shared/bench/gen_labels.py`). It makes links that lead
outside the dataset for images; here they become hard links to one small picture inside it, as a dataset holds its own files.
"""

import argparse
import os
import shutil
import subprocess
import sys
from pathlib import Path

LINKS = 30_000
"""Hard links to one file, below the limit of common file systems (65,000)."""

PHOTOS = {"photos-small": (3_000, 0), "photos-large": (0, 1_500)}
"""How many photos of 640 × 480 and of 1920 × 1080 pixels a kind has."""


def main() -> None:
    """Generate into a folder beside the target, then rename: what has the final name is complete."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("kind", choices=("coco", "coco-boxes", "voc", "yolo", *PHOTOS))
    parser.add_argument("scale", type=float, help="1 is COCO train2017: 118,287 images, 860,001 annotations; 3,000 or 1,500 photos")
    parser.add_argument("folder", type=Path, help="folder to make")
    parser.add_argument("--generator", type=Path, required=True, help="path of gen_labels.py, or of gen_images.py for photos")
    arguments = parser.parse_args()
    folder, staged = arguments.folder.absolute(), arguments.folder.absolute().with_name(arguments.folder.name + f".{os.getpid()}.part")
    staged.mkdir(parents=True)
    command = [sys.executable, os.fspath(arguments.generator), arguments.kind, str(arguments.scale)]
    if arguments.kind == "yolo":
        picture = staged / "picture.jpg"
        draw(picture)
        run([*command, os.fspath(staged / "data"), "--img", os.fspath(picture)])
        own_the_images(staged / "data" / "images" / "train", picture)
        # The generator names the folder it was given, which will be renamed, and the training images as validation images too.
        config = staged / "data" / "data.yaml"
        config.write_text("".join(line for line in config.read_text().splitlines(keepends=True) if not line.startswith(("path:", "val:"))))
    elif arguments.kind in PHOTOS:
        small, large = (str(round(n * arguments.scale)) for n in PHOTOS[arguments.kind])
        run([sys.executable, os.fspath(arguments.generator), os.fspath(staged / "photos"), small, large])
        in_two_folders(staged / "photos", staged / "data")
    elif arguments.kind == "voc":
        run([*command, os.fspath(staged / "data")])
    else:
        (staged / "data").mkdir()
        run([*command, os.fspath(staged / "data" / "instances_train.json")])
    (staged / "data").rename(folder)
    for left in staged.iterdir():
        left.unlink()
    staged.rmdir()


def in_two_folders(folder: Path, target: Path) -> None:
    """Move files into two class folders, as an image folder dataset has."""
    for i, file in enumerate(sorted(folder.iterdir())):
        inside = target / ("even", "odd")[i % 2]
        inside.mkdir(parents=True, exist_ok=True)
        file.rename(inside / file.name)
    folder.rmdir()


def run(command: list[str]) -> None:
    """Run the generator; its talk goes to stderr."""
    subprocess.run(command, check=True, stdout=sys.stderr)


def draw(path: Path) -> None:
    """Draw a picture of 640 × 480 pixels in a few kilobytes."""
    from PIL import Image

    Image.linear_gradient("L").resize((640, 480)).convert("RGB").save(path, quality=85)


def own_the_images(folder: Path, picture: Path) -> None:
    """Replace every link in the folder by a hard link to a copy of the picture, with a new copy where a file has had its share."""
    copy = picture
    for i, link in enumerate(sorted(folder.iterdir())):
        link.unlink()
        if i % LINKS == 0:
            shutil.copyfile(picture, link)
            copy = link
        else:
            link.hardlink_to(copy)


if __name__ == "__main__":
    main()
