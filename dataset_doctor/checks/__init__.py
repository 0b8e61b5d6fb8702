"""The table of checks: one line a check, in code order. A code is never used again for something else."""

from collections.abc import Iterable

from dataset_doctor.checks import annotations, files, safety, splits
from dataset_doctor.errors import UsageError, did_you_mean
from dataset_doctor.findings import Check, Severity

__all__ = ["CHECKS", "find_check", "select"]

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
    Check("DD101", "box-degenerate", Severity.ERROR, "optional", annotations.box_degenerate),
    Check("DD102", "box-outside-image", Severity.ERROR, "optional", annotations.box_outside_image),
    Check("DD103", "box-edge-excess", Severity.INFO, "safe", annotations.box_edge_excess),
    Check("DD110", "class-undeclared", Severity.ERROR, "optional", annotations.class_undeclared),
    Check("DD301", "image-in-several-splits", Severity.ERROR, "optional", splits.image_in_several_splits),
    Check("DD601", "download-script", Severity.ERROR, "none", safety.download_script),
    Check("DD602", "path-outside-dataset", Severity.WARNING, "none", safety.path_outside_dataset),
    Check("DD603", "path-absolute", Severity.WARNING, "safe", safety.path_absolute),
    Check("DD604", "path-backslash", Severity.WARNING, "safe", safety.path_backslash),
    Check("DD605", "link-outside-dataset", Severity.WARNING, "none", safety.link_outside_dataset),
    Check("DD606", "special-file", Severity.WARNING, "none", safety.special_file),
)


def find_check(word: str) -> Check:
    """Find a check by its code or name.

    Raises:
        UsageError: no check has that code or name.
    """
    for check in CHECKS:
        if word.upper() == check.code or word.lower() == check.name:
            return check
    raise UsageError(f"no check is called {word}.", did_you_mean(word, [name for check in CHECKS for name in (check.code, check.name)]))


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
