"""Dataset: the one currency between the parts.

What shaped it:

* A million annotations must stay cheap: parallel numpy columns (about 80 bytes an annotation), no object per record.
* Nothing is repaired: a reversed box, a class nobody declared or a missing image goes in as it is written, so that checks can judge it.
  What a column cannot hold (text where a number belongs) becomes a `Problem` with its place, so that nothing is dropped silently.
* Every row knows where it came from (`source`, `position`, `line`), so that a finding can point at it and a writer can copy it verbatim.

Invariants, checked when a Dataset is made:

* all columns of a table have one length; `annotations.image` and every `source` index lie in range
* `annotations.class_index` is -1 (a class nobody declared) or a row of `classes`
* `images.in_split` is a Boolean matrix images × `splits`; every image is in at least one split
* an image with an annotation is `LABELED`
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import IntEnum, IntFlag
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypeVar

import numpy as np
from numpy.typing import NDArray

from dataset_doctor.geometry import Boxes, overshoot
from dataset_doctor.outlines import Outlines, join_outlines, take_outlines
from dataset_doctor.recipes import Recipe

if TYPE_CHECKING:
    import pandas as pd
    from scipy import sparse

Rows = NDArray[np.intp]
"""Row numbers of a table; repeats allowed where a function says so."""

FormatName = str
"""The name of a format, as in the table `formats.FORMATS`."""

TRAINING_SPLITS = ("train", "trainval")
"""Names of the split that is trained on; the second is VOC's, whose `trainval` is all there is to train with where it has no `train`."""

WHOLE_SPLIT = 5
"""A split of at least so many images that all are in another one is the same split again, and not so many images in two."""

NO_ID = np.iinfo(np.int64).min
"""Stands in an integer id column where a record has no id."""

UNKNOWN_SIZE = -1
"""Stands in a width or height column where none is known."""

NO_SOURCE = -1
"""Stands in a `source` column where no label file describes the image."""


class LabelState(IntEnum):
    """What is known of an image: no label file at all, known to hold nothing, or at least one label record of any kind."""

    UNLABELED = 0
    BACKGROUND = 1
    LABELED = 2


class Flag(IntFlag):
    """What a label record says of itself, one bit each.

    `NO_CROWD_KEY` and `NO_AREA_KEY`: COCO records that leave the member out. `NO_VOC_KEYS`: VOC objects without pose, truncated or
    difficult. `OTHER_ORDER`: VOC objects with their elements, or the corners of their box, in another order than the devkit's.
    """

    CROWD = 1
    IGNORE = 2
    DIFFICULT = 4
    TRUNCATED = 8
    OCCLUDED = 16
    SCORE = 32
    KEYPOINTS = 64
    NO_CROWD_KEY = 128
    NO_AREA_KEY = 256
    NO_VOC_KEYS = 512
    OTHER_ORDER = 1024


class Flaw(IntFlag):
    """What is wrong with the shape a record gives, one bit each.

    EMPTY            a segmentation that holds nothing
    NOT_NESTED       a polygon that is a list of numbers instead of a list of such lists
    ODD              a ring with an odd number of coordinates
    MALFORMED        something other than finite numbers, or more of them than MAX_VERTICES allows
    CROSSING         a ring of four points of which two sides cross
    NOT_RECTANGULAR  an oriented box whose opposite sides differ
    MASK_INVALID     run lengths that cannot be decoded, or below zero
    VISIBILITY       a keypoint whose visibility is none of 0, 1 and 2
    HIDDEN_PLACED    a keypoint that is not labelled (visibility 0) and yet has a place
    """

    EMPTY = 1
    NOT_NESTED = 2
    ODD = 4
    MALFORMED = 8
    CROSSING = 16
    NOT_RECTANGULAR = 32
    MASK_INVALID = 64
    VISIBILITY = 128
    HIDDEN_PLACED = 256


class Geometry(IntEnum):
    """The shape a record gives besides, or instead of, its box."""

    BOX = 0
    POLYGON = 1
    RLE = 2
    RLE_STRING = 3
    OBB = 4
    POSE = 5


ProblemKind = Literal[
    "label-unreadable",  # a whole label file
    "record-unreadable",  # one line, record or object of it
    "annotation-without-image",
    "class-name-missing",
    "box-malformed",  # a record whose box is there but is not four numbers
    "flag-invalid",  # iscrowd, difficult, truncated … neither 0 nor 1
    "id-invalid",  # an id that is missing or neither an integer nor text
    "id-mixed-types",
    "image-missing",
    "image-orphan",
    "image-unreadable",
    "image-size-invalid",  # a declared width or height that is not a positive integer
    "label-orphan",
    "label-missing",  # a list names it, but no label record exists
    "mask-missing",  # VOC: segmented, and no mask
    "coco-key-missing",  # no list of annotations or categories
    "lvis-fields-missing",
    "class-number-float",  # YOLO: 0.0 instead of 0
    "exponent-notation",  # YOLO: 1e-05
    "keypoint-shape-missing",
    "listed-missing",  # a list names it, but neither image nor label exists
    "listed-twice",
    "list-malformed",  # blank line, comment, extension in a list of ids …
    "split-empty",
    "image-in-several-splits",  # the entries that name one folder or list for two splits
    "class-names-invalid",
    "class-names-conflict",
    "class-name-not-text",  # YAML takes it for a number, a truth value, nothing or a date
    "class-folder-hidden",
    "config-invalid",
    "download-script",
    "duplicate-key",
    "json-nonstandard",
    "text-encoding",
    "path-outside-dataset",
    "path-absolute",
    "path-backslash",
    "path-by-basename",
    "stem-collision",
    "filename-mismatch",
    "link-outside-dataset",
    "special-file",
    "folder-unreadable",
    "parallel-labels",
    "junk-files",
    "stale-cache",
    "licence-conflict",
    "licence-missing",
    "personal-data",
]


@dataclass(frozen=True, slots=True)
class Place:
    """Where something is: a file relative to the dataset root with `/`, in it a 1-based line or a JSON pointer; `detail` says more.

    `box` is the record's box where it has one, xyxy in pixels of `image`; `labels` are the image's own labels, class and box each, where
    they are to be compared with those of another image. Both are there to be drawn and do not tell places apart.
    """

    file: str | None = None
    line: int | None = None
    pointer: str | None = None
    image: str | None = None
    annotation_id: int | str | None = None
    class_name: str | None = None
    split: str | None = None
    detail: str | None = None
    box: tuple[float, float, float, float] | None = dataclasses.field(default=None, compare=False)
    labels: tuple[tuple[str, tuple[float, float, float, float] | None], ...] = dataclasses.field(default=(), compare=False)


@dataclass(frozen=True, slots=True)
class Problem:
    """What could not become a column. `kind` is the name of the check that reports it; `text` says what is wrong, for a person.

    `count` is more than 1 where one problem stands for a flood of alike ones, of which `place` is the first.
    """

    kind: ProblemKind
    place: Place
    text: str
    count: int = 1


@dataclass(frozen=True, slots=True, eq=False)
class Images:
    """One row an image file.

    file_name      object (str): path of the image file relative to the root, `/` between parts, whether it is there or not
    has_file       bool: the file was found
    width, height  int32: as the labels declare, UNKNOWN_SIZE where they do not
    file_width, file_height  int32: from the file's header with the EXIF orientation applied, UNKNOWN_SIZE where missing or unreadable
    in_split       bool (n, number of splits)
    label_state    uint8: a LabelState
    source_id      int64, or object where ids are text: the id its label file gives it; NO_ID where none
    source         int32: row in `Dataset.sources` of the file that describes it, NO_SOURCE where none
    position       int64: index in its source (COCO: of `images`), 0 where the source describes one image
    picture        int32: rows that are stated to repeat one picture share this number (a plan, or the manifest of a written dataset,
                   states it); all others have one of their own
    """

    file_name: NDArray[np.object_]
    has_file: NDArray[np.bool_]
    width: NDArray[np.int32]
    height: NDArray[np.int32]
    file_width: NDArray[np.int32]
    file_height: NDArray[np.int32]
    in_split: NDArray[np.bool_]
    label_state: NDArray[np.uint8]
    source_id: NDArray[Any]
    source: NDArray[np.int32]
    position: NDArray[np.int64]
    picture: NDArray[np.int32]

    def __len__(self) -> int:
        return len(self.file_name)

    @property
    def is_repeat(self) -> NDArray[np.bool_]:
        """Tell for each image whether an earlier row shows the same picture and both are stated to."""
        repeat = np.ones(len(self), bool)
        repeat[np.unique(self.picture, return_index=True)[1]] = False
        return repeat


@dataclass(frozen=True, slots=True, eq=False)
class Annotations:
    """One row a label record.

    image          int32: row in `images`
    class_index    int32: row in `classes`, -1 for a class nobody declared
    class_id       int64 or object: the class as the record names it (COCO category_id, YOLO number, VOC name where undeclared)
    corners        float64 (n, 4): xyxy in pixels as written (before any VOC shift; see `Dataset.boxes`); NaN where there is no box.
                   Where a normalised box has no image to give its size, corners are shares of the image
    area           float64: as written, NaN where not
    flags          uint16: Flag bits
    geometry       uint8: a Geometry
    source_id      int64 or object: the id the record gives itself, NO_ID where none
    source         int32: row in `Dataset.sources`
    position       int32: COCO: index in `annotations`; VOC: 0-based number of the object in its file; YOLO: 0-based line number
    line           int32: 1-based line in the source, 0 where lines say nothing (COCO)
    """

    image: NDArray[np.int32]
    class_index: NDArray[np.int32]
    class_id: NDArray[Any]
    corners: Boxes
    area: NDArray[np.float64]
    flags: NDArray[np.uint16]
    geometry: NDArray[np.uint8]
    source_id: NDArray[Any]
    source: NDArray[np.int32]
    position: NDArray[np.int32]
    line: NDArray[np.int32]

    def __len__(self) -> int:
        return len(self.image)

    def has(self, flag: Flag) -> NDArray[np.bool_]:
        """Tell for each annotation whether it carries any of the flags."""
        carried: NDArray[np.bool_] = (self.flags & np.uint16(flag)) != 0
        return carried


@dataclass(frozen=True, slots=True, eq=False)
class Shapes:
    """What the polygons, masks and keypoints of the label records are like; one row an annotation. The numbers themselves are not kept.

    flaws      uint16: Flaw bits
    rings      int32: polygon rings, 0 where there is no polygon
    shortest   int32: numbers in the shortest ring, -1 where there is none
    extent     float64 (n, 4): box around polygon or mask, xyxy in pixels; NaN where there is none
    area       float64: sum of the rings' areas, or of the mask's pixels; NaN where there is none
    largest    float64: area of the largest ring, or the mask's
    mask_size  int64 (n, 2): width and height that a mask declares, -1 where there is none
    mask_sum   int64: sum of the run lengths, -1 where there is no mask or it cannot be decoded
    keypoints  int32: numbers in the list of keypoints, -1 where there is none
    visible    int32: keypoints with a visibility above 0, -1 where there is no list
    declared   int32: `num_keypoints` as written, -1 where not
    """

    flaws: NDArray[np.uint16]
    rings: NDArray[np.int32]
    shortest: NDArray[np.int32]
    extent: Boxes
    area: NDArray[np.float64]
    largest: NDArray[np.float64]
    mask_size: NDArray[np.int64]
    mask_sum: NDArray[np.int64]
    keypoints: NDArray[np.int32]
    visible: NDArray[np.int32]
    declared: NDArray[np.int32]

    def __len__(self) -> int:
        return len(self.flaws)

    def has(self, flaw: Flaw) -> NDArray[np.bool_]:
        """Tell for each annotation whether its shape has any of the flaws."""
        flawed: NDArray[np.bool_] = (self.flaws & np.uint16(flaw)) != 0
        return flawed


def no_shapes(n: int) -> Shapes:
    """Make a table of `n` records that give no shape."""
    return Shapes(
        flaws=np.zeros(n, np.uint16),
        rings=np.zeros(n, np.int32),
        shortest=np.full(n, -1, np.int32),
        extent=np.full((n, 4), np.nan),
        area=np.full(n, np.nan),
        largest=np.full(n, np.nan),
        mask_size=np.full((n, 2), -1, np.int64),
        mask_sum=np.full(n, -1, np.int64),
        keypoints=np.full(n, -1, np.int32),
        visible=np.full(n, -1, np.int32),
        declared=np.full(n, -1, np.int32),
    )


@dataclass(frozen=True, slots=True)
class Class:
    """A declared class. `id` is the source's own (COCO category id, YOLO index); `keypoints` the number of keypoints it declares.

    `place` is where the class is declared, None where only label records name it. It does not tell classes apart.
    """

    name: str
    id: int | str
    supercategory: str | None = None
    keypoints: int = 0
    place: Place | None = dataclasses.field(default=None, compare=False, repr=False)


Table = TypeVar("Table", Images, Annotations, Shapes)


def take(table: Table, rows: NDArray[Any]) -> Table:
    """Take rows of a table, by number (repeats allowed) or by Boolean mask."""
    columns = {field.name: getattr(table, field.name)[rows] for field in dataclasses.fields(table)}
    return type(table)(**columns)


def stack(tables: Sequence[Table]) -> Table:
    """Put tables of one kind one after another; integer and text columns become object columns where they meet."""
    columns: dict[str, NDArray[Any]] = {}
    for field in dataclasses.fields(tables[0]):
        parts = [getattr(table, field.name) for table in tables]
        if any(part.dtype == object for part in parts):
            parts = [part.astype(object) for part in parts]
        columns[field.name] = np.concatenate(parts)
    return type(tables[0])(**columns)


def no_annotations() -> Annotations:
    """Make a table of annotations without rows."""
    return Annotations(
        image=np.zeros(0, np.int32),
        class_index=np.zeros(0, np.int32),
        class_id=np.zeros(0, np.int64),
        corners=np.zeros((0, 4)),
        area=np.zeros(0),
        flags=np.zeros(0, np.uint16),
        geometry=np.zeros(0, np.uint8),
        source_id=np.zeros(0, np.int64),
        source=np.zeros(0, np.int32),
        position=np.zeros(0, np.int32),
        line=np.zeros(0, np.int32),
    )


@dataclass(frozen=True, slots=True, eq=False)
class Made:
    """The images of a dataset that are no files yet: their pictures are made anew, and their labels are not those of any label file.

    recipes   how the pictures are made
    recipe    int32, one an image: row in `recipes`, -1 for an image that is a file
    outlines  polygons, masks and keypoints of the annotations of made images
    outline   int32, one an annotation: row in `outlines`, -1 for an annotation of an image that is a file
    """

    recipes: tuple[Recipe, ...]
    recipe: NDArray[np.int32]
    outlines: Outlines
    outline: NDArray[np.int32]


def take_made(made: Made | None, images: NDArray[Any], annotations: NDArray[Any]) -> Made | None:
    """Take what is made among some images and annotations, by number or mask; None where nothing is.

    Args:
        made: Of the dataset they are taken from.
        images: Its image rows that are taken.
        annotations: Its annotation rows that are taken.
    """
    if made is None:
        return None
    recipe, outline = made.recipe[images], made.outline[annotations]
    used, recipe[recipe >= 0] = np.unique(recipe[recipe >= 0], return_inverse=True)
    if not len(used):
        return None
    outlines = take_outlines(made.outlines, outline[outline >= 0])
    outline[outline >= 0] = np.arange(len(outlines))
    return Made(tuple(made.recipes[row] for row in used.tolist()), recipe, outlines, outline)


@dataclass(frozen=True, slots=True)
class Given:
    """How the user named a dataset that was read: what a command for it has to repeat. Paths are as given, relative ones included."""

    path: str
    format: str | None = None
    images: str | None = None
    classes: str | None = None


@dataclass(frozen=True, eq=False, repr=False)
class Dataset:
    """Images, annotations and classes as columns, with what could not become one.

    root         absolute folder that all paths are relative to
    format       a name in `formats.FORMATS`: "coco", "voc", "yolo" …; `variant` names the layout, `evidence` says why it was taken for that
    task         "detect", "segment", "pose", "obb" or "classify"
    voc_origin   how the corners of a VOC dataset are counted: "1-based", "0-based", "half-open", "unknown"; None elsewhere
    splits       canonical names (train, val, test, all, unassigned, others as written); `split_spelling` as the source spells them
    sources      label files relative to the root
    config_files other files that say what it holds, relative to the root: `data.yaml`, lists of images, lists of class names
    source_split int16, one a source: the split whose images its records belong to; -1 where the file serves any split
    problems     what could not be read into the columns, in file order
    plan         the document of the plan that made it (contract: "dataset-doctor/plan"); None where none did
    origin       the dataset as it was read, where this one was selected from it or made by a plan; None for one as it was read
    given        how the user named it; None where it was not read from files
    made         the images that a plan makes anew; None where all are files. Their annotations name the record that they come from, and
                 until they are written their `file_name` leads to the picture that they are made from
    in_shares    labels give boxes as shares of the image, so that the box of an image whose size is not known is in shares too
    keeps_places where it is written in its own format and no image moves, files keep their places; False gives them the usual ones
    """

    root: Path
    format: FormatName
    variant: str
    task: Literal["detect", "segment", "pose", "obb", "classify"]
    evidence: tuple[str, ...]
    voc_origin: str | None
    classes: tuple[Class, ...]
    splits: tuple[str, ...]
    split_spelling: tuple[str, ...]
    sources: tuple[str, ...]
    source_split: NDArray[np.int16]
    images: Images
    annotations: Annotations
    problems: tuple[Problem, ...]
    config_files: tuple[str, ...] = ()
    plan: Mapping[str, Any] | None = None
    origin: Dataset | None = None
    made: Made | None = None
    given: Given | None = None
    in_shares: bool = False
    keeps_places: bool = True

    def __post_init__(self) -> None:
        images, annotations = self.images, self.annotations
        for table in (images, annotations):
            lengths = {len(getattr(table, field.name)) for field in dataclasses.fields(table)}
            assert len(lengths) == 1, f"columns of different lengths: {lengths}"
        assert images.in_split.shape == (len(images), len(self.splits))
        assert len(self.splits) == len(self.split_spelling) and len(self.sources) == len(self.source_split)
        assert images.in_split.any(axis=1).all(), "an image without a split"
        for column, limit in ((annotations.image, len(images)), (annotations.source, len(self.sources))):
            assert not len(column) or (column.min() >= 0 and column.max() < limit), "a row number out of range"
        assert not len(annotations) or (annotations.class_index.min() >= -1 and annotations.class_index.max() < len(self.classes))
        assert (images.label_state[annotations.image] == LabelState.LABELED).all()
        if self.made is not None:
            assert len(self.made.recipe) == len(images) and len(self.made.outline) == len(annotations)
            assert np.array_equal(self.made.outline >= 0, self.made.recipe[annotations.image] >= 0), "made images and annotations differ"

    # Splits ---------------------------------------------------------------------------------------------------------

    @property
    def filled_splits(self) -> tuple[str, ...]:
        """The names of the splits that hold images."""
        return tuple(self.splits[at] for at in np.flatnonzero(self.images.in_split.any(axis=0)).tolist())

    @property
    def first_split(self) -> Rows:
        """The column of each image's first split."""
        # numpy has no largest of nothing: without images there may be no split either.
        return self.images.in_split.argmax(axis=1) if self.splits else np.zeros(len(self.images), np.intp)

    @property
    def training_split(self) -> str | None:
        """The split that is trained on: `train`, or VOC's `trainval` where there is no `train`; None where there is neither."""
        for names in (self.filled_splits, self.splits):
            if found := next((name for name in TRAINING_SPLITS if name in names), None):
                return found
        return None

    @property
    def default_split(self) -> str | None:
        """The split that a treatment is for if nobody names one: the training split, else the only one with images; None if unclear."""
        filled = self.filled_splits
        return self.training_split or (filled[0] if len(filled) == 1 else self.splits[0] if len(self.splits) == 1 else None)

    @property
    def only_measures(self) -> bool:
        """Whether all images are for measuring: a validation or test set that came alone, which nobody trains on or balances."""
        filled = self.filled_splits
        return bool(filled) and set(filled) <= {"val", "test"}

    def with_train(self) -> Dataset:
        """Call the training split `train`, for what knows no other name."""
        training = self.training_split
        if training is None or training == "train" or "train" in self.splits:
            return self
        splits = tuple("train" if name == training else name for name in self.splits)
        spelling = tuple("train" if name == training else spelled for name, spelled in zip(self.splits, self.split_spelling, strict=True))
        return dataclasses.replace(self, splits=splits, split_spelling=spelling, origin=self.origin or self)

    # Sizes and boxes ------------------------------------------------------------------------------------------------

    @property
    def n_images(self) -> int:
        """How many images there are."""
        return len(self.images)

    @property
    def n_annotations(self) -> int:
        """How many label records there are, crowd regions and ignored ones included."""
        return len(self.annotations)

    @property
    def class_names(self) -> tuple[str, ...]:
        """The names of the classes, in class order."""
        return tuple(c.name for c in self.classes)

    @cached_property
    def boxes(self) -> Boxes:
        """Boxes (n, 4) as xyxy, float64, absolute pixels, 0-based and half-open."""
        return self.annotations.corners + self.corner_shift if self.corner_shift.any() else self.annotations.corners

    @property
    def corner_shift(self) -> NDArray[np.float64]:
        """What added to the corners as written (4,) gives `boxes`: 0 but for VOC, by how it counts pixels."""
        shift = {"1-based": [-1.0, -1.0, 0.0, 0.0], "unknown": [-1.0, -1.0, 0.0, 0.0], "0-based": [0.0, 0.0, 1.0, 1.0]}
        return np.array(shift.get(self.voc_origin or "", [0.0] * 4))

    @cached_property
    def sizes(self) -> NDArray[np.float64]:
        """Width and height of each image (n, 2): what the labels declare where they do, else the file's; NaN where neither is known."""
        declared = np.stack([self.images.width, self.images.height], axis=1).astype(np.float64)
        actual = np.stack([self.images.file_width, self.images.file_height], axis=1).astype(np.float64)
        sizes = np.where((declared > 0).all(axis=1, keepdims=True), declared, actual)
        sizes[(sizes <= 0).any(axis=1)] = np.nan
        sizes.flags.writeable = False
        return sizes

    @cached_property
    def annotation_sizes(self) -> NDArray[np.float64]:
        """Width and height of each annotation's image (n, 2), as `sizes`."""
        per_annotation: NDArray[np.float64] = self.sizes[self.annotations.image]
        per_annotation.flags.writeable = False
        return per_annotation

    @cached_property
    def overshoot_px(self) -> NDArray[np.float64]:
        """How far each box, as written, leaves its image; negative well inside, NaN where no box or no size is known."""
        excess = overshoot(self.annotations.corners, self.annotation_sizes)
        excess.flags.writeable = False
        return excess

    @cached_property
    def is_instance(self) -> NDArray[np.bool_]:
        """Tell for each annotation whether it is an instance: neither a crowd region nor ignored."""
        return ~self.annotations.has(Flag.CROWD | Flag.IGNORE)

    def counts(self) -> sparse.csr_array[Any]:
        """Count instances: a sparse integer matrix, images × classes."""
        from scipy import sparse

        counted = self.is_instance & (self.annotations.class_index >= 0)
        rows, columns = self.annotations.image[counted], self.annotations.class_index[counted]
        ones = np.ones(len(rows), np.int64)
        return sparse.coo_array((ones, (rows, columns)), shape=(self.n_images, len(self.classes))).tocsr()

    def annotations_in_split(self, split: int) -> NDArray[np.bool_]:
        """Tell for each annotation whether it counts in a split: its image does, and its file does not belong to another split."""
        of_source = self.source_split[self.annotations.source]
        counts_in: NDArray[np.bool_] = self.images.in_split[self.annotations.image, split] & ((of_source == -1) | (of_source == split))
        return counts_in

    @property
    def is_made(self) -> NDArray[np.bool_]:
        """Tell for each image whether its picture is made anew."""
        return self.made.recipe >= 0 if self.made is not None else np.zeros(self.n_images, bool)

    # Algebra --------------------------------------------------------------------------------------------------------

    def select(self, rows: NDArray[Any]) -> Dataset:
        """Take images with their annotations, in the order given; a row named twice becomes two images.

        Args:
            rows: Row numbers of images, or a Boolean mask over them.
        """
        rows = np.flatnonzero(rows) if rows.dtype == bool else rows.astype(np.intp)
        order = np.argsort(self.annotations.image, kind="stable")
        start = np.searchsorted(self.annotations.image[order], np.arange(self.n_images + 1))
        per_image = start[rows + 1] - start[rows]
        first = np.cumsum(per_image) - per_image
        within = np.arange(per_image.sum()) - np.repeat(first, per_image)
        marks = order[np.repeat(start[rows], per_image) + within]
        annotations = take(self.annotations, marks)
        new_image = np.repeat(np.arange(len(rows)), per_image).astype(np.int32)
        return dataclasses.replace(
            self,
            images=take(self.images, rows),
            annotations=dataclasses.replace(annotations, image=new_image),
            origin=self.origin or self,
            made=take_made(self.made, rows, marks),
        )

    def holding(self, annotations: NDArray[Any]) -> Dataset:
        """Leave only some annotations; an image that loses all of its own stays labelled, since what it shows has not changed.

        Args:
            annotations: A Boolean mask over the annotations, or their row numbers.
        """
        made = take_made(self.made, np.arange(self.n_images), annotations)
        return dataclasses.replace(self, annotations=take(self.annotations, annotations), made=made)

    # Views ----------------------------------------------------------------------------------------------------------

    def images_frame(self) -> pd.DataFrame:
        """View the images as a pandas DataFrame, one row an image; `split` joins several names with `+`."""
        import pandas as pd

        images = self.images
        names = np.array(self.splits, dtype=object)
        split = ["+".join(names[row]) for row in images.in_split]
        state = [LabelState(value).name.lower() for value in images.label_state]
        return pd.DataFrame(
            {
                "file_name": images.file_name,
                "split": split,
                "label_state": state,
                "width": images.width,
                "height": images.height,
                "file_width": images.file_width,
                "file_height": images.file_height,
                "has_file": images.has_file,
            }
        )

    def annotations_frame(self) -> pd.DataFrame:
        """View the annotations as a pandas DataFrame, one row a label record; boxes are `Dataset.boxes`."""
        import pandas as pd

        annotations = self.annotations
        names = np.array([*self.class_names, None], dtype=object)
        boxes = self.boxes
        flags = {flag.name.lower(): annotations.has(flag) for flag in (Flag.CROWD, Flag.IGNORE, Flag.DIFFICULT) if flag.name}
        return pd.DataFrame(
            {
                "image": annotations.image,
                "file_name": self.images.file_name[annotations.image],
                "class": names[annotations.class_index],
                **{name: boxes[:, column] for column, name in enumerate(("x1", "y1", "x2", "y2"))},
                "area": annotations.area,
                **flags,
                "file": np.array(self.sources, dtype=object)[annotations.source],
                "line": annotations.line,
            }
        )

    def classes_frame(self) -> pd.DataFrame:
        """View the classes as a pandas DataFrame with their image and instance counts."""
        import pandas as pd

        counts = self.counts()
        return pd.DataFrame(
            {
                "id": [c.id for c in self.classes],
                "name": list(self.class_names),
                "images": np.asarray((counts > 0).sum(axis=0)).ravel(),
                "instances": np.asarray(counts.sum(axis=0)).ravel(),
            }
        )

    def __len__(self) -> int:
        return self.n_images

    def __bool__(self) -> bool:
        return True  # also without images

    def _repr_html_(self) -> str:
        """Show the classes with their images and instances as a table in a notebook; the first hundred of them."""
        import html

        rows = zip(self.class_names, *(self._class_counts() if self.classes else ((), ())), strict=True)
        cells = "".join(f"<tr><td>{html.escape(name)}</td><td>{n:,}</td><td>{k:,}</td></tr>" for name, n, k in list(rows)[:100])
        head = "<tr><th>class</th><th>images</th><th>instances</th></tr>"
        return f"<p>{html.escape(repr(self).strip('<>'))}</p><table>{head}{cells}</table>"

    def _class_counts(self) -> tuple[list[int], list[int]]:
        counts = self.counts()
        return np.asarray((counts > 0).sum(axis=0)).ravel().tolist(), np.asarray(counts.sum(axis=0)).ravel().tolist()

    def __repr__(self) -> str:
        splits = ", ".join(f"{name} {int(n):,}" for name, n in zip(self.splits, self.images.in_split.sum(axis=0), strict=True))
        return (
            f"<Dataset {self.format} ({self.variant}): {self.n_images:,} images ({splits}), {self.n_annotations:,} annotations,"
            f" {len(self.classes):,} classes, {len(self.problems):,} problems>"
        )


def concat(datasets: Sequence[Dataset]) -> Dataset:
    """Put datasets under one root one after another; classes unite by id and name, splits by name.

    Boxes keep their meaning: where VOC conventions differ, corners become 0-based and half-open first.
    """
    first = datasets[0]
    assert all(dataset.root == first.root for dataset in datasets), "datasets under different roots"
    alike = len({dataset.voc_origin for dataset in datasets}) == 1
    classes = list(dict.fromkeys(c for dataset in datasets for c in dataset.classes))
    spelling = dict(pair for dataset in reversed(datasets) for pair in zip(dataset.splits, dataset.split_spelling, strict=True))
    splits = list(dict.fromkeys(name for dataset in datasets for name in dataset.splits))
    images, annotations, source_split = [], [], []
    image_start = source_start = picture_start = 0
    for dataset in datasets:
        in_split = np.zeros((dataset.n_images, len(splits)), bool)
        to_split = np.array([splits.index(name) for name in dataset.splits] + [-1], np.int16)
        in_split[:, to_split[:-1]] = dataset.images.in_split
        source = dataset.images.source
        images.append(
            dataclasses.replace(
                dataset.images,
                in_split=in_split,
                source=np.where(source >= 0, source + source_start, source).astype(np.int32),
                picture=dataset.images.picture + np.int32(picture_start),
            )
        )
        to_class = np.array([classes.index(c) for c in dataset.classes] + [-1], np.int32)
        annotations.append(
            dataclasses.replace(
                dataset.annotations,
                image=dataset.annotations.image + np.int32(image_start),
                class_index=to_class[dataset.annotations.class_index],
                source=dataset.annotations.source + np.int32(source_start),
                corners=dataset.annotations.corners if alike else dataset.boxes,
            )
        )
        source_split.append(to_split[dataset.source_split])
        image_start += dataset.n_images
        picture_start += int(dataset.images.picture.max(initial=-1)) + 1
        source_start += len(dataset.sources)
    return dataclasses.replace(
        first,
        origin=None,
        voc_origin=first.voc_origin if alike else "half-open",
        classes=tuple(classes),
        splits=tuple(splits),
        split_spelling=tuple(spelling[name] for name in splits),
        sources=tuple(source for dataset in datasets for source in dataset.sources),
        source_split=np.concatenate(source_split),
        images=stack(images),
        annotations=stack(annotations),
        problems=tuple(problem for dataset in datasets for problem in dataset.problems),
        made=_join_made(datasets),
        config_files=tuple(dict.fromkeys(name for dataset in datasets for name in dataset.config_files)),
    )


def _join_made(datasets: Sequence[Dataset]) -> Made | None:
    """Put what is made in several datasets one after another."""
    if all(dataset.made is None for dataset in datasets):
        return None
    recipes: list[Recipe] = []
    outlines: list[Outlines] = []
    columns: list[tuple[NDArray[np.int32], NDArray[np.int32]]] = []
    n_outlines = 0
    for dataset in datasets:
        made = dataset.made
        if made is None:
            columns.append((np.full(dataset.n_images, -1, np.int32), np.full(dataset.n_annotations, -1, np.int32)))
            continue
        begins = ((made.recipe, len(recipes)), (made.outline, n_outlines))
        recipe, outline = (np.where(column >= 0, column + begin, -1).astype(np.int32) for column, begin in begins)
        columns.append((recipe, outline))
        recipes += made.recipes
        outlines.append(made.outlines)
        n_outlines += len(made.outlines)
    recipe, outline = (np.concatenate(parts) for parts in zip(*columns, strict=True))
    return Made(tuple(recipes), recipe, join_outlines(outlines), outline)
