"""What is timed. Each contender runs in a process of its own: `contenders.py NAME DATA` prints one JSON line.

A contender imports what it needs, then times one piece of work, then counts what it read, so that the driver can see that all
contenders of a case read the same. Imports are left out of the time, as they are the same for one file and for a hundred thousand
(the case `startup` times them). Only the standard library is imported at module level: what a contender does not use, its memory
must not show.
"""

from __future__ import annotations

import contextlib
import json
import os
import platform
import resource
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from importlib import metadata
from pathlib import Path
from typing import Any


class Timed:
    """Time a block; afterwards `seconds` is its wall time and `peak_bytes` the most memory the process (or a child) has held."""

    def __enter__(self) -> Timed:
        self.start = time.perf_counter()
        return self

    def __exit__(self, *_: object) -> None:
        self.seconds = time.perf_counter() - self.start
        of_both = (resource.getrusage(who).ru_maxrss for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
        self.peak_bytes = max(of_both) * (1 if sys.platform == "darwin" else 1024)


Outcome = tuple[Timed, dict[str, int], str]
"""The time, what was read (`images`, `annotations`, … where the contender can say), and the distribution whose version matters."""


# This tool ----------------------------------------------------------------------------------------------------------


def ours_read(path: str) -> Outcome:
    """Read a dataset into columns, image sizes from the files' headers included."""
    from dataset_doctor.formats import read

    with Timed() as timed:
        dataset = read(path)
    return timed, counts_of(dataset), "dataset-doctor-vision"


def ours_labels(path: str) -> Outcome:
    """Read and parse all YOLO label files, as `read` does once it knows which they are."""
    from dataset_doctor.formats._files import silent, walk
    from dataset_doctor.formats._yolo_rows import read_rows

    tree = walk(Path(path))
    names = [name for name in tree.with_suffix(".txt") if name.startswith("labels/")]
    with Timed() as timed:
        rows, *_ = read_rows(tree, names, names, silent)
    return timed, {"annotations": len(rows.line)}, "dataset-doctor-vision"


def ours_audit(path: str) -> Outcome:
    """Run the whole command, start of the interpreter included: read, audit the labels, write the JSON report."""
    command = [sys.executable, "-m", "dataset_doctor", "audit", path, "--no-pixels", "--json", "--fail-on", "never"]
    with Timed() as timed:
        done = subprocess.run(command, capture_output=True, check=False)
    if done.returncode:
        raise RuntimeError(f"exit code {done.returncode}: {' '.join(done.stderr.decode(errors='replace').split())[-300:]}")
    summary = json.loads(done.stdout)["summary"]
    return timed, {"images": summary["images"], "annotations": summary["annotations"]}, "dataset-doctor-vision"


def ours_scan(path: str) -> Outcome:
    """Scan all image files without a cache: state, EXIF, statistics, hashes. The start of the worker processes is in the time."""
    from dataset_doctor.formats import read
    from dataset_doctor.scan import scan

    dataset = read(path, format="folder")
    with Timed() as timed:
        pixels = scan(dataset, cache=None)
    return timed, {"images": int((pixels.state == 1).sum())}, "dataset-doctor-vision"


def ours_scan_warm(path: str) -> Outcome:
    """Scan again what has been scanned before, and has not changed."""
    import tempfile

    from dataset_doctor.formats import read
    from dataset_doctor.scan import scan

    dataset = read(path, format="folder")
    with tempfile.TemporaryDirectory() as folder:
        scan(dataset, cache=Path(folder))
        with Timed() as timed:
            pixels = scan(dataset, cache=Path(folder))
    return timed, {"images": int((pixels.state == 1).sum())}, "dataset-doctor-vision"


def counts_of(dataset: Any) -> dict[str, int]:
    """Count a Dataset's rows, and the bytes of its columns (the text of the file names included)."""
    import dataclasses

    size = 0
    for table in (dataset.images, dataset.annotations):
        for field in dataclasses.fields(table):
            column = getattr(table, field.name)
            size += column.nbytes
            if column.dtype == object:
                size += sum(map(sys.getsizeof, {id(value): value for value in column}.values()))
    return {"images": dataset.n_images, "annotations": dataset.n_annotations, "column_bytes": size}


# Floors: the least that any reader in Python has to do -----------------------------------------------------------------


def floor_coco(path: str) -> Outcome:
    """Decode a COCO file known to be perfect: typed, in chunks of 8 MiB, garbage collector off, into numpy columns.

    It checks nothing. It finds the arrays and cuts them by searching for text that a record's string may contain, takes the order of
    the members from the generator and the ids on trust, and fails at the first value of another type.
    """
    import gc
    import mmap
    from itertools import chain

    import msgspec
    import numpy as np

    class Image(msgspec.Struct, gc=False):
        id: int
        file_name: str
        width: int
        height: int

    class Annotation(msgspec.Struct, gc=False):
        id: int
        image_id: int
        category_id: int
        bbox: tuple[float, float, float, float]
        area: float
        iscrowd: int

    def records(array: bytes, until: bytes, record: type[Any]) -> Iterator[list[Any]]:
        decoder = msgspec.json.Decoder(list[record])  # type: ignore[valid-type]
        at = data.find(b"[", data.find(array)) + 1
        end = data.rfind(b"]", 0, data.rfind(until))
        while at < end:
            stop = end if at + (8 << 20) >= end else data.rfind(b"},{", at, at + (8 << 20)) + 1
            yield decoder.decode(b"[" + data[at:stop] + b"]")
            at = stop + 1

    def column(rows: list[Any], member: str, dtype: type[Any]) -> Any:
        return np.array([getattr(row, member) for row in rows], dtype)

    gc.disable()
    with Timed() as timed, Path(path).open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
        images, annotations = [], []
        for rows in records(b'"images"', b'"annotations"', Image):
            images.append((column(rows, "file_name", object), *(column(rows, name, np.int64) for name in ("id", "width", "height"))))
        for rows in records(b'"annotations"', b'"categories"', Annotation):
            boxes = np.fromiter(chain.from_iterable([row.bbox for row in rows]), np.float64, 4 * len(rows)).reshape(-1, 4)
            whole = (column(rows, name, np.int64) for name in ("id", "image_id", "category_id", "iscrowd"))
            annotations.append((boxes, column(rows, "area", np.float64), *whole))
        tables = [[np.concatenate(parts) for parts in zip(*table, strict=True)] for table in (images, annotations)]
    return timed, {"images": len(tables[0][0]), "annotations": len(tables[1][0])}, "msgspec"


def floor_files(path: str) -> Outcome:
    """Open, read and close every label file, one after another."""
    with Timed() as timed:
        names = [entry.path for entry in os.scandir(path)]
        for name in names:
            handle = os.open(name, os.O_RDONLY)
            os.read(handle, 1 << 20)
            os.close(handle)
    return timed, {"files": len(names)}, ""


def floor_decode(reduction: int) -> Callable[[str], Outcome]:
    """Read each file and decode it at a reduced scale, on a thread a core, and do nothing with it."""

    def work(path: str) -> Outcome:
        from concurrent.futures import ThreadPoolExecutor

        import cv2
        import numpy as np

        cv2.setNumThreads(1)
        flag = {4: cv2.IMREAD_REDUCED_COLOR_4, 8: cv2.IMREAD_REDUCED_COLOR_8}[reduction]

        def decode(file: Path) -> bool:
            return cv2.imdecode(np.frombuffer(file.read_bytes(), np.uint8), flag) is not None

        files = sorted(Path(path).rglob("*.jpg"))
        with ThreadPoolExecutor(os.cpu_count()) as pool, Timed() as timed:
            decoded = sum(pool.map(decode, files))
        return timed, {"images": decoded}, "opencv-python-headless"

    return work


# Peers --------------------------------------------------------------------------------------------------------------


def hotcoco(path: str) -> Outcome:
    """Read a COCO file with hotcoco (compiled)."""
    from hotcoco import COCO

    with Timed() as timed:
        coco = COCO(path)
    return timed, {"images": len(coco.get_img_ids()), "annotations": len(coco.get_ann_ids())}, "hotcoco"


def pycocotools(path: str) -> Outcome:
    """Read a COCO file with pycocotools."""
    from pycocotools.coco import COCO

    with Timed() as timed, contextlib.redirect_stdout(sys.stderr):
        coco = COCO(path)
    return timed, {"images": len(coco.imgs), "annotations": len(coco.anns)}, "pycocotools"


def ultralytics(path: str) -> Outcome:
    """Scan a YOLO dataset as the first training on it does: without the cache that the scan writes."""
    os.environ.update(YOLO_OFFLINE="true", YOLO_AUTOINSTALL="false", YOLO_VERBOSE="false")
    from ultralytics.data.dataset import YOLODataset

    folder = Path(path)
    names = {i: f"class_{i}" for i in range(80)}
    forget_caches(folder)
    try:
        with Timed() as timed, contextlib.redirect_stdout(sys.stderr):
            dataset = YOLODataset(
                img_path=os.fspath(folder / "images" / "train"), data={"names": names, "nc": len(names), "channels": 3}, augment=False
            )
    finally:
        forget_caches(folder)
    return timed, {"images": len(dataset.labels), "annotations": sum(len(label["cls"]) for label in dataset.labels)}, "ultralytics"


def forget_caches(folder: Path) -> None:
    """Delete what Ultralytics' scan leaves beside the labels."""
    for cache in folder.rglob("*.cache"):
        cache.unlink()


def globox(path: str) -> Outcome:
    """Read VOC XML with globox."""
    from globox import AnnotationSet

    with Timed() as timed, contextlib.redirect_stdout(sys.stderr):
        annotations = AnnotationSet.from_pascal_voc(Path(path, "Annotations"))
    return timed, {"images": len(annotations), "annotations": sum(len(one.boxes) for one in annotations)}, "globox"


def pylabel(path: str) -> Outcome:
    """Read VOC XML with pylabel. It has no row for an image without objects in its count of images."""
    from pylabel import importer

    with Timed() as timed, contextlib.redirect_stdout(sys.stderr):
        dataset = importer.ImportVOC(path=os.fspath(Path(path, "Annotations")))
    table = dataset.df
    annotations = table[table["cat_name"].notna() & (table["cat_name"] != "")]
    return timed, {"images": int(table["img_filename"].nunique()), "annotations": len(annotations)}, "pylabel"


def cleanvision(path: str) -> Outcome:
    """Look for all issues that CleanVision knows, on all cores."""
    from cleanvision import Imagelab

    with contextlib.redirect_stdout(sys.stderr):
        lab = Imagelab(data_path=path)
        with Timed() as timed:
            lab.find_issues(n_jobs=os.cpu_count(), verbose=False)
    return timed, {"images": len(lab.issues)}, "cleanvision"


def imagededup(path: str) -> Outcome:
    """Hash all images with imagededup's PHash, on all cores; duplicates are not looked for."""
    from imagededup.methods import PHash

    with Timed() as timed, contextlib.redirect_stdout(sys.stderr):
        hashes = PHash(verbose=False).encode_images(image_dir=path, recursive=True, num_enc_workers=os.cpu_count() or 1)
    return timed, {"images": len(hashes)}, "imagededup"


def fastdup(path: str) -> Outcome:
    """Run fastdup with its defaults: statistics, features, nearest neighbours."""
    import tempfile

    os.environ["SENTRY_OPT_OUT"] = "1"
    import fastdup as package

    with tempfile.TemporaryDirectory() as folder, contextlib.redirect_stdout(sys.stderr):
        work = package.create(work_dir=folder, input_dir=path)
        with Timed() as timed:
            work.run(overwrite=True, print_summary=False)
        return timed, {"images": len(work.img_stats())}, "fastdup"


# Start of a process ---------------------------------------------------------------------------------------------------


def process(*arguments: str) -> Callable[[str], Outcome]:
    """Time a whole Python process."""

    def work(_: str) -> Outcome:
        with Timed() as timed:
            subprocess.run([sys.executable, *arguments], stdout=subprocess.DEVNULL, check=True)
        return timed, {}, ""

    return work


# Near-duplicates ----------------------------------------------------------------------------------------------------


def hashes(n: int, alike: int) -> Any:
    """Make random 64-bit hashes, seeded, of which the first so many are one; a hundred are copies of others with four bits turned over."""
    import numpy as np

    rng = np.random.default_rng(0)
    made = rng.integers(0, 2**64, n, dtype=np.uint64)
    made[:alike] = 0
    made[-100:] = made[-200:-100] ^ np.uint64(0x8000100000200400)
    return made


def near(n: int, alike: int = 0) -> Callable[[str], Outcome]:
    """Find all pairs of hashes that differ in at most six bits."""

    def timed(_: str) -> Outcome:
        from dataset_doctor.scan.near import near_pairs

        made = hashes(n, alike)
        with Timed() as timed:
            pairs, _distances = near_pairs(made, 6)
        return timed, {"pairs": len(pairs)}, "dataset-doctor-vision"

    return timed


def all_with_all(n: int) -> Callable[[str], Outcome]:
    """Compare each hash with each later one, a row of the triangle at a time."""

    def timed(_: str) -> Outcome:
        import numpy as np

        made, found = hashes(n, 0), 0
        with Timed() as timed:
            for row in range(n - 1):
                found += int((np.bitwise_count(made[row] ^ made[row + 1 :]) <= 6).sum())
        return timed, {"pairs": found}, "numpy"

    return timed


CONTENDERS: dict[str, Callable[[str], Outcome]] = {
    "near_100k": near(100_000),
    "near_100k_black": near(100_000, 10_000),
    "near_1m": near(1_000_000),
    "near_1m_black": near(1_000_000, 100_000),
    "all_with_all_100k": all_with_all(100_000),
    "ours_read": ours_read,
    "ours_labels": ours_labels,
    "ours_audit": ours_audit,
    "ours_scan": ours_scan,
    "ours_scan_warm": ours_scan_warm,
    "floor_coco": floor_coco,
    "floor_files": floor_files,
    "floor_decode_4": floor_decode(4),
    "floor_decode_8": floor_decode(8),
    "hotcoco": hotcoco,
    "pycocotools": pycocotools,
    "ultralytics": ultralytics,
    "globox": globox,
    "pylabel": pylabel,
    "cleanvision": cleanvision,
    "imagededup": imagededup,
    "fastdup": fastdup,
    "ours_help": process("-m", "dataset_doctor", "--help"),
    "ours_import": process("-c", "import dataset_doctor"),
    "bare_python": process("-c", "pass"),
    "import_numpy": process("-c", "import numpy"),
}


def main() -> None:
    """Run one contender and print its outcome as JSON; a package that is not installed is an outcome too."""
    name, path = sys.argv[1:]
    try:
        timed, counts, distribution = CONTENDERS[name](path)
    except ImportError as error:
        print(json.dumps({"missing": f"{error} ({sys.executable})"}))
        return
    version = ""
    if distribution:
        with contextlib.suppress(metadata.PackageNotFoundError):
            version = metadata.version(distribution)
    outcome = {
        "seconds": timed.seconds, "peak_bytes": timed.peak_bytes, "counts": counts,
        "package": distribution, "version": version, "python": platform.python_version(),
    }  # fmt: skip
    print(json.dumps(outcome))


if __name__ == "__main__":
    main()
