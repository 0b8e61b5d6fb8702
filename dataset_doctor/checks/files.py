"""DD0: what is wrong with files, paths, lists and configuration, as the readers met it."""

from __future__ import annotations

import dataclasses

from dataset_doctor.checks._found import reported
from dataset_doctor.dataset import Dataset
from dataset_doctor.findings import Facts, Found, Severity


def label_unreadable(dataset: Dataset, facts: Facts) -> Found | None:
    """Flag label files that cannot be read, or only in part.

    **Why it matters.** Every box in the unread part is missing from the counts here and from training: torchvision, detectron2
    and MMDetection stop at such a file, Ultralytics ignores its image.

    **Usual cause.** An interrupted copy or download, a hand edit, a merge conflict, or a file of another kind under the expected
    name.

    **What to do.** Restore the file from its source or export it again. The place says where reading stopped.
    """
    return reported(facts, "label-unreadable", "label file cannot be read in full", "label files cannot be read in full")


def record_unreadable(dataset: Dataset, facts: Facts) -> Found | None:
    """Flag label records that are not what the format asks for: text where a number belongs, too few numbers, missing parts.

    **Why it matters.** Ultralytics ignores the whole image for one such line; XML and JSON readers stop with ValueError or
    KeyError. The record is not counted here.

    **Usual cause.** A hand edit, commas instead of spaces, a class name instead of its number, or an export of another format.

    **What to do.** Correct or delete the listed records.
    """
    return reported(facts, "record-unreadable", "label record cannot be read", "label records cannot be read")


def image_missing(dataset: Dataset, facts: Facts) -> Found | None:
    """Flag images that the labels describe but that are not in the dataset.

    **Why it matters.** torchvision and detectron2 stop with FileNotFoundError in the middle of the first epoch; Ultralytics drops
    the image from the list.

    **Usual cause.** Files lost in a copy, renamed images, another extension, or a path that held on another machine.

    **What to do.** Bring the files back, or remove their records. If the images lie elsewhere, give their folder with `--images`.
    """
    return reported(facts, "image-missing", "image file is missing", "image files are missing")


def image_orphan(dataset: Dataset, facts: Facts) -> Found | None:
    """Flag image files that no label file, list or configuration mentions.

    **Why it matters.** They cost space and are not trained on. If they were meant to be background images, they are not counted
    as such.

    **Usual cause.** New images that were not labelled yet, or labels lost on the way.

    **What to do.** Label them, list them as background images, or move them out of the dataset.
    """
    return reported(facts, "image-orphan", "image is in no label file or list", "images are in no label file or list")


def label_orphan(dataset: Dataset, facts: Facts) -> Found | None:
    """Flag label files that belong to no image.

    **Why it matters.** Their boxes never reach the trainer: Ultralytics and torchvision silently ignore them, FiftyOne
    stops.

    **Usual cause.** An image that was deleted or renamed, `a.jpg.txt` instead of `a.txt`, or labels in a folder that the
    label-path rule does not reach.

    **What to do.** Bring the image back, rename the label file after its image, or delete it.
    """
    return reported(facts, "label-orphan", "label file has no image", "label files have no image")


def image_unreadable(dataset: Dataset, facts: Facts) -> Found | None:
    """Flag image files whose header cannot be read: empty, not an image, or cut off before the size.

    **Why it matters.** Ultralytics drops the image with its boxes; detectron2 and torchvision stop in the middle of an epoch.

    **Usual cause.** An interrupted download, a web page saved under the name of a image, or a file system error.

    **What to do.** Fetch the file again or remove it with its labels.
    """
    return reported(facts, "image-unreadable", "image file cannot be opened", "image files cannot be opened")


def annotation_without_image(dataset: Dataset, facts: Facts) -> Found | None:
    """Flag annotations whose image the file does not know.

    **Why it matters.** pycocotools and MMDetection silently leave them out, FiftyOne and Ultralytics' converter stop with
    KeyError. They are counted nowhere.

    **Usual cause.** Images removed from the list but not their annotations, or files merged without renumbering.

    **What to do.** Remove the annotations, or bring the image records back.
    """
    return reported(facts, "annotation-without-image", "annotation belongs to no image", "annotations belong to no image")


def box_malformed(dataset: Dataset, facts: Facts) -> Found | None:
    """Flag records whose box is not four finite numbers.

    **Why it matters.** detectron2 raises ValueError, others fail when they unpack the box; with NaN the loss becomes NaN.

    **Usual cause.** An export of polygons without boxes, a rotated box with five numbers, or a division by zero in a script.

    **What to do.** Compute the box from the polygon or mask where there is one; else draw it again or delete the record.
    """
    return reported(facts, "box-malformed", "record has no usable box", "records have no usable box")


def flag_invalid(dataset: Dataset, facts: Facts) -> Found | None:
    """Flag values (`iscrowd`, `difficult`, `truncated`, `occluded`) that are neither 0 nor 1.

    **Why it matters.** Readers call int() on them and stop, or take any text for true.

    **Usual cause.** `true`, `yes` or an empty element written by a script.

    **What to do.** Write 0 or 1.
    """
    return reported(facts, "flag-invalid", "flag is neither 0 nor 1", "flags are neither 0 nor 1")


def id_invalid(dataset: Dataset, facts: Facts) -> Found | None:
    """Flag ids that are missing, or neither a whole number nor text.

    **Why it matters.** pycocotools raises KeyError on a missing id; a float or Boolean id does not match its references.

    **Usual cause.** A script that built the file by hand, or pandas turning ids into floats.

    **What to do.** Number the records from 1 and use whole numbers in all references.
    """
    return reported(facts, "id-invalid", "id is missing or not a whole number", "ids are missing or not whole numbers")


def id_mixed_types(dataset: Dataset, facts: Facts) -> Found | None:
    """Flag label files in which some ids are numbers and others text.

    **Why it matters.** `"1"` and `1` are different ids: annotations lose their image, and COCO evaluation says that results do
    not correspond to the set.

    **Usual cause.** File names used as ids, or files of two tools merged.

    **What to do.** Renumber with whole numbers throughout.
    """
    return reported(facts, "id-mixed-types", "label file mixes number and text ids", "label files mix number and text ids")


def class_name_missing(dataset: Dataset, facts: Facts) -> Found | None:
    """Flag objects or categories without a name.

    **Why it matters.** Readers stop with AttributeError or KeyError; such objects belong to no class here.

    **Usual cause.** A label left blank in the labelling tool.

    **What to do.** Name the class or delete the record.
    """
    return reported(facts, "class-name-missing", "record has no class name", "records have no class name")


def class_names_invalid(dataset: Dataset, facts: Facts) -> Found | None:
    """Flag a list of class names that does not fit its numbers: `nc` against `names`, gaps or repeats in the indices.

    **Why it matters.** Ultralytics stops with SyntaxError or KeyError; Datumaro numbers the names in file order, so that every
    label means another class.

    **Usual cause.** A class added to one place only.

    **What to do.** List the names as 0, 1, 2 … without gaps, and leave `nc` out or make it agree.
    """
    return reported(facts, "class-names-invalid", "list of class names does not fit", "lists of class names do not fit")


def class_names_conflict(dataset: Dataset, facts: Facts) -> Found | None:
    """Flag two lists of class names, or a list and the labels, that contradict each other.

    **Why it matters.** The same number means one class to one tool and another class to the next.

    **Usual cause.** `classes.txt` rewritten by the labelling tool in the order in which classes were first used.

    **What to do.** Find out which list the labels were made with, and delete the other.
    """
    return reported(facts, "class-names-conflict", "list of classes contradicts another", "lists of classes contradict others")


def config_invalid(dataset: Dataset, facts: Facts) -> Found | None:
    """Flag a configuration file that cannot be read or lacks what it must say.

    **Why it matters.** Ultralytics, darknet and others stop at once; here the folders were read without it.

    **Usual cause.** A hand edit, tabs in YAML, a key misspelt.

    **What to do.** Correct the file at the place given.
    """
    return reported(facts, "config-invalid", "configuration entry cannot be used", "configuration entries cannot be used")


def image_size_invalid(dataset: Dataset, facts: Facts) -> Found | None:
    """Flag image records whose width or height is not a positive whole number.

    **Why it matters.** detectron2 and torchvision raise KeyError or IndexError or scale boxes by nonsense; MMDetection decodes
    every image instead.

    **Usual cause.** Tools that write 0 or -1 for a size they did not know.

    **What to do.** Write the size of the image file.
    """
    return reported(facts, "image-size-invalid", "image record has no usable size", "image records have no usable size")


def label_missing(dataset: Dataset, facts: Facts) -> Found | None:
    """Flag images that a list names but that have no label record.

    **Why it matters.** torchvision, detectron2 and MMDetection stop with FileNotFoundError; Datumaro takes them for images
    without objects.

    **Usual cause.** Exporters that write no file for images without objects, or labels lost on the way.

    **What to do.** Label the images; write an empty label file for true background images.
    """
    return reported(facts, "label-missing", "listed image has no label file", "listed images have no label file")


def listed_missing(dataset: Dataset, facts: Facts) -> Found | None:
    """Flag entries of a list for which neither an image nor a label exists.

    **Why it matters.** The trainer stops when it comes to them, or trains on fewer images than the list says.

    **Usual cause.** Files moved or deleted after the list was written, or paths of another machine.

    **What to do.** Bring the files back or remove the entries.
    """
    return reported(facts, "listed-missing", "list entry leads to no file", "list entries lead to no file")


def listed_twice(dataset: Dataset, facts: Facts) -> Found | None:
    """Flag images that one list or label file names more than once.

    **Why it matters.** They are trained on twice as often, and counted twice by tools that count lines. Here each is one image.

    **Usual cause.** Lists put together by appending.

    **What to do.** Remove the repeats, unless they were meant as oversampling.
    """
    return reported(facts, "listed-twice", "image is listed more than once", "images are listed more than once")


def list_malformed(dataset: Dataset, facts: Facts) -> Found | None:
    """Flag lines of a split list that strict readers stumble over: blank lines, comments, extensions or paths where an id belongs.

    **Why it matters.** torchvision looks for an image without a name, detectron2 cuts the id at `#` or at a space, others append
    `.jpg` to `.jpg`.

    **Usual cause.** Lists written by hand or by a shell command.

    **What to do.** One bare id a line, nothing else.
    """
    return reported(facts, "list-malformed", "line of a list is malformed", "lines of lists are malformed")


def split_empty(dataset: Dataset, facts: Facts) -> Found | None:
    """Flag splits that the configuration names but that hold no image.

    **Why it matters.** Ultralytics stops with FileNotFoundError, or trains without validation.

    **Usual cause.** A path that is relative to another folder, a misspelt name, or data that was not unpacked.

    **What to do.** Correct the path in the configuration, or leave the split out.
    """
    return reported(facts, "split-empty", "split holds no image", "splits hold no image")


def duplicate_key(dataset: Dataset, facts: Facts) -> Found | None:
    """Flag keys that occur twice in one JSON or YAML object.

    **Why it matters.** Every parser keeps the last and silently forgets the first; two lists of annotations become one.

    **Usual cause.** Files merged by hand.

    **What to do.** Keep one of them, or merge their values.
    """
    return reported(facts, "duplicate-key", "duplicate key in one object", "duplicate keys in one object")


def json_nonstandard(dataset: Dataset, facts: Facts) -> Found | None:
    """Flag JSON that only some parsers accept: NaN or Infinity, a byte-order mark, a trailing comma.

    **Why it matters.** Python's json reads NaN, most other parsers refuse the whole file; a NaN in a box makes the loss NaN, and
    in a polygon crashes pycocotools.

    **Usual cause.** Numbers written without a check, or a file saved by a text editor.

    **What to do.** Write null or leave the member out; save as UTF-8 without a byte-order mark.
    """
    return reported(facts, "json-nonstandard", "place is not standard JSON", "places are not standard JSON")


def text_encoding(dataset: Dataset, facts: Facts) -> Found | None:
    """Flag text files that are not plain UTF-8.

    **Why it matters.** pycocotools and others read with the encoding of the machine and stop with UnicodeDecodeError, or take the
    byte-order mark for part of the first number or name.

    **Usual cause.** Files saved on a system with another default encoding.

    **What to do.** Save as UTF-8 without a byte-order mark.
    """
    return reported(facts, "text-encoding", "text file is not plain UTF-8", "text files are not plain UTF-8")


def path_by_basename(dataset: Dataset, facts: Facts) -> Found | None:
    """Flag label files whose image paths do not exist as written; the images were found by their file names alone.

    **Why it matters.** Trainers look only where the path says and find no image.

    **Usual cause.** Images moved after the export, or a prefix that the export tool adds.

    **What to do.** Correct the paths, or move the images to where the labels expect them.
    """
    return reported(
        facts,
        "path-by-basename",
        "label file has image paths that do not exist as written",
        "label files have image paths that do not exist as written",
    )


def stem_collision(dataset: Dataset, facts: Facts) -> Found | None:
    """Flag images that share one label file, or label files that share one image.

    **Why it matters.** One set of boxes is trained on two images, or one overwrites the other in an export.

    **Usual cause.** `a.jpg` and `a.png` side by side, or folders flattened into one.

    **What to do.** Rename one of the images together with its label file.
    """
    return reported(facts, "stem-collision", "name is shared by several files", "names are shared by several files")


def filename_mismatch(dataset: Dataset, facts: Facts) -> Found | None:
    """Flag label files that name another image than the one they belong to by their own name.

    **Why it matters.** Some readers go by the file name inside, others by the name of the label file, and load different
    images.

    **Usual cause.** Images renamed after labelling, or labels copied from another image.

    **What to do.** Look at which image the boxes fit, then make both names agree.
    """
    return reported(facts, "filename-mismatch", "label file names another image", "label files name another image")


def folder_unreadable(dataset: Dataset, facts: Facts) -> Found | None:
    """Flag folders that could not be listed.

    **Why it matters.** Nothing in them was counted.

    **Usual cause.** Missing permissions or a network drive that is not there.

    **What to do.** Give yourself read access, then audit again.
    """
    return reported(facts, "folder-unreadable", "folder cannot be listed", "folders cannot be listed")


def parallel_labels(dataset: Dataset, facts: Facts) -> Found | None:
    """Flag labels in a second format for the same images.

    **Why it matters.** Only one set was audited; trainers that read the other may see other boxes.

    **Usual cause.** An export in several formats side by side.

    **What to do.** Audit the other with `--format`, or keep one of them.
    """
    return reported(facts, "parallel-labels", "second set of labels was left out", "further sets of labels were left out")


def coco_key_missing(dataset: Dataset, facts: Facts) -> Found | None:
    """Flag COCO files without a list of annotations, or without categories for their annotations.

    **Why it matters.** pycocotools stops with KeyError as soon as annotations or categories are asked for; detectron2 stops where there is
    no category.

    **Usual cause.** A file for images only (a test set), an exporter that leaves out empty lists (detectron2 does), or a part of a file.

    **What to do.** Add `"annotations": []` where there are none; restore the list of categories.
    """
    found = reported(facts, "coco-key-missing", "list is missing in a label file", "lists are missing in label files")
    problems = facts.statistics.problems.get("coco-key-missing", ())
    if found is None or any((problem.place.pointer or "") == "/categories" for problem in problems):
        return found
    split_of = dict(zip(dataset.sources, dataset.source_split.tolist(), strict=True))
    only_tests = all(dataset.splits[split_of.get(problem.place.file or "", 0)] == "test" for problem in problems)
    return dataclasses.replace(found, severity=Severity.INFO if only_tests else Severity.WARNING)


def lvis_fields_missing(dataset: Dataset, facts: Facts) -> Found | None:
    """Flag images of an LVIS dataset without `neg_category_ids` or `not_exhaustive_category_ids`.

    **Why it matters.** LVIS labels each image for some classes only. These lists say which classes were looked for; without them the LVIS
    evaluation stops with KeyError, and a class that was not looked for counts as absent.

    **Usual cause.** A subset or conversion by a script made for COCO.

    **What to do.** Copy the lists from the original file; write empty lists only if every class was looked for.
    """
    return reported(facts, "lvis-fields-missing", "image lacks LVIS's lists of classes", "images lack LVIS's lists of classes")


def class_number_float(dataset: Dataset, facts: Facts) -> Found | None:
    """Flag YOLO rows whose class number has a decimal point.

    **Why it matters.** Ultralytics reads `0.0` as 0; Darknet and datumaro stop or skip the row.

    **Usual cause.** `np.savetxt`, or a table of numbers written as it is.

    **What to do.** Write the class as a whole number.
    """
    return reported(facts, "class-number-float", "class number has a decimal point", "class numbers have a decimal point")


def exponent_notation(dataset: Dataset, facts: Facts) -> Found | None:
    """Flag YOLO rows with numbers such as `1e-05`.

    **Why it matters.** Ultralytics reads them; datumaro and CVAT do not take the file for YOLO.

    **Usual cause.** `str()` or `%g` of a small number.

    **What to do.** Write numbers with a fixed number of decimals.
    """
    return reported(facts, "exponent-notation", "row has a number with an exponent", "rows have numbers with an exponent")


def keypoint_shape_missing(dataset: Dataset, facts: Facts) -> Found | None:
    """Flag a YOLO pose dataset whose configuration has no `kpt_shape`.

    **Why it matters.** Ultralytics stops: it cannot know how many keypoints a row holds, and whether each has a visibility.

    **Usual cause.** A `data.yaml` copied from a detection dataset.

    **What to do.** Add `kpt_shape: [number of keypoints, 2 or 3]`, and `flip_idx` for left and right.
    """
    return reported(facts, "keypoint-shape-missing", "pose dataset has no kpt_shape", "pose datasets have no kpt_shape")


def mask_missing(dataset: Dataset, facts: Facts) -> Found | None:
    """Flag VOC files that say the image is segmented, where there is no mask of it.

    **Why it matters.** Detection is not concerned. A trainer of masks that goes by `segmented` stops with FileNotFoundError.

    **Usual cause.** A copy without the folders SegmentationClass and SegmentationObject, or a template with `<segmented>1</segmented>`.

    **What to do.** Nothing for detection; else bring the masks back, or set `segmented` to 0.
    """
    return reported(facts, "mask-missing", "image is called segmented and has no mask", "images are called segmented and have no mask")
