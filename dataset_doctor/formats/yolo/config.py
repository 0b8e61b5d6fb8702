"""What a YOLO dataset declares: `data.yaml`, `obj.data`, and the files that list class names.

YAML is read as events and every scalar stays text: nothing is constructed, and a class called `no` stays `no`.
"""

from __future__ import annotations

import posixpath
import re
from dataclasses import dataclass, field
from typing import Any, Literal, TypeAlias

import msgspec

from dataset_doctor.dataset import Place, Problem, ProblemKind
from dataset_doctor.files.names import IMAGE_SUFFIXES, suffix
from dataset_doctor.files.reading import Unreadable, decode
from dataset_doctor.files.splits import is_split_name
from dataset_doctor.files.tree import Tree
from dataset_doctor.formats.personal import personal_data

Task: TypeAlias = Literal["detect", "segment", "pose", "obb"]

CONFIG_NAMES = ("data.yaml", "dataset.yaml", "data.yml", "dataset.yml")
MAX_CONFIG_BYTES = 1 << 20
MAX_YAML_DEPTH = 16
MAX_CLASSES = 100_000
"""Largest class index that makes up a class by itself; a larger one is undeclared."""


class BadConfig(Exception):
    """A configuration that cannot be used: what and on which line."""

    def __init__(self, text: str, line: int | None = None) -> None:
        super().__init__(text)
        self.line = line


@dataclass(slots=True)
class Node:
    """A YAML value with its 1-based line; scalars are text as written. `plain`: without quotes, so that YAML may see no text in it."""

    value: str | list[Node] | dict[str, Node]
    line: int
    plain: bool = False

    @property
    def text(self) -> str | None:
        """The scalar, None where there is none or it is YAML's null."""
        return self.value if isinstance(self.value, str) and self.value not in ("", "~", "null", "Null", "NULL") else None

    @property
    def plain_value(self) -> Any:
        """What it says, in lists and mappings of texts."""
        if isinstance(self.value, dict):
            return {key: node.plain_value for key, node in self.value.items()}
        return [node.plain_value for node in self.value] if isinstance(self.value, list) else self.value


def parse_yaml(text: str) -> tuple[Node, list[tuple[str, int]]]:
    """Read the first document of a YAML text; the second value lists repeated keys with their lines (the last one wins).

    Raises:
        BadConfig: malformed, or with aliases, anchors, tags of its own, keys that are no scalars, or nested too deep.
    """
    import yaml

    stack: list[tuple[Node, list[Node]]] = []
    repeated: list[tuple[str, int]] = []
    root = Node({}, 1)

    def add(node: Node) -> None:
        if not stack:
            root.value, root.line = node.value, node.line
            return
        parent, key = stack[-1]
        if isinstance(parent.value, list):
            parent.value.append(node)
        elif not key:
            key.append(node)
        else:
            name = key.pop()
            if not isinstance(name.value, str):
                raise BadConfig("a key that is not a scalar", name.line)
            assert isinstance(parent.value, dict)
            if name.value in parent.value:
                repeated.append((name.value, name.line))
            parent.value[name.value] = node

    try:
        for event in yaml.parse(text, Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader)):
            if isinstance(event, yaml.DocumentEndEvent):
                break
            if not isinstance(event, yaml.NodeEvent | yaml.CollectionEndEvent):
                continue
            line = event.start_mark.line + 1 if event.start_mark is not None else 1
            if isinstance(event, yaml.NodeEvent) and event.anchor is not None:
                raise BadConfig("anchors and aliases are not accepted", line)
            tag = getattr(event, "tag", None)
            if tag and not re.fullmatch(r"!|tag:yaml\.org,2002:(str|int|float|bool|null|seq|map)", tag):
                raise BadConfig(f"the tag {printable(tag)} is not accepted", line)
            if isinstance(event, yaml.ScalarEvent):
                add(Node(event.value, line, event.implicit[0]))
            elif isinstance(event, yaml.CollectionStartEvent):
                if len(stack) >= MAX_YAML_DEPTH:
                    raise BadConfig(f"nested deeper than {MAX_YAML_DEPTH}", line)
                node = Node([] if isinstance(event, yaml.SequenceStartEvent) else {}, line)
                stack.append((node, []))
            elif isinstance(event, yaml.CollectionEndEvent):
                add(stack.pop()[0])
    except yaml.YAMLError as error:
        what: object = error
        at: int | None = None
        if isinstance(error, yaml.MarkedYAMLError):
            what = error.problem
            at = getattr(error.problem_mark, "line", -1) + 1 or None
        raise BadConfig(f"not valid YAML: {printable(str(what))}", at) from error
    return root, repeated


@dataclass(slots=True)
class Config:
    """What a `data.yaml`, an `obj.data` or a pair of list files declares; `splits` pairs a key with its paths and their lines.

    `is_sound` is False where the file cannot be parsed at all.
    """

    file: str | None = None
    kind: Literal["yaml", "darknet", "lists", "none"] = "none"
    path: str | None = None
    splits: list[tuple[str, list[tuple[str, int]]]] = field(default_factory=list)
    names: list[str] | None = None
    name_lines: dict[int, int] = field(default_factory=dict)
    names_file: str | None = None
    nc: int | None = None
    task: Task | None = None
    kpt_shape: tuple[int, int] | None = None
    is_dataset: bool = False
    is_sound: bool = True
    problems: list[Problem] = field(default_factory=list)

    def report(self, kind: ProblemKind, text: str, line: int | None = None) -> None:
        """Note what is wrong with the configuration."""
        self.problems.append(Problem(kind, Place(file=self.file, line=line), text))


def load_config(tree: Tree, files: tuple[str, ...]) -> Config:
    """Load the configuration among a candidate's files."""
    for name in files[:1]:
        if suffix(name) in (".yaml", ".yml"):
            return _load_yaml(tree, name)
        if suffix(name) == ".data":
            return _load_darknet(tree, name)
    lists = [name for name in files if suffix(name) == ".txt" and names_images(tree, name)]
    if lists:
        splits = [(posixpath.splitext(posixpath.basename(name))[0], [(name, 0)]) for name in lists]
        return Config(kind="lists", splits=splits, is_dataset=True)
    return Config()


def _load_yaml(tree: Tree, name: str) -> Config:
    """Load a `data.yaml`; what is wrong with it becomes problems."""
    config = Config(file=name, kind="yaml", is_dataset=posixpath.basename(name) in CONFIG_NAMES)
    text = _read_text(tree, name, config.problems)
    if text is None:
        config.is_sound = False
        return config
    for at, what in personal_data(text):
        config.report("personal-data", what, text.count("\n", 0, at) + 1)
    try:
        root, repeated = parse_yaml(text)
        if not isinstance(root.value, dict):
            raise BadConfig("not a mapping of keys to values", root.line)
    except BadConfig as error:
        config.is_dataset |= bool(re.search(r"(?m)^(names|nc) *:", text) and re.search(r"(?m)^(train|val|test) *:", text))
        config.report("config-invalid", str(error), error.line)
        config.is_sound = False
        return config
    keys = root.value
    for key, line in repeated:
        config.report("duplicate-key", f"the key {printable(key)} is repeated; the last one counts", line)
    if "path" in keys:
        config.path = keys["path"].text
    for key, node in keys.items():
        # `all` is there for this reader: trainers get the same images as train and val where a dataset has no splits.
        is_all = key == "all" and "train" in keys and node.value == keys["train"].value
        if not (is_split_name(key) or key == "minival" or is_all or node.value in own_entries(key)):
            continue
        entries = node.value if isinstance(node.value, list) else [node]
        if isinstance(node.value, dict) or any(not isinstance(entry.value, str) for entry in entries):
            config.report("config-invalid", f"{key} is neither a path nor a list of paths", node.line)
            continue
        paths = [(entry.text, entry.line) for entry in entries if isinstance(entry, Node) and entry.text is not None]
        if paths:
            config.splits.append((key, paths))
    if "nc" in keys:
        number = keys["nc"].text or ""
        if re.fullmatch(r"\d{1,9}", number):
            config.nc = int(number)
        else:
            config.report("class-names-invalid", f"nc is not a number: {printable(number)}", keys["nc"].line)
    if "names" in keys:
        _load_names(config, keys["names"])
    if config.names is not None and config.nc is not None and config.nc != len(config.names):
        config.report("class-names-invalid", f"nc is {config.nc:,} and names holds {len(config.names):,}", keys["nc"].line)
    if "task" in keys:
        task = keys["task"].text
        if task in ("detect", "segment", "pose", "obb"):
            config.task = task  # type: ignore[assignment]  # the comparison narrows the text, which mypy does not see
        else:
            config.report("config-invalid", f"the task {printable(task or '')} is not a labelling task known here", keys["task"].line)
    if "kpt_shape" in keys:
        shape = [n.text for n in keys["kpt_shape"].value if isinstance(n, Node)] if isinstance(keys["kpt_shape"].value, list) else []
        if len(shape) == 2 and re.fullmatch(r"[1-9]\d{0,3}", shape[0] or "") and shape[1] in ("2", "3"):
            config.kpt_shape = (int(shape[0] or 0), int(shape[1] or 0))
        else:
            config.report("config-invalid", "kpt_shape is not [number of keypoints, 2 or 3]", keys["kpt_shape"].line)
    if "download" in keys and keys["download"].value not in ("", "~", "null"):
        config.report("download-script", "trainers fetch or execute what download says; it is never run here", keys["download"].line)
    has_splits = any(is_split_name(key) for key in keys)
    has_names = "names" in keys or "nc" in keys
    # By name alone a data.yaml needs only one of the two.
    config.is_dataset = (has_names and has_splits) or (config.is_dataset and (has_names or has_splits))
    if config.is_dataset:
        there = {"train": "train" in keys, "val": "val" in keys or "validation" in keys, "names": has_names}
        for key in [key for key, is_there in there.items() if not is_there]:
            config.report("config-invalid", f"the key {key} is missing, without which Ultralytics does not start", 1)
    return config


def own_entries(key: str) -> tuple[str, ...]:
    """List the paths that make a split of a key that is no usual split name: the folder or list that is named as the key itself.

    >>> own_entries("holdout")
    ('images/holdout', 'holdout.txt')
    """
    return (f"images/{key}",) if key in ("names", "classes", "labels") else (f"images/{key}", f"{key}.txt")


def _load_names(config: Config, node: Node) -> None:
    """Take the class names of a YAML: a list, a mapping from 0 .. n-1, or the name of a file."""
    if isinstance(node.value, str):
        if suffix(node.value) in (".names", ".txt"):
            config.names_file = node.value
        elif node.text is not None:
            config.report("class-names-invalid", "names is neither a list nor a mapping", node.line)
        return
    if isinstance(node.value, list):
        pairs = list(enumerate(node.value))
    else:
        pairs = []
        for key, value in node.value.items():
            if re.fullmatch(r"\d{1,9}", key) and int(key) < MAX_CLASSES:
                pairs.append((int(key), value))
            else:
                config.report("class-names-invalid", f"names has the key {printable(key)}, which is no class index", value.line)
    named = {}
    for index, value in pairs:
        if isinstance(value.value, str):
            named[index] = value.value
            config.name_lines[index] = value.line
            if value.plain and (read := _not_text(value.value)) is not None:
                text = f"class {index}, {printable(value.value) or 'nothing'}, is not quoted: YAML 1.1 reads {printable(read)}"
                place = Place(file=config.file, line=value.line, class_name=value.value)
                config.problems.append(Problem("class-name-not-text", place, text))
        else:
            config.report("class-names-invalid", f"the name of class {index} is not text", value.line)
    size = max((index for index, _ in pairs), default=-1) + 1
    gaps = [index for index in range(size) if index not in named]
    if gaps and isinstance(node.value, dict):
        listed = ", ".join(map(str, gaps[:5])) + (" …" if len(gaps) > 5 else "")
        config.report("class-names-invalid", f"names leaves out {len(gaps):,} of the classes 0 to {size - 1:,}: {listed}", node.line)
    config.names = [named.get(index, f"class_{index}") for index in range(size)]


def _not_text(name: str) -> str | None:
    """Tell what a YAML 1.1 reader makes of an unquoted name, as Python writes it; None where it stays the same text.

    >>> _not_text("no"), _not_text("007"), _not_text("12:30"), _not_text("car"), _not_text("7")
    ('False', '7', '750', None, None)
    """
    import yaml

    resolvers = yaml.SafeLoader.yaml_implicit_resolvers.get(name[:1], [])
    tag = next((tag for tag, expression in resolvers if expression.match(name)), "")
    if not tag.endswith((":bool", ":int", ":float", ":null", ":timestamp")) or len(name) > 60:
        return None
    try:
        read = str(yaml.SafeLoader("").construct_object(yaml.ScalarNode(tag, name)))
    except (ValueError, OverflowError, yaml.YAMLError):
        return "an error"
    return read if read != name else None


def _load_darknet(tree: Tree, name: str) -> Config:
    """Load an `obj.data`: lines `key = value`."""
    config = Config(file=name, kind="darknet")
    text = _read_text(tree, name, config.problems)
    if text is None:
        return config
    seen = set()
    for number, raw in enumerate(re.split(r"\r\n|\r|\n", text), 1):
        key, equals, value = (part.strip() for part in raw.partition("="))
        if not equals or key.startswith(("#", ";")):
            if key and not key.startswith(("#", ";")):
                config.report("config-invalid", f"not key = value: {printable(raw)}", number)
            continue
        if key in seen:
            config.report("duplicate-key", f"the key {printable(key)} is repeated; the last one counts", number)
            config.splits = [pair for pair in config.splits if pair[0] != key]
        seen.add(key)
        if key == "classes":
            if re.fullmatch(r"\d{1,9}", value):
                config.nc = int(value)
            else:
                config.report("class-names-invalid", f"classes is not a number: {printable(value)}", number)
        elif key == "names":
            config.names_file = value
        elif is_split_name(key) and value:
            config.splits.append((key, [(value, number)]))
    config.is_dataset = "names" in seen or ("classes" in seen and bool(config.splits))
    return config


def names_images(tree: Tree, name: str) -> bool:
    """Tell whether a text file is a list of images: its first line ends like one."""
    try:
        text, _ = decode(tree.read_bytes(name))
    except Unreadable:
        return False
    first = text[: 1 << 16].lstrip().split("\n", 1)[0].strip()
    return suffix(first) in IMAGE_SUFFIXES


def read_name_file(tree: Tree, name: str, problems: list[Problem]) -> list[str] | None:
    """Read class names, one a line; blank lines at the end do not count."""
    text = _read_text(tree, name, problems)
    if text is None:
        return None
    names = [line.removesuffix("\r") for line in text.split("\n")]
    while names and not names[-1].strip():
        names.pop()
    return names


def _read_text(tree: Tree, name: str, problems: list[Problem]) -> str | None:
    """Read a small text file; None where it cannot be read, which becomes a problem."""
    try:
        text, unusual = decode(tree.read_bytes(name, MAX_CONFIG_BYTES))
    except Unreadable as error:
        problems.append(Problem("config-invalid", Place(file=name), f"cannot be read: {error}"))
        return None
    if unusual:
        problems.append(Problem("text-encoding", Place(file=name), unusual))
    return text


def read_notes(tree: Tree, name: str, problems: list[Problem]) -> list[str] | None:
    """Read the categories of a `notes.json`."""
    try:
        notes = msgspec.json.decode(tree.read_bytes(name, MAX_CONFIG_BYTES))
        pairs = sorted((int(category["id"]), str(category["name"])) for category in notes["categories"])
    except (Unreadable, msgspec.DecodeError, RecursionError, KeyError, TypeError, ValueError) as error:
        problems.append(Problem("config-invalid", Place(file=name), f"categories cannot be read: {printable(str(error))}"))
        return None
    return [text for _, text in pairs] if [index for index, _ in pairs] == list(range(len(pairs))) else None


def printable(text: str) -> str:
    """Show at most 60 characters of text from the dataset, none of them a control character."""
    shown = "".join(c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in text[:61])
    return shown if len(shown) <= 60 else f"{shown[:59]}…"
