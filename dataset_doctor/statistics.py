"""What is in a dataset, counted: classes, splits, balance, resolution, boxes and co-occurrence.

Every figure follows the counting rules of the report format (docs/reference/report.md). An undefined number is None, never NaN.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from dataset_doctor.dataset import Dataset, Flag, LabelState, Problem, ProblemKind
from dataset_doctor.geometry import widths_heights

if TYPE_CHECKING:
    from scipy import sparse

SMALL_AREA_PX2, LARGE_AREA_PX2 = 32.0**2, 96.0**2
"""COCO's size bands: small below the first, large from the second (cocodataset.org, detection evaluation)."""

RARE_IMAGES, COMMON_IMAGES = 10, 100
"""LVIS groups by images of a class: rare up to the first, common up to the second, frequent above (Gupta et al., 2019)."""

HEATMAP_CELLS = 10
SIZES_COUNTED = 300
"""More distinct image sizes than this are counted on a grid of 1/8 octave."""

SIDE_LIMIT_PX, ASPECT_LIMIT = 2.0**15, 2.0**6
"""Boxes with a longer side than the first, or narrower than the second, are counted in the outermost cells."""

CO_OCCURRENCE_PAIRS = 200


@dataclass(frozen=True, slots=True)
class Quantiles:
    """Minimum, 5th, 50th and 95th percentile, maximum; linear interpolation. All None where there is nothing to measure."""

    min: float | None
    p5: float | None
    median: float | None
    p95: float | None
    max: float | None


@dataclass(frozen=True, slots=True)
class Summary:
    """The figures of the whole dataset; names and rules as in the report."""

    images: int
    distinct_images: int
    annotations: int
    instances: int
    crowd: int
    difficult: int
    classes: int
    classes_used: int
    positive_images: int
    background_images: int
    unlabeled_images: int
    positive_negative_ratio: float | None
    background_share: float | None
    imbalance_ratio: float | None
    mean_ir: float | None
    cvir: float | None
    scumble: float | None
    gini: float | None
    evenness: float | None
    effective_classes: float | None


@dataclass(frozen=True, slots=True)
class ClassCount:
    """Images that hold a class, and its instances."""

    images: int
    instances: int


@dataclass(frozen=True, slots=True)
class ClassRow:
    """One class: counts in all and in each split (in the order of `Statistics.splits`); `group` is rare, common, frequent or None."""

    index: int
    id: int | str
    name: str
    images: int
    instances: int
    share: float
    group: str | None
    splits: tuple[ClassCount, ...]


@dataclass(frozen=True, slots=True)
class SplitRow:
    """One split: its images and label records."""

    name: str
    images: int
    annotations: int
    instances: int
    background_images: int
    unlabeled_images: int


@dataclass(frozen=True, slots=True)
class MemoryRow:
    """Memory that training would need for one input size, in GiB, and what that assumes."""

    input: str
    batch: int
    gib: float
    assumes: str


@dataclass(frozen=True, slots=True)
class SizeCount:
    """Images of one size in pixels."""

    width: int
    height: int
    images: int


@dataclass(frozen=True, slots=True)
class ShapeCount:
    """Boxes of a size (the square root of the area, in pixels) and aspect (width ÷ height), up to half an octave above those given."""

    side: float
    aspect: float
    boxes: int


@dataclass(frozen=True, slots=True)
class Resolution:
    """Image sizes, from file headers ("files") or, where too few files are at hand, as the labels say ("labels").

    `sizes` counts the images of each size; where there are more than SIZES_COUNTED of them, sizes that lie near each other are one.
    """

    source: str
    distinct: int
    width: Quantiles
    height: Quantiles
    aspect: Quantiles
    megapixels: Quantiles
    memory: tuple[MemoryRow, ...]
    sizes: tuple[SizeCount, ...] = ()


@dataclass(frozen=True, slots=True)
class PerImage:
    """Instances an image, over all images."""

    min: int
    median: float
    mean: float
    max: int


@dataclass(frozen=True, slots=True)
class Boxes:
    """Sizes, shapes and places of the instances' boxes; `centre_heatmap` is 10 rows (top to bottom) of 10 counts.

    `shapes` counts the boxes that have an area, in half octaves of size and of aspect.
    """

    small: int
    medium: int
    large: int
    per_image: PerImage | None
    relative_area: Quantiles
    aspect: Quantiles
    centre_heatmap: tuple[tuple[int, ...], ...]
    shapes: tuple[ShapeCount, ...] = ()


@dataclass(frozen=True, slots=True)
class Pair:
    """Two classes and the images that hold both; lift is how much more often than if they were independent."""

    classes: tuple[str, str]
    images: int
    lift: float


@dataclass(frozen=True, slots=True, eq=False)
class Statistics:
    """All tables of an audit. `boxes` is None for image folders; `counts` is the images × classes matrix they came from.

    `problems` are the dataset's, by kind.
    """

    summary: Summary
    classes: tuple[ClassRow, ...]
    splits: tuple[SplitRow, ...]
    resolution: Resolution
    boxes: Boxes | None
    co_occurrence: tuple[Pair, ...]
    counts: sparse.csr_array[Any]
    problems: Mapping[ProblemKind, Sequence[Problem]]


def statistics(dataset: Dataset) -> Statistics:
    """Count everything the report shows."""
    counts = dataset.counts()
    classes = _classes(dataset, counts)
    problems: dict[ProblemKind, list[Problem]] = {}
    for problem in dataset.problems:
        problems.setdefault(problem.kind, []).append(problem)
    return Statistics(
        summary=_summary(dataset, counts),
        classes=classes,
        splits=_splits(dataset),
        resolution=_resolution(dataset),
        boxes=None if dataset.task == "classify" else _boxes(dataset),
        co_occurrence=_co_occurrence(dataset, counts),
        counts=counts,
        problems=problems,
    )


# Balance ------------------------------------------------------------------------------------------------------------


def imbalance_ratio(counts: NDArray[np.integer[Any]]) -> float | None:
    """Largest ÷ smallest count over the classes that have any; None where none has.

    >>> imbalance_ratio(np.array([100, 0, 5]))
    20.0
    """
    used = counts[counts > 0]
    return float(used.max() / used.min()) if len(used) else None


def gini(counts: NDArray[np.integer[Any]]) -> float | None:
    """Gini coefficient of the counts of classes that have any: 0 all alike, towards 1 one class holds all.

    sum((2i − K − 1) · n_(i)) ÷ (K · sum n) with n sorted ascending.

    >>> gini(np.array([5, 5, 5])), gini(np.array([1, 3]))
    (0.0, 0.25)
    """
    used = np.sort(counts[counts > 0]).astype(np.float64)
    if not len(used):
        return None
    rank = np.arange(1, len(used) + 1)
    return float(((2 * rank - len(used) - 1) * used).sum() / (len(used) * used.sum()))


def entropy(counts: NDArray[np.integer[Any]]) -> float | None:
    """Shannon entropy of the class shares, in nats; its exponential is the effective number of classes.

    >>> round(float(np.exp(entropy(np.array([7, 7, 0, 7])))), 6)
    3.0
    """
    used = counts[counts > 0]
    if not len(used):
        return None
    shares = used / used.sum()
    return max(0.0, float(-(shares * np.log(shares)).sum()))


def imbalance_per_label(images: NDArray[np.integer[Any]]) -> NDArray[np.float64]:
    """IRLbl of each class: images of the most frequent class ÷ images of this one; NaN without images (Charte et al., 2015).

    >>> imbalance_per_label(np.array([8, 2, 0])).tolist()
    [1.0, 4.0, nan]
    """
    with np.errstate(divide="ignore", invalid="ignore"):
        ratio = images.max(initial=0) / images.astype(np.float64)
    return np.where(images > 0, ratio, np.nan)


def scumble(holds: sparse.csr_array[Any]) -> float | None:
    """How much rare and frequent classes share images: mean over images of 1 − geometric ÷ arithmetic mean of their labels' IRLbl.

    Only the labels an image holds enter its means, and only images with labels count (Charte et al., 2014). 0: never together.

    Args:
        holds: Boolean images × classes.
    """
    per_image = np.diff(holds.indptr)
    labelled = per_image > 0
    if not labelled.any():
        return None
    ratio = imbalance_per_label(np.bincount(holds.indices, minlength=holds.shape[1]))[holds.indices]
    start = holds.indptr[:-1][labelled]
    n = per_image[labelled]
    geometric = np.exp(np.add.reduceat(np.log(ratio), start) / n)
    arithmetic = np.add.reduceat(ratio, start) / n
    return max(0.0, float((1 - geometric / arithmetic).mean()))


def _summary(dataset: Dataset, counts: sparse.csr_array[Any]) -> Summary:
    instances = np.asarray(counts.sum(axis=0)).ravel()
    images = np.bincount(counts.indices, minlength=len(dataset.classes))
    used = int((instances > 0).sum())
    states = np.bincount(dataset.images.label_state, minlength=3)
    positive, background = int(states[LabelState.LABELED]), int(states[LabelState.BACKGROUND])
    nats = entropy(instances)
    ratios = imbalance_per_label(images)
    ratios = ratios[~np.isnan(ratios)]
    mean_ir = float(ratios.mean()) if len(ratios) else None
    return Summary(
        images=dataset.n_images,
        distinct_images=len(np.unique(dataset.images.picture)),
        annotations=dataset.n_annotations,
        instances=int(dataset.is_instance.sum()),
        crowd=int(dataset.annotations.has(Flag.CROWD).sum()),
        difficult=int((dataset.annotations.has(Flag.DIFFICULT) & dataset.is_instance).sum()),
        classes=len(dataset.classes),
        classes_used=used,
        positive_images=positive,
        background_images=background,
        unlabeled_images=int(states[LabelState.UNLABELED]),
        positive_negative_ratio=positive / background if background else None,
        background_share=background / dataset.n_images if dataset.n_images else None,
        imbalance_ratio=imbalance_ratio(instances),
        mean_ir=mean_ir,
        cvir=float(ratios.std(ddof=1) / mean_ir) if len(ratios) > 1 and mean_ir else None,
        scumble=scumble(counts),
        gini=gini(instances),
        evenness=nats / float(np.log(used)) if nats is not None and used > 1 else None,
        effective_classes=float(np.exp(nats)) if nats is not None else None,
    )


def _classes(dataset: Dataset, counts: sparse.csr_array[Any]) -> tuple[ClassRow, ...]:
    k, s = len(dataset.classes), len(dataset.splits)
    instances = np.asarray(counts.sum(axis=0)).ravel()
    images = np.bincount(counts.indices, minlength=k)
    split_instances, split_images = np.zeros((s, k), np.int64), np.zeros((s, k), np.int64)
    apart = bool((dataset.images.in_split.sum(axis=1) == 1).all())
    for split in range(s):
        of_split = counts[dataset.images.in_split[:, split]] if apart else _counts_of(dataset, split)
        split_instances[split] = np.asarray(of_split.sum(axis=0)).ravel()
        split_images[split] = np.bincount(of_split.indices, minlength=k)
    grouped_by = images if (training := dataset.training_split) is None else split_images[dataset.splits.index(training)]
    total = int(instances.sum())
    rows = []
    for c, described in enumerate(dataset.classes):
        n = int(instances[c])
        group = None
        if n:
            group = "rare" if grouped_by[c] <= RARE_IMAGES else "common" if grouped_by[c] <= COMMON_IMAGES else "frequent"
        in_splits = tuple(ClassCount(int(split_images[i, c]), int(split_instances[i, c])) for i in range(s))
        rows.append(ClassRow(c, described.id, described.name, int(images[c]), n, n / total if total else 0.0, group, in_splits))
    return tuple(rows)


def _counts_of(dataset: Dataset, split: int) -> sparse.csr_array[Any]:
    """Count instances, images × classes, by the records of one split alone: an image in two splits may have other records in each."""
    chosen = dataset.annotations_in_split(split)
    return dataset.holding(chosen).counts()


def _splits(dataset: Dataset) -> tuple[SplitRow, ...]:
    rows = []
    for split, name in enumerate(dataset.splits):
        chosen = dataset.annotations_in_split(split)
        members = dataset.images.in_split[:, split]
        states = np.bincount(dataset.images.label_state[members], minlength=3)
        rows.append(
            SplitRow(
                name=name,
                images=int(members.sum()),
                annotations=int(chosen.sum()),
                instances=int((chosen & dataset.is_instance).sum()),
                background_images=int(states[LabelState.BACKGROUND]),
                unlabeled_images=int(states[LabelState.UNLABELED]),
            )
        )
    return tuple(rows)


# Resolution and boxes -----------------------------------------------------------------------------------------------


def quantiles(values: NDArray[Any]) -> Quantiles:
    """Summarise the finite ones of some values by five quantiles.

    >>> quantiles(np.array([1.0, 3.0])).median, quantiles(np.array([])).median
    (2.0, None)
    """
    values = values[np.isfinite(values)]  # boxes as large as numbers go have areas beyond them
    if not len(values):
        return Quantiles(None, None, None, None, None)
    return Quantiles(*(float(q) for q in np.quantile(values, [0, 0.05, 0.5, 0.95, 1])))


MEMORY_ASSUMES = (
    "ResNet-50 in float32 with AdamW: 25.6 M parameters x 16 bytes, 11.1 M activations at 224 x 224 kept twice"
    " (Radosavovic et al., 2020); heads, workspace and framework not counted"
)


def training_memory_gib(width_px: int, height_px: int, batch: int) -> float:
    """Estimate the memory of a training step in GiB: parameters, gradients, optimiser state and activations of a ResNet-50.

    Activations grow with batch × pixels; see MEMORY_ASSUMES. Half precision needs about half of the activations' part.

    >>> round(training_memory_gib(640, 640, 16), 1)
    11.2
    """
    parameters = 25.6e6 * 16
    activations = 2 * 11.1e6 * 4 * batch * width_px * height_px / 224**2
    return (parameters + activations) / 2**30


def _resolution(dataset: Dataset) -> Resolution:
    images = dataset.images
    from_files = (images.file_width > 0) & (images.file_height > 0)
    from_labels = (images.width > 0) & (images.height > 0)
    use_files = bool(from_files.sum() * 2 >= max(1, from_labels.sum()))
    known = from_files if use_files else from_labels
    width = (images.file_width if use_files else images.width)[known].astype(np.float64)
    height = (images.file_height if use_files else images.height)[known].astype(np.float64)
    sides, batch = ((224, 288, 384, 512), 32) if dataset.task == "classify" else ((320, 416, 512, 640, 800, 1024, 1280), 16)
    return Resolution(
        source="files" if use_files else "labels",
        distinct=len(np.unique(width * 2.0**31 + height)),
        width=quantiles(width),
        height=quantiles(height),
        aspect=quantiles(width / height),
        megapixels=quantiles(width * height / 1e6),
        memory=tuple(
            MemoryRow(f"{side}x{side}", batch, round(training_memory_gib(side, side, batch), 2), MEMORY_ASSUMES) for side in sides
        ),
        sizes=_sizes(np.stack([width, height], axis=1)),
    )


def _sizes(wh: NDArray[np.float64]) -> tuple[SizeCount, ...]:
    """Count sizes, the most frequent first."""
    sizes, images = _unique_pairs(wh.astype(np.int64))
    if len(sizes) > SIZES_COUNTED:
        sizes, images = _unique_pairs(np.rint(2 ** (np.rint(np.log2(wh) * 8) / 8)).astype(np.int64))
    order = np.argsort(-images, kind="stable")
    return tuple(SizeCount(int(w), int(h), n) for (w, h), n in zip(sizes[order].tolist(), images[order].tolist(), strict=True))


@np.errstate(over="ignore", invalid="ignore")
def _boxes(dataset: Dataset) -> Boxes:
    instance = dataset.is_instance
    per_image = np.bincount(dataset.annotations.image[instance], minlength=dataset.n_images)
    usable = instance & np.isfinite(dataset.annotations.corners).all(axis=1)
    boxes, sizes = dataset.boxes[usable], dataset.annotation_sizes[usable]
    in_pixels = ~np.isnan(sizes[:, 0]) if dataset.in_shares else np.ones(len(boxes), bool)
    wh = np.maximum(widths_heights(boxes), 0)
    area = wh[:, 0] * wh[:, 1]
    # A YOLO box whose image gives no size stays a share of the image.
    image_area = np.where(in_pixels, sizes[:, 0] * sizes[:, 1], 1.0)
    scale = np.where(in_pixels[:, None], sizes, 1.0)
    small, large = area < SMALL_AREA_PX2, area >= LARGE_AREA_PX2
    relative = area / image_area
    shaped = (wh > 0).all(axis=1)
    return Boxes(
        small=int((small & in_pixels).sum()),
        medium=int((~small & ~large & in_pixels).sum()),
        large=int((large & in_pixels).sum()),
        per_image=PerImage(int(per_image.min()), float(np.median(per_image)), float(per_image.mean()), int(per_image.max()))
        if dataset.n_images
        else None,
        relative_area=quantiles(relative[~np.isnan(relative)]),
        aspect=quantiles(wh[shaped, 0] / wh[shaped, 1]),
        centre_heatmap=_heatmap((boxes[:, :2] + boxes[:, 2:]) / 2 / scale),
        shapes=_shapes(wh[shaped & in_pixels]),
    )


def _shapes(wh: NDArray[np.float64]) -> tuple[ShapeCount, ...]:
    """Count boxes by size and aspect, in half octaves."""
    wh = np.clip(wh, 1e-9, 1e9)
    side = np.clip(np.sqrt(wh[:, 0] * wh[:, 1]), 1.0, SIDE_LIMIT_PX)
    aspect = np.clip(wh[:, 0] / wh[:, 1], 1 / ASPECT_LIMIT, ASPECT_LIMIT)
    cells, boxes = _unique_pairs(np.floor(np.log2(np.stack([side, aspect], axis=1)) * 2).astype(np.int64))
    lower = (2 ** (cells / 2)).round(4)
    return tuple(ShapeCount(side, aspect, n) for (side, aspect), n in zip(lower.tolist(), boxes.tolist(), strict=True))


def _unique_pairs(pairs: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Count equal rows of two integers below 2³¹ in size, sorted; ten times as fast as np.unique by rows."""
    packed, counts = np.unique((pairs[:, 0] << 32) + pairs[:, 1], return_counts=True)
    second = ((packed + 2**31) & 0xFFFFFFFF) - 2**31
    return np.stack([(packed - second) >> 32, second], axis=1), counts


def _heatmap(centres: NDArray[np.float64]) -> tuple[tuple[int, ...], ...]:
    """Count box centres, as shares of width and height, in a grid; centres outside the image are left out."""
    inside = ((centres >= 0) & (centres <= 1)).all(axis=1)
    cell = np.minimum((centres[inside] * HEATMAP_CELLS).astype(np.intp), HEATMAP_CELLS - 1)
    grid = np.bincount(cell[:, 1] * HEATMAP_CELLS + cell[:, 0], minlength=HEATMAP_CELLS**2).reshape(HEATMAP_CELLS, -1)
    return tuple(tuple(int(n) for n in row) for row in grid)


def _co_occurrence(dataset: Dataset, counts: sparse.csr_array[Any]) -> tuple[Pair, ...]:
    from scipy import sparse

    holds = counts.copy()
    holds.data = np.ones_like(holds.data)
    together = sparse.triu(holds.T @ holds, k=1).tocoo()
    if not together.nnz:
        return ()
    order = np.lexsort((together.col, together.row, -together.data))[:CO_OCCURRENCE_PAIRS]
    images = np.bincount(counts.indices, minlength=len(dataset.classes)).astype(np.float64)
    names: Sequence[str] = dataset.class_names
    pairs = []
    for a, b, n in zip(together.row[order].tolist(), together.col[order].tolist(), together.data[order].tolist(), strict=True):
        pairs.append(Pair((names[a], names[b]), int(n), float(n * dataset.n_images / (images[a] * images[b]))))
    return tuple(pairs)
