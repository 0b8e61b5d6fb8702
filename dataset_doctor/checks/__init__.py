"""The table of checks: one line a check, in code order. A code is never used again for something else."""

import re
from collections.abc import Iterable

from dataset_doctor.checks import classes, duplicates, files, images, safety, splits
from dataset_doctor.checks.labels import boxes, ids, records, repeats, shapes, sizes
from dataset_doctor.errors import UsageError, did_you_mean
from dataset_doctor.findings import Check, Severity

__all__ = ["CHECKS", "FAMILIES", "find_check", "select"]

FAMILIES = {
    "DD0": "files, paths, lists and configuration",
    "DD1": "label records",
    "DD2": "classes and balance",
    "DD3": "splits",
    "DD4": "images",
    "DD5": "duplicates",
    "DD6": "safety and portability",
}
"""What the checks of each hundred of codes are about."""

CHECKS: tuple[Check, ...] = (
    Check("DD001", "label-unreadable", Severity.ERROR, "none", files.label_unreadable),
    Check("DD002", "record-unreadable", Severity.ERROR, "none", files.record_unreadable),
    Check("DD003", "image-missing", Severity.ERROR, "optional", files.image_missing),
    Check("DD004", "image-orphan", Severity.WARNING, "optional", files.image_orphan),
    Check("DD005", "label-orphan", Severity.WARNING, "optional", files.label_orphan),
    Check("DD006", "image-unreadable", Severity.ERROR, "none", files.image_unreadable),
    Check("DD007", "annotation-without-image", Severity.ERROR, "optional", files.annotation_without_image),
    Check("DD008", "box-malformed", Severity.ERROR, "optional", files.box_malformed),
    Check("DD009", "flag-invalid", Severity.WARNING, "safe", files.flag_invalid),
    Check("DD010", "id-invalid", Severity.ERROR, "safe", files.id_invalid),
    Check("DD011", "id-mixed-types", Severity.WARNING, "safe", files.id_mixed_types),
    Check("DD012", "class-name-missing", Severity.ERROR, "none", files.class_name_missing),
    Check("DD013", "class-names-invalid", Severity.ERROR, "safe", files.class_names_invalid),
    Check("DD014", "class-names-conflict", Severity.WARNING, "none", files.class_names_conflict),
    Check("DD015", "config-invalid", Severity.ERROR, "none", files.config_invalid),
    Check("DD016", "image-size-invalid", Severity.WARNING, "safe", files.image_size_invalid),
    Check("DD017", "label-missing", Severity.ERROR, "optional", files.label_missing),
    Check("DD018", "listed-missing", Severity.ERROR, "optional", files.listed_missing),
    Check("DD019", "listed-twice", Severity.WARNING, "safe", files.listed_twice),
    Check("DD020", "list-malformed", Severity.WARNING, "safe", files.list_malformed),
    Check("DD021", "split-empty", Severity.ERROR, "none", files.split_empty),
    Check("DD022", "duplicate-key", Severity.WARNING, "none", files.duplicate_key),
    Check("DD023", "json-nonstandard", Severity.WARNING, "safe", files.json_nonstandard),
    Check("DD024", "text-encoding", Severity.WARNING, "safe", files.text_encoding),
    Check("DD025", "path-by-basename", Severity.WARNING, "safe", files.path_by_basename),
    Check("DD026", "stem-collision", Severity.ERROR, "optional", files.stem_collision),
    Check("DD027", "filename-mismatch", Severity.WARNING, "safe", files.filename_mismatch),
    Check("DD028", "folder-unreadable", Severity.ERROR, "none", files.folder_unreadable),
    Check("DD029", "parallel-labels", Severity.INFO, "none", files.parallel_labels),
    Check("DD030", "coco-key-missing", Severity.ERROR, "optional", files.coco_key_missing),
    Check("DD031", "lvis-fields-missing", Severity.ERROR, "optional", files.lvis_fields_missing),
    Check("DD032", "class-number-float", Severity.INFO, "safe", files.class_number_float),
    Check("DD033", "exponent-notation", Severity.INFO, "safe", files.exponent_notation),
    Check("DD034", "keypoint-shape-missing", Severity.ERROR, "optional", files.keypoint_shape_missing),
    Check("DD035", "mask-missing", Severity.INFO, "safe", files.mask_missing),
    Check("DD101", "box-degenerate", Severity.ERROR, "optional", boxes.box_degenerate),
    Check("DD102", "box-outside-image", Severity.ERROR, "optional", boxes.box_outside_image),
    Check("DD103", "box-edge-excess", Severity.INFO, "safe", boxes.box_edge_excess),
    Check("DD104", "box-missing", Severity.ERROR, "optional", boxes.box_missing),
    Check("DD105", "box-tiny", Severity.INFO, "none", boxes.box_tiny),
    Check("DD106", "box-full-image", Severity.INFO, "none", boxes.box_full_image),
    Check("DD107", "box-aspect-extreme", Severity.INFO, "none", boxes.box_aspect_extreme),
    Check("DD108", "box-not-finite", Severity.ERROR, "optional", boxes.box_not_finite),
    Check("DD109", "box-rotated", Severity.WARNING, "optional", boxes.box_rotated),
    Check("DD110", "class-undeclared", Severity.ERROR, "optional", records.class_undeclared),
    Check("DD111", "boxes-look-xyxy", Severity.ERROR, "optional", boxes.boxes_look_xyxy),
    Check("DD112", "boxes-look-normalized", Severity.ERROR, "optional", boxes.boxes_look_normalized),
    Check("DD113", "boxes-look-in-pixels", Severity.ERROR, "optional", boxes.boxes_look_in_pixels),
    Check("DD114", "boxes-look-corner-ordered", Severity.ERROR, "optional", boxes.boxes_look_corner_ordered),
    Check("DD115", "boxes-all-alike", Severity.WARNING, "none", boxes.boxes_all_alike),
    Check("DD116", "annotation-duplicate", Severity.WARNING, "safe", repeats.annotation_duplicate, needs_shapes=True),
    Check("DD117", "annotation-near-duplicate", Severity.WARNING, "optional", repeats.annotation_near_duplicate, needs_shapes=True),
    Check("DD118", "annotation-class-conflict", Severity.WARNING, "none", repeats.annotation_class_conflict),
    Check("DD120", "annotation-id-zero", Severity.WARNING, "safe", ids.annotation_id_zero),
    Check("DD121", "annotation-id-missing", Severity.ERROR, "safe", ids.annotation_id_missing),
    Check("DD122", "annotation-id-duplicate", Severity.ERROR, "safe", ids.annotation_id_duplicate),
    Check("DD123", "image-id-duplicate", Severity.ERROR, "optional", ids.image_id_duplicate),
    Check("DD124", "category-id-zero", Severity.WARNING, "optional", ids.category_id_zero),
    Check("DD125", "category-id-duplicate", Severity.ERROR, "optional", ids.category_id_duplicate),
    Check("DD126", "category-is-background", Severity.WARNING, "optional", ids.category_is_background),
    Check("DD127", "id-is-text", Severity.INFO, "optional", ids.id_is_text),
    Check("DD130", "area-missing", Severity.ERROR, "safe", records.area_missing),
    Check("DD131", "area-wrong", Severity.WARNING, "optional", records.area_wrong, needs_shapes=True),
    Check("DD132", "crowd-key-missing", Severity.ERROR, "safe", records.crowd_key_missing),
    Check("DD133", "crowd-with-polygon", Severity.WARNING, "optional", records.crowd_with_polygon),
    Check("DD134", "all-crowd", Severity.WARNING, "optional", records.all_crowd),
    Check("DD135", "ignore-flag", Severity.WARNING, "optional", records.ignore_flag),
    Check("DD136", "score-in-labels", Severity.WARNING, "optional", records.score_in_labels),
    Check("DD140", "all-difficult", Severity.WARNING, "none", records.all_difficult),
    Check("DD141", "origin-zero", Severity.INFO, "optional", records.origin_zero),
    Check("DD142", "origin-mixed", Severity.WARNING, "optional", records.origin_mixed),
    Check("DD143", "corners-fractional", Severity.INFO, "optional", records.corners_fractional),
    Check("DD144", "voc-optional-missing", Severity.INFO, "safe", records.voc_optional_missing),
    Check("DD145", "elements-unordered", Severity.INFO, "safe", records.elements_unordered),
    Check("DD150", "classes-count-from-one", Severity.ERROR, "optional", records.classes_count_from_one),
    Check("DD151", "rows-mixed", Severity.ERROR, "optional", records.rows_mixed),
    Check("DD152", "task-mixed", Severity.ERROR, "optional", records.task_mixed),
    Check("DD160", "polygon-too-short", Severity.ERROR, "optional", shapes.polygon_too_short, needs_shapes=True),
    Check("DD161", "polygon-odd", Severity.ERROR, "optional", shapes.polygon_odd, needs_shapes=True),
    Check("DD162", "polygon-not-nested", Severity.ERROR, "optional", shapes.polygon_not_nested, needs_shapes=True),
    Check("DD163", "polygon-malformed", Severity.ERROR, "optional", shapes.polygon_malformed, needs_shapes=True),
    Check("DD164", "segmentation-empty", Severity.INFO, "optional", shapes.segmentation_empty, needs_shapes=True),
    Check("DD165", "polygon-outside", Severity.WARNING, "optional", shapes.polygon_outside, needs_shapes=True),
    Check("DD166", "polygon-crossing", Severity.WARNING, "optional", shapes.polygon_crossing, needs_shapes=True),
    Check("DD167", "box-differs-from-shape", Severity.WARNING, "optional", shapes.box_differs_from_shape, needs_shapes=True),
    Check("DD168", "mask-size-differs", Severity.ERROR, "none", shapes.mask_size_differs, needs_shapes=True),
    Check("DD169", "mask-length-wrong", Severity.ERROR, "none", shapes.mask_length_wrong, needs_shapes=True),
    Check("DD170", "mask-invalid", Severity.ERROR, "optional", shapes.mask_invalid, needs_shapes=True),
    Check("DD171", "obb-not-rectangular", Severity.WARNING, "optional", shapes.obb_not_rectangular, needs_shapes=True),
    Check("DD172", "keypoints-length", Severity.ERROR, "optional", shapes.keypoints_length, needs_shapes=True),
    Check("DD173", "keypoints-count", Severity.WARNING, "safe", shapes.keypoints_count, needs_shapes=True),
    Check("DD174", "keypoints-visibility", Severity.ERROR, "optional", shapes.keypoints_visibility, needs_shapes=True),
    Check("DD175", "keypoints-hidden-placed", Severity.INFO, "optional", shapes.keypoints_hidden_placed, needs_shapes=True),
    Check("DD180", "image-size-missing", Severity.ERROR, "safe", sizes.image_size_missing),
    Check("DD181", "image-size-mismatch", Severity.ERROR, "optional", sizes.image_size_mismatch),
    Check("DD182", "image-size-swapped", Severity.ERROR, "optional", sizes.image_size_swapped),
    Check("DD183", "image-too-small", Severity.ERROR, "none", sizes.image_too_small),
    Check("DD184", "image-not-jpg", Severity.WARNING, "optional", sizes.image_not_jpg),
    Check("DD201", "class-imbalance", Severity.WARNING, "optional", classes.class_imbalance, kind="rebalance"),
    Check("DD202", "class-rare", Severity.INFO, "none", classes.class_rare, kind="collect"),
    Check("DD203", "class-unused", Severity.INFO, "optional", classes.class_unused),
    Check("DD204", "class-names-alike", Severity.WARNING, "optional", classes.class_names_alike),
    Check("DD205", "class-name-untidy", Severity.WARNING, "optional", classes.class_name_untidy),
    Check("DD206", "class-name-placeholder", Severity.INFO, "none", classes.class_name_placeholder),
    Check("DD207", "background-share", Severity.INFO, "optional", classes.background_share),
    Check("DD208", "no-annotations", Severity.ERROR, "none", classes.no_annotations),
    Check("DD209", "image-unlabeled", Severity.WARNING, "optional", classes.image_unlabeled),
    Check("DD210", "class-name-not-text", Severity.WARNING, "safe", classes.class_name_not_text),
    Check("DD211", "class-root", Severity.INFO, "optional", classes.class_root),
    Check("DD212", "class-ids-gapped", Severity.INFO, "optional", classes.class_ids_gapped),
    Check("DD301", "image-in-several-splits", Severity.ERROR, "optional", splits.image_in_several_splits, kind="split"),
    Check("DD302", "class-missing-in-split", Severity.WARNING, "optional", splits.class_missing_in_split, kind="split"),
    Check("DD303", "source-in-several-splits", Severity.ERROR, "optional", splits.source_in_several_splits, kind="split"),
    Check("DD304", "split-tiny", Severity.INFO, "optional", splits.split_tiny, kind="split"),
    Check("DD305", "split-drift", Severity.WARNING, "optional", splits.split_drift, kind="split"),
    Check("DD306", "no-validation-split", Severity.INFO, "optional", splits.no_validation_split, kind="split"),
    Check("DD307", "class-folders-differ", Severity.ERROR, "optional", splits.class_folders_differ, kind="split"),
    Check("DD308", "class-folder-empty", Severity.ERROR, "optional", splits.class_folder_empty),
    Check("DD309", "class-folder-hidden", Severity.WARNING, "safe", splits.class_folder_hidden),
    Check("DD310", "sequence-in-several-splits", Severity.WARNING, "optional", splits.sequence_in_several_splits, kind="split"),
    Check("DD311", "name-in-several-splits", Severity.INFO, "none", splits.name_in_several_splits),
    Check("DD312", "split-leakage", Severity.ERROR, "optional", splits.split_leakage, needs_pixels=True, kind="split"),
    Check("DD401", "image-corrupt", Severity.ERROR, "none", images.image_corrupt, needs_pixels=True),
    Check("DD402", "image-truncated", Severity.WARNING, "optional", images.image_truncated, needs_pixels=True),
    Check("DD403", "image-suspect", Severity.WARNING, "optional", images.image_suspect, needs_pixels=True),
    Check("DD404", "image-extension-wrong", Severity.WARNING, "optional", images.image_extension_wrong, needs_pixels=True),
    Check("DD405", "image-exif-rotated", Severity.ERROR, "optional", images.image_exif_rotated, needs_pixels=True),
    Check("DD406", "image-dark", Severity.WARNING, "none", images.image_dark, needs_pixels=True),
    Check("DD407", "image-bright", Severity.WARNING, "none", images.image_bright, needs_pixels=True),
    Check("DD408", "image-low-information", Severity.WARNING, "none", images.image_low_information, needs_pixels=True),
    Check("DD409", "image-blurry", Severity.WARNING, "none", images.image_blurry, needs_pixels=True),
    Check("DD410", "image-odd-aspect", Severity.WARNING, "none", images.image_odd_aspect, needs_pixels=True),
    Check("DD411", "image-odd-size", Severity.INFO, "none", images.image_odd_size, needs_pixels=True),
    Check("DD412", "image-grey-among-colour", Severity.INFO, "none", images.image_grey_among_colour, needs_pixels=True),
    Check("DD413", "image-alpha", Severity.INFO, "optional", images.image_alpha, needs_pixels=True),
    Check("DD414", "image-cmyk", Severity.WARNING, "optional", images.image_cmyk, needs_pixels=True),
    Check("DD415", "image-palette", Severity.INFO, "optional", images.image_palette, needs_pixels=True),
    Check("DD416", "image-deep", Severity.INFO, "none", images.image_deep, needs_pixels=True),
    Check("DD417", "image-animated", Severity.INFO, "none", images.image_animated, needs_pixels=True),
    Check("DD418", "image-metadata-private", Severity.INFO, "optional", images.image_metadata_private, needs_pixels=True),
    Check("DD501", "image-duplicate", Severity.WARNING, "optional", duplicates.image_duplicate, needs_pixels=True),
    Check("DD502", "image-near-duplicate", Severity.WARNING, "optional", duplicates.image_near_duplicate, needs_pixels=True),
    Check("DD503", "duplicate-label-conflict", Severity.ERROR, "none", duplicates.duplicate_label_conflict, needs_pixels=True),
    Check("DD504", "copies-of-one-source", Severity.INFO, "none", duplicates.copies_of_one_source),
    Check("DD601", "download-script", Severity.ERROR, "none", safety.download_script),
    Check("DD602", "path-outside-dataset", Severity.WARNING, "none", safety.path_outside_dataset),
    Check("DD603", "path-absolute", Severity.WARNING, "safe", safety.path_absolute),
    Check("DD604", "path-backslash", Severity.WARNING, "safe", safety.path_backslash),
    Check("DD605", "link-outside-dataset", Severity.WARNING, "none", safety.link_outside_dataset),
    Check("DD606", "special-file", Severity.WARNING, "none", safety.special_file),
    Check("DD607", "name-case-collision", Severity.WARNING, "optional", safety.name_case_collision),
    Check("DD608", "name-unsafe", Severity.WARNING, "optional", safety.name_unsafe),
    Check("DD609", "junk-files", Severity.INFO, "safe", safety.junk_files),
    Check("DD610", "stale-cache", Severity.INFO, "safe", safety.stale_cache),
    Check("DD611", "licence-conflict", Severity.WARNING, "none", safety.licence_conflict),
    Check("DD612", "licence-missing", Severity.INFO, "none", safety.licence_missing),
    Check("DD613", "personal-data", Severity.INFO, "optional", safety.personal_data),
)


def explain(code: str | None = None) -> Check | tuple[Check, ...]:
    """Give a check by its code or name: its `page` says what it flags, why it matters and what to do. Without a code, give all checks.

    Raises:
        UsageError: no check has that code or name.
    """
    return CHECKS if code is None else find_check(code)


def find_check(word: str) -> Check:
    """Find a check by its code or name.

    Raises:
        UsageError: no check has that code or name.
    """
    for check in CHECKS:
        if word.upper() == check.code or word.lower() == check.name:
            return check
    raise _unknown(word)


def _unknown(word: str) -> UsageError:
    """Say that a word fits no check; one that is made like a code is helped with the nearest family there is."""
    codes = {check.code for check in CHECKS}
    if (digits := word.upper().translate(str.maketrans("OIL", "011"))) in codes:
        return UsageError(f"no check is called {word}.", f"Did you mean {digits}?")
    if made := re.fullmatch(r"DD(\d)\d*", word.upper()):
        families = sorted({int(check.code[2]) for check in CHECKS})
        near = min(families, key=lambda family: (abs(family - int(made[1])), family))
        family = sorted(code for code in codes if code.startswith(f"DD{near}"))
        return UsageError(f"no check is called {word}.", f"Did you mean the family DD{near}, {family[0]} to {family[-1]}?")
    return UsageError(f"no check is called {word}.", did_you_mean(word, [name for check in CHECKS for name in (check.code, check.name)]))


def select(chosen: Iterable[str] = (), ignored: Iterable[str] = ()) -> tuple[Check, ...]:
    """Choose checks by code, by name, or by the beginning of their codes (`DD1` is the whole family).

    Args:
        chosen: What to run; everything where it is empty.
        ignored: What to leave out.

    Raises:
        UsageError: a word that fits no check.
    """
    wanted = [_matching(word) for word in chosen]
    left_out = {check.code for word in ignored for check in _matching(word)}
    codes = {check.code for checks in wanted for check in checks} if wanted else {check.code for check in CHECKS}
    return tuple(check for check in CHECKS if check.code in codes - left_out)


def _matching(word: str) -> list[Check]:
    prefix = word.upper()
    matches = [check for check in CHECKS if prefix.startswith("DD") and check.code.startswith(prefix)]
    return matches or [find_check(word)]
