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
    from dataset_doctor.files.progress import silent
    from dataset_doctor.files.tree import walk
    from dataset_doctor.formats.yolo.rows import read_rows

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


COPIES = 200


def spread(n: int) -> list[int]:
    """Choose photos from all of the class folders."""
    return [number * (n - 1) // (COPIES - 1) for number in range(COPIES)]


def ours_copies(path: str) -> Outcome:
    """Write altered copies of photos: made, encoded, with the manifest, read back; the unaltered images are links."""
    import tempfile

    import numpy as np

    from dataset_doctor.balance import augmenting
    from dataset_doctor.formats import read, write
    from dataset_doctor.plan import make_plan

    dataset = read(path)
    rows = np.repeat(spread(dataset.n_images), 2)
    split = int(np.flatnonzero(dataset.images.in_split[rows].all(axis=0))[0])
    made, _ = augmenting.augmented(dataset, rows, split, ("flip", "rotate", "scale", "color"))
    in_split = np.zeros((len(rows), len(dataset.splits)), bool)
    in_split[:, split] = True
    plan = make_plan(dataset, rows, command="rebalance", split=dataset.splits[split], in_split=in_split, made=made)
    with tempfile.TemporaryDirectory(dir=Path(path).parent) as folder:
        treated = plan.apply(dataset)
        with Timed() as timed:
            write(treated, Path(folder) / "out", materialize="hardlink")
    return timed, {"images": COPIES}, "dataset-doctor-vision"


def ours_pastes(path: str) -> Outcome:
    """Plan and write photos with three objects pasted into each, labels, manifest and reading back included; other images are links."""
    import tempfile

    import numpy as np

    from dataset_doctor.balance import rebalance
    from dataset_doctor.formats import read, write

    rng = np.random.default_rng(0)
    with tempfile.TemporaryDirectory(dir=Path(path).parent) as folder:
        root = Path(folder)
        for part in ("data/images/train", "data/labels/train"):
            (root / part).mkdir(parents=True)
        (root / "data/data.yaml").write_text("train: images/train\nnames: [common, rare]\n")
        for number, photo in enumerate(sorted(Path(path).rglob("*.jpg"))[: 2 * COPIES]):
            (root / f"data/images/train/{number}.jpg").hardlink_to(photo)
            centre, size = rng.uniform(0.2, 0.8, (2, 2)), rng.uniform(0.08, 0.25, (2, 2))
            rows = [f"0 {' '.join(f'{v:.6f}' for v in (*centre[0], *size[0]))}\n"]
            rows += [f"1 {' '.join(f'{v:.6f}' for v in (*centre[1], *size[1]))}\n"] if number % 10 == 0 else []
            (root / f"data/labels/train/{number}.txt").write_text("".join(rows))
        dataset = read(root / "data")
        target = int((dataset.annotations.class_index == 1).sum()) + 3 * COPIES
        with Timed() as timed:
            plan = rebalance(dataset, method="copy_paste", target=f"floor:{target}", budget=2)
            write(plan.apply(dataset), root / "out", materialize="hardlink")
        made = 0 if plan.made is None else len(plan.made.at)
    return timed, {"images": made}, "dataset-doctor-vision"


def bare_copies(path: str) -> Outcome:
    """Decode and encode the same photos with OpenCV alone."""
    import tempfile
    from concurrent.futures import ThreadPoolExecutor

    import cv2
    import numpy as np

    from dataset_doctor.formats import read

    dataset = read(path)
    names = [str(Path(path) / name) for name in dataset.images.file_name[spread(dataset.n_images)].tolist()]
    with tempfile.TemporaryDirectory(dir=Path(path).parent) as folder:

        def again(number: int) -> None:
            picture = cv2.imdecode(np.fromfile(names[number], np.uint8), cv2.IMREAD_COLOR)
            cv2.imencode(".jpg", picture, [cv2.IMWRITE_JPEG_QUALITY, 95])[1].tofile(f"{folder}/{number}.jpg")

        cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
        with Timed() as timed, ThreadPoolExecutor(cores) as pool:
            list(pool.map(again, range(COPIES)))
    return timed, {"images": COPIES}, "opencv-python-headless"


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


def ours_scan_dask(workers: int) -> Callable[[str], Outcome]:
    """Scan on a dask cluster of this machine that is running already: each worker a process with one thread, its libraries loaded."""

    def work(path: str) -> Outcome:
        import numpy as np
        from distributed import LocalCluster

        from dataset_doctor.formats import read
        from dataset_doctor.scan import scan

        dataset = read(path, format="folder")
        untyped: Any = LocalCluster
        with untyped(n_workers=workers, threads_per_worker=1, processes=True, dashboard_address=None) as cluster:
            cluster.wait_for_workers(workers)
            few = dataset.select(np.arange(dataset.n_images) < 64 * workers)
            scan(few, engine="dask", address=cluster.scheduler_address, cache=None)
            with Timed() as timed:
                pixels = scan(dataset, engine="dask", address=cluster.scheduler_address, cache=None)
        return timed, {"images": int((pixels.state == 1).sum())}, "distributed"

    return work


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


# Samplers -----------------------------------------------------------------------------------------------------------


def instances(n_images: int = 118_287, n_classes: int = 80) -> Any:
    """Make instance counts like COCO's, images × classes, seeded: 860,000 instances, long-tailed, in 14 scenes that share classes."""
    import numpy as np
    from scipy import sparse

    rng = np.random.default_rng(0)
    share = 1 / np.arange(1, n_classes + 1) ** 1.3
    scenes = share * rng.gamma(0.5, 1, (14, n_classes))
    scenes = np.cumsum(scenes / scenes.sum(axis=1, keepdims=True), axis=1)
    drawn = rng.poisson(3.6, n_images)
    drawn[rng.random(n_images) < 0.009] = 0
    image = np.repeat(np.arange(n_images), drawn)
    scene = np.repeat(rng.integers(0, 14, n_images), drawn)
    of_class = np.minimum((rng.random(len(image))[:, None] > scenes[scene]).sum(axis=1), n_classes - 1)
    size = 1 + rng.poisson(1.04, len(image))
    return sparse.coo_array((size, (image, of_class)), shape=(n_images, n_classes)).tocsr()


SAMPLERS_TIMED = ("oversample", "undersample", "hybrid", "repeat_factor", "irfs", "class_aware", "ml_ros", "ml_rus")


def sampler(name: str) -> Callable[[str], Outcome]:
    """Choose repeats for counts that are at hand, with the default target, budget and limit."""

    def timed(_: str) -> Outcome:
        import numpy as np

        from dataset_doctor.balance import BUDGET, MAX_REPEAT, SAMPLERS, Demand
        from dataset_doctor.balance.targets import parse_target

        counts = instances()
        of_class = np.asarray(counts.sum(axis=0)).ravel()
        target = parse_target("sqrt", [f"class {c}" for c in range(len(of_class))], of_class, SAMPLERS[name].direction)
        asked = Demand(counts, target, int(BUDGET * counts.shape[0]), MAX_REPEAT, np.random.default_rng(0))
        with Timed() as timed:
            SAMPLERS[name].run(asked)  # type: ignore[misc]
        return timed, {"images": counts.shape[0], "annotations": int(counts.sum())}, "dataset-doctor-vision"

    return timed


def like_lvis(n_images: int = 100_170) -> Any:
    """Make instance counts like LVIS's, seeded: 337 classes in 1 to 10 images, 461 in 11 to 100, 405 in up to 1,950.

    A class has six tenths of its images in one of 14 scenes.
    """
    import numpy as np
    from scipy import sparse

    rng = np.random.default_rng(0)
    frequent = 101 * (1950 / 101) ** np.linspace(1, 0, 405) ** 0.57
    in_images = np.rint(np.concatenate([frequent, np.geomspace(100, 11, 461), np.geomspace(10, 1, 337)])).astype(int)
    scene = rng.integers(0, 14, n_images)
    members = [np.flatnonzero(scene == number) for number in range(14)]
    image, of_class = [], []
    for c, size in enumerate(in_images.tolist()):
        together = min(round(0.6 * size), len(members[c % 14]))
        anywhere = rng.choice(n_images, size - together, replace=False)
        held = np.unique(np.append(rng.choice(members[c % 14], together, replace=False), anywhere))
        image.append(held)
        of_class.append(np.full(len(held), c))
    rows, columns = np.concatenate(image), np.concatenate(of_class)
    return sparse.coo_array((1 + rng.poisson(0.99, len(rows)), (rows, columns)), shape=(n_images, len(in_images))).tocsr()


def optimal(make: Callable[[], Any], budget: float | None) -> Callable[[str], Outcome]:
    """Find optimal repeats for counts that are at hand, towards the square root, with the certificate and its curve."""

    def timed(_: str) -> Outcome:
        import numpy as np

        from dataset_doctor.balance import MAX_REPEAT, Demand
        from dataset_doctor.balance.certificate import certified
        from dataset_doctor.balance.targets import parse_target

        counts = make()
        n_images, n_classes = counts.shape
        names = [f"class {c}" for c in range(n_classes)]
        target = parse_target("sqrt", names, np.asarray(counts.sum(axis=0)).ravel(), "up")
        asked = Demand(counts, target, int((budget or MAX_REPEAT) * n_images), MAX_REPEAT, np.random.default_rng(0))
        small = Demand(counts[:50], target, 100, MAX_REPEAT, np.random.default_rng(0))
        certified(small, names, "epoch_images")  # imports what it needs
        with Timed() as timed:
            found = certified(asked, names, "effective_sample_share" if budget else "epoch_images").certificate
        figures = {"images": n_images, "annotations": int(counts.sum()), "gap": round(found.gap * 1e9), "points": len(found.curve)}
        return timed, figures, "dataset-doctor-vision"

    return timed


def repeat_factor_loop(_: str) -> Outcome:
    """Compute repeat factors from a list of records, one image after another in Python, as detectron2 does; for one given threshold."""
    import math
    from collections import Counter
    from itertools import pairwise

    import numpy as np

    counts = instances()
    repeated = np.repeat(counts.indices, counts.data)
    ends = np.concatenate([[0], np.cumsum(counts.data)])[counts.indptr]
    records = [[{"category_id": c} for c in repeated[start:end].tolist()] for start, end in pairwise(ends)]
    with Timed() as timed:
        images: Counter[int] = Counter()
        for record in records:
            images.update({annotation["category_id"] for annotation in record})
        of_class = {c: max(1.0, math.sqrt(0.02 * len(records) / n)) for c, n in images.items()}
        factors = [max((of_class[c] for c in {annotation["category_id"] for annotation in record}), default=1.0) for record in records]
        whole = np.floor(factors)
        whole += np.random.default_rng(0).random(len(whole)) < factors - whole
    return timed, {"images": len(records), "annotations": int(counts.sum())}, "python"


# Splits -------------------------------------------------------------------------------------------------------------

COCO_SIZE, LVIS_SIZE = (118_287, 80), (100_170, 1_203)
"""Images and classes."""

SPLIT_RATIOS = (0.8, 0.1, 0.1)


def boxed(counts: Any) -> Any:
    """Make a dataset with so many boxes of each class in each image, of random sizes, seeded."""
    import numpy as np

    from dataset_doctor.dataset import NO_ID, UNKNOWN_SIZE, Annotations, Class, Dataset, Images, LabelState

    n, n_classes = counts.shape
    image = np.repeat(np.repeat(np.arange(n, dtype=np.int32), np.diff(counts.indptr)), counts.data)
    side = np.exp(np.random.default_rng(0).normal(np.log(60), 1, len(image)))
    zeros = np.zeros(len(image), np.int32)
    annotations = Annotations(
        image=image, class_index=np.repeat(counts.indices, counts.data).astype(np.int32), class_id=zeros.astype(np.int64),
        corners=np.stack([zeros, zeros, side, side], 1).astype(float), area=side**2, flags=zeros.astype(np.uint16),
        geometry=zeros.astype(np.uint8), source_id=np.full(len(image), NO_ID), source=zeros, position=zeros, line=zeros,
    )  # fmt: skip
    size, unknown = np.full(n, 640, np.int32), np.full(n, UNKNOWN_SIZE, np.int32)
    images = Images(
        file_name=np.array([f"{row:012}.jpg" for row in range(n)], object), has_file=np.zeros(n, bool), width=size, height=size,
        file_width=unknown, file_height=unknown, in_split=np.ones((n, 1), bool),
        label_state=np.where(np.diff(counts.indptr) > 0, LabelState.LABELED, LabelState.BACKGROUND).astype(np.uint8),
        source_id=np.arange(n), source=np.zeros(n, np.int32), position=np.arange(n), picture=np.arange(n, dtype=np.int32),
    )  # fmt: skip
    return Dataset(
        root=Path("/nowhere"), format="coco", variant="made", task="detect", evidence=(), voc_origin=None,
        classes=tuple(Class(f"class {c}", c) for c in range(n_classes)), splits=("all",), split_spelling=("all",), sources=("labels",),
        source_split=np.full(1, -1, np.int16), images=images, annotations=annotations, problems=(),
    )  # fmt: skip


def division_counts(counts: Any, part: Any) -> dict[str, int]:
    """Measure a division, in whole billionths: label distribution, Jensen-Shannon divergence, and the worst share of a class's images.

    `gaps`: how often a split lacks a class that at least as many images hold as there are splits.
    """
    import numpy as np

    from dataset_doctor.split._compared import quality

    ratios = np.array(SPLIT_RATIOS)
    found = quality("", counts, part, ratios)
    held = (counts > 0).T @ np.eye(len(ratios))[part]
    total = held.sum(axis=1)
    worst = np.abs(held[total > 0] / total[total > 0, None] - ratios).max()
    figures = {"ld": found.ld or 0.0, "js": found.js or 0.0, "worst_share": worst}
    return {
        "images": counts.shape[0], "annotations": int(counts.sum()), "gaps": int((held[total >= len(ratios)] == 0).sum()),
        **{name: round(value * 1e9) for name, value in figures.items()},
    }  # fmt: skip


def ours_split(n_images: int, n_classes: int) -> Callable[[str], Outcome]:
    """Split a dataset that is at hand, without groups; the random and the iterative division that the plan is compared with included."""

    def timed(_: str) -> Outcome:
        from dataset_doctor.split import split

        counts = instances(n_images, n_classes)
        dataset = boxed(counts)
        split(dataset.select(dataset.images.source_id < 100), group_by="none")  # imports what it needs
        with Timed() as timed:
            plan = split(dataset, ratios=SPLIT_RATIOS, group_by="none")
        return timed, division_counts(counts, plan.in_split.argmax(axis=1)), "dataset-doctor-vision"

    return timed


def ours_iterative(n_images: int, n_classes: int) -> Callable[[str], Outcome]:
    """Divide by this tool's own iterative stratification, which plans are compared with."""

    def timed(_: str) -> Outcome:
        import numpy as np

        from dataset_doctor.split._compared import iterative_stratification

        counts = instances(n_images, n_classes)
        with Timed() as timed:
            part = iterative_stratification(counts, np.array(SPLIT_RATIOS), 0)
        return timed, division_counts(counts, part), "dataset-doctor-vision"

    return timed


def iterative_package(n_images: int, n_classes: int) -> Callable[[str], Outcome]:
    """Divide with the function at the heart of the package iterative-stratification; its classes only offer two parts, or equal ones."""

    def timed(_: str) -> Outcome:
        import numpy as np
        from iterstrat.ml_stratifiers import IterativeStratification

        counts = instances(n_images, n_classes)
        held = (counts > 0).toarray()
        with Timed() as timed:
            part = IterativeStratification(held, np.array(SPLIT_RATIOS), np.random.RandomState(0))
        return timed, division_counts(counts, part), "iterative-stratification"

    return timed


# Training -----------------------------------------------------------------------------------------------------------

TRAINED = {"model": "cifar_resnet8", "size": 32, "batch": 64, "steps": 60, "augment": "cifar"}


def _training() -> Any:
    """Make pictures of chance that lie in memory, and the settings."""
    import numpy as np
    import torch

    from dataset_doctor.trials.images import Data, Pictures
    from dataset_doctor.trials.settings import Settings

    rng = np.random.default_rng(0)

    def part(n: int) -> Pictures:
        pixels = torch.from_numpy(rng.integers(0, 256, (n, 32, 32, 3)).astype(np.uint8))
        return Pictures(pixels, rng.integers(0, 10, n), np.arange(n), np.full((n, 4), np.nan))

    data = Data(tuple("abcdefghij"), part(4096), part(64), part(64), (0.5,) * 3, (0.25,) * 3, 32, False, np.full(10, 410))
    return data, Settings(**TRAINED, evaluations=1)


def ours_train(_: str) -> Outcome:
    """Train with the loop of `verify`; the one look at the validation split is not in the time, as it reports."""
    from dataset_doctor.trials import classification
    from dataset_doctor.trials.arms import BASELINE, Treatment
    from dataset_doctor.trials.loop import Trial

    data, settings = _training()
    with Timed() as timed:
        trained = classification.run(Trial(BASELINE, Treatment(), settings, 0), data)
    timed.seconds = trained.cost.train_seconds
    return timed, {"images": settings.steps * settings.batch}, "dataset-doctor-vision"


def bare_train(_: str) -> Outcome:
    """Train with the least that a loop can do: take, augment, scale, forward, backward, step."""
    import torch
    from torch.nn import functional

    from dataset_doctor.balance.presets import PRESETS
    from dataset_doctor.trials.augmentation import augment
    from dataset_doctor.trials.models.classifiers import CifarResNet

    data, settings = _training()
    model = CifarResNet(8, 10).to(memory_format=torch.channels_last)
    optimizer = torch.optim.AdamW(model.parameters(), lr=settings.learning_rate, weight_decay=settings.decay)
    label = torch.from_numpy(data.train.label)
    order = torch.randperm(len(label))
    with Timed() as timed:
        for step in range(settings.steps):
            rows = order[(step * settings.batch) % len(label) :][: settings.batch]
            pictures = augment(data.train.pixels[rows].permute(0, 3, 1, 2).float().div_(255), PRESETS["cifar"].training)
            optimizer.zero_grad(set_to_none=True)
            functional.cross_entropy(model((pictures - 0.5) / 0.25), label[rows]).backward()
            optimizer.step()
    return timed, {"images": settings.steps * settings.batch}, "torch"


DETECTOR = {"model": "ssdlite320_mobilenet_v3_large", "size": 320, "batch": 8, "steps": 20, "augment": "outdoor"}


def _detection() -> Any:
    """Make scenes of chance with five objects each that lie in memory, and the settings."""
    import numpy as np
    import torch

    from dataset_doctor.trials.detection import Scenes, Views
    from dataset_doctor.trials.images import Pictures
    from dataset_doctor.trials.settings import Settings

    rng = np.random.default_rng(0)
    side = int(DETECTOR["size"])

    def part(n: int) -> Scenes:
        pixels = torch.from_numpy(rng.integers(0, 256, (n, side, side, 3)).astype(np.uint8))
        window = np.tile([0.0, 0.0, side, side], (n, 1))
        corner = rng.uniform(0, side - 60, (5 * n, 2))
        box = np.concatenate([corner, corner + rng.uniform(20, 60, (5 * n, 2))], axis=1)
        none = np.zeros(5 * n, bool)
        shown = Pictures(pixels, np.zeros(n, np.int64), np.arange(n), window)
        of, label = np.repeat(np.arange(n), 5), rng.integers(0, 10, 5 * n)
        return Scenes(shown, of, label, box, none, none, none, np.full((n, 2), float(side)), np.zeros(n, bool))

    views = Views(tuple("abcdefghij"), part(256), part(8), part(8), side, np.full(10, 100))
    return views, Settings(**DETECTOR, lr=1e-4, evaluations=1)


def ours_detect(_: str) -> Outcome:
    """Train a detector with the loop of `verify`; the one look at the validation split is not in the time, as it reports."""
    from dataset_doctor.trials import detection
    from dataset_doctor.trials.arms import BASELINE, Treatment
    from dataset_doctor.trials.loop import Trial

    views, settings = _detection()
    with Timed() as timed:
        trained = detection.run(Trial(BASELINE, Treatment(), settings, 0), views)
    timed.seconds = trained.cost.train_seconds
    return timed, {"images": settings.steps * settings.batch}, "dataset-doctor-vision"


def bare_detect(_: str) -> Outcome:
    """Train torchvision's detector as it is with the least that a loop can do: take, augment, forward, backward, step."""
    import numpy as np
    import torch
    import torchvision

    from dataset_doctor.balance.presets import PRESETS
    from dataset_doctor.trials.augmentation import augment_with_boxes

    views, settings = _detection()
    train, how = views.train, PRESETS[settings.augment].training
    model = torchvision.models.get_model(settings.model, weights=None, weights_backbone=None, num_classes=11)
    model = model.to(memory_format=torch.channels_last)
    optimizer = torch.optim.AdamW(model.parameters(), lr=settings.learning_rate, weight_decay=settings.decay)
    boxes = torch.from_numpy(train.box.astype(np.float32)).view(-1, 5, 4)
    labels = torch.from_numpy(train.label + 1).view(-1, 5)
    order, of = torch.randperm(len(labels)), torch.arange(settings.batch).repeat_interleave(5)
    with Timed() as timed:
        for step in range(settings.steps):
            rows = order[(step * settings.batch) % len(labels) :][: settings.batch]
            pictures = train.pictures.pixels[rows].permute(0, 3, 1, 2).float().div_(255)
            pictures, moved, seen = augment_with_boxes(pictures, boxes[rows].view(-1, 4), of, how)
            moved, told = moved.view(-1, 5, 4), seen.view(-1, 5)
            targets = [{"boxes": box[kept], "labels": label[kept]} for box, label, kept in zip(moved, labels[rows], told, strict=True)]
            optimizer.zero_grad(set_to_none=True)
            sum(model(list(pictures), targets).values()).backward()
            optimizer.step()
    return timed, {"images": settings.steps * settings.batch}, "torchvision"


CONTENDERS: dict[str, Callable[[str], Outcome]] = {
    "ours_train": ours_train,
    "ours_detect": ours_detect,
    "bare_detect": bare_detect,
    "bare_train": bare_train,
    **{f"sampler_{name}": sampler(name) for name in SAMPLERS_TIMED},
    "optimal_coco": optimal(instances, None),
    "optimal_coco_within": optimal(instances, 1.5),
    "optimal_lvis": optimal(like_lvis, None),
    "optimal_lvis_within": optimal(like_lvis, 1.5),
    "repeat_factor_loop": repeat_factor_loop,
    "near_100k": near(100_000),
    "near_100k_black": near(100_000, 10_000),
    "near_1m": near(1_000_000),
    "near_1m_black": near(1_000_000, 100_000),
    "all_with_all_100k": all_with_all(100_000),
    "split_coco": ours_split(*COCO_SIZE),
    "split_lvis": ours_split(*LVIS_SIZE),
    "iterative_coco": ours_iterative(*COCO_SIZE),
    "iterative_lvis": ours_iterative(*LVIS_SIZE),
    "iterative_package_coco": iterative_package(*COCO_SIZE),
    "iterative_package_lvis": iterative_package(*LVIS_SIZE),
    "ours_read": ours_read,
    "ours_labels": ours_labels,
    "ours_audit": ours_audit,
    "ours_copies": ours_copies,
    "ours_pastes": ours_pastes,
    "bare_copies": bare_copies,
    "ours_scan": ours_scan,
    "ours_scan_warm": ours_scan_warm,
    "ours_scan_dask_1": ours_scan_dask(1),
    "ours_scan_dask_2": ours_scan_dask(2),
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
