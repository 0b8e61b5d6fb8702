"""Damage a dataset in one place, at the level at which its files are written: tokens, elements, rows, lines, names, bytes."""

from __future__ import annotations

import contextlib
import random
import re
from collections.abc import Callable, Sequence

from tests.fuzz.datasets import picture
from tests.fuzz.trees import Folder, Link, Pipe, Tree

TEXTS = (
    "", " ", "cat", "CAT", " cat ", "no", "yes", "null", "~", "1e3", "0x1F", "1_000", ".5", "*a", "&a b", "!x y", "- a", "? a", "a: b", "a #b", "%x", "@x",
    "`x", "{a}", "[a]", "'", '"', "\\", "/", "..", ".", "../x", "/etc/passwd", "C:\\x", "~/x", "train", "val", "trainval", "all", "test2017",
    "猫", "🐈‍⬛", "é", "e\u0301", "\u202eabc", "\u200b", "\ufeff", "\u2028", "\x85", "\x00", "\x1b[31m", "\x07", "\t", "a\nb", "a\r\nb", "\n", "\ud800", "\x7f",
    "<b>", "&amp;", "&lt;", "]]>", "<!--", "=1+1", "|x|", "`", "[x](y)", "x" * 300, "x" * 3000, "%s", "{0}", "{root}", "con", "-", "--", "-x", "*", "?",
    "2001-01-01", "1:30", "NaN", "inf", "True", "0", "1", "-1", "001", "background", "a.jpg", "a.b.c", ".hidden", "a/b", "a\\b", "a,b", "a;b",
)  # fmt: skip
NUMBERS = (
    "0", "1", "-1", "2", "-0", "0.0", "1.0", "0.5", "1.5", "-0.5", "1e0", "1E2", "1e-7", "1e308", "1e309", "-1e309", "1e-400", "NaN", "Infinity", "-Infinity", "nan",
    "inf", "2147483647", "2147483648", "-2147483649", "4294967296", "9007199254740993", "9223372036854775807", "9223372036854775808",
    "-9223372036854775808", "18446744073709551616", "1" * 40, "1" * 400, "0.1" + "0" * 60 + "1", "00", "01", "+1", "1.", ".1", "1_0", "0x10", "1e", "--1",
    "1,5", "½", "１", "٣", "1e5", "65536", "100000", "3.0000000001", "1e16", "1e19", "-1e18",
)  # fmt: skip
JSON_VALUES = (
    "null", "true", "false", "[]", "{}", "[[]]", "[null]", "[1]", "[1, 2]", "[1, 2, 3, 4]", "[1, 2, 3, 4, 5, 6]", "[[1, 2, 3, 4, 5, 6]]", '{"a": 1}', '{"id": 1}',
    '[{"id": 1}]', '{"size": [48, 64], "counts": [0, 3072]}', '{"size": [48, 64], "counts": "0"}', '"1"', '"1.5"', '"0"', "[" * 30 + "]" * 30, "[" * 70 + "]" * 70,
    '{"a":' * 20 + "1" + "}" * 20, "undefined", "None", "'x'", "// x", "", "[1,]", "[NaN, 1, 2, 3]", "[1e400, 0, 1, 1]", '["1", "2", "3", "4"]', '[1, 2, 3, null]',
    "[-5, -5, 200, 200]", "[0, 0, 0, 0]", "[10, 10, -5, -5]",
)  # fmt: skip
KEYS = (
    "id", "image_id", "category_id", "bbox", "area", "iscrowd", "segmentation", "keypoints", "num_keypoints", "file_name", "width", "height", "name", "images",
    "annotations", "categories", "info", "licenses", "license", "supercategory", "score", "counts", "size", "ignore", "coco_url", "Id", "", "\\u0069d", "x",
    "frequency", "neg_category_ids", "not_exhaustive_category_ids", "video_id", "attributes", "caption", "segments_info",
)  # fmt: skip
TAGS = (
    "object", "name", "bndbox", "xmin", "ymin", "xmax", "ymax", "size", "width", "height", "depth", "filename", "folder", "path", "difficult", "truncated",
    "occluded", "pose", "part", "segmented", "annotation", "source", "x", "actions", "robndbox", "polygon", "point", "owner", "attributes", "xml",
)  # fmt: skip
ENCODINGS = ("utf-16", "utf-16-le", "utf-16-be", "utf-8-sig", "utf-32", "latin-1", "cp1252", "gbk", "utf-7", "ascii")

Damage = Callable[[str, random.Random], str]


def quoted(text: str) -> str:
    """Write text as a JSON string, rarely in the most economical way."""
    return (
        '"'
        + "".join(
            char if " " <= char < "\x7f" and char not in '"\\' else "".join(f"\\u{unit:04x}" for unit in _units(char)) for char in text
        )
        + '"'
    )


def _units(char: str) -> list[int]:
    data = char.encode("utf-16-le", "surrogatepass")
    return [data[at] | data[at + 1] << 8 for at in range(0, len(data), 2)]


# Tokens of JSON -----------------------------------------------------------------------------------------------------

_JSON = re.compile(r'"(?:[^"\\]|\\.)*"|[\[\]{},:]|[^\s\[\]{},:"]+|\s+')


def _json_end(tokens: Sequence[str], at: int) -> int:
    """Find the token after the value that begins at one."""
    depth = 0
    for stop in range(at, len(tokens)):
        depth += (tokens[stop] in ("[", "{")) - (tokens[stop] in ("]", "}"))
        if depth <= 0:
            return stop + 1
    return len(tokens)


def json_token(text: str, rng: random.Random) -> str:
    """Exchange, remove, repeat, wrap or move a value or a member of JSON text."""
    tokens = _JSON.findall(text)
    solid = [at for at, token in enumerate(tokens) if not token.isspace()]
    if not solid:
        return rng.choice(JSON_VALUES)
    keys = [at for at in solid if tokens[at].startswith('"') and "".join(tokens[at + 1 : at + 3]).lstrip()[:1] == ":"]
    values = [at for at in solid if tokens[at] not in "]},:" and at not in set(keys)]
    action = rng.randrange(12)
    if action <= 4 and values:
        at = rng.choice(values)
        old = tokens[at]
        kind = rng.randrange(4)
        new = (
            rng.choice(JSON_VALUES)
            if kind == 0
            else quoted(rng.choice(TEXTS))
            if kind == 1 or (old[0] == '"' and kind == 2)
            else rng.choice(NUMBERS)
        )
        tokens[at : _json_end(tokens, at)] = [new]
    elif action == 5 and values:
        at = rng.choice(values)
        tokens[at : _json_end(tokens, at)] = []
    elif action == 6 and keys:
        at = rng.choice(keys)
        stop = at
        while stop < len(tokens) and tokens[stop] != ":":
            stop += 1
        stop = _json_end(tokens, next((place for place in solid if place > stop), len(tokens)))
        while stop < len(tokens) and tokens[stop].isspace():
            stop += 1
        del tokens[at : stop + (stop < len(tokens) and tokens[stop] == ",")]
    elif action == 7 and keys:
        tokens[rng.choice(keys)] = f'"{rng.choice(KEYS)}"'
    elif action == 8 and values:
        at = rng.choice(values)
        value = tokens[at : _json_end(tokens, at)]
        times = rng.choice((2, 2, 3, 40))
        tokens[at : at + len(value)] = [",", *value] * (times - 1) and [*value, *([",", *value] * (times - 1))]
    elif action == 9 and values:
        one, other = sorted((rng.choice(values), rng.choice(values)))
        first, second = tokens[one : _json_end(tokens, one)], tokens[other : _json_end(tokens, other)]
        if one + len(first) <= other:
            tokens[other : other + len(second)] = first
            tokens[one : one + len(first)] = second
    elif action == 10 and values:
        at = rng.choice(values)
        value = tokens[at : _json_end(tokens, at)]
        before, after = rng.choice((("[", "]"), ('{"x": ', "}"), ("[[", "]]"), ('"', '"'), ("[null, ", "]"), ("[", ", null]")))
        tokens[at : at + len(value)] = [before, *value, after]
    elif keys:
        at = rng.choice(keys)
        key = f'"{rng.choice(KEYS)}"' if rng.random() < 0.7 else quoted(rng.choice(TEXTS))
        value = rng.choice((rng.choice(JSON_VALUES), rng.choice(NUMBERS), quoted(rng.choice(TEXTS))))
        tokens[at:at] = [key, ": ", value, ", "]
    return "".join(tokens)


# Elements of XML ----------------------------------------------------------------------------------------------------

_XML = re.compile(r"<!--.*?-->|<[^<>]*>|[^<]+|<", re.DOTALL)


def _element_end(tokens: Sequence[str], at: int) -> int:
    depth = 0
    for stop in range(at, len(tokens)):
        token = tokens[stop]
        if token.startswith("<") and not token.startswith(("<!", "<?")) and not token.endswith("/>"):
            depth += -1 if token.startswith("</") else 1
        if depth <= 0:
            return stop + 1
    return len(tokens)


def xml_node(text: str, rng: random.Random) -> str:
    """Exchange, remove, repeat, rename, wrap or move an element or a text of XML."""
    tokens = _XML.findall(text)
    starts = [at for at, token in enumerate(tokens) if re.match(r"<[A-Za-z]", token)]
    texts = [at for at, token in enumerate(tokens) if not token.startswith("<") and token.strip()]
    action = rng.randrange(13)
    if not starts:
        return rng.choice(("<annotation/>", "<annotation>", "<a>", "x", "<annotation><object/></annotation>"))
    at = rng.choice(starts)
    stop = _element_end(tokens, at)
    if action <= 3 and texts:
        new = rng.choice((*TEXTS, *NUMBERS))
        raw = rng.random() < 0.2
        tokens[rng.choice(texts)] = new if raw else new.replace("&", "&amp;").replace("<", "&lt;")
    elif action == 4:
        del tokens[at:stop]
    elif action == 5:
        tokens[at:at] = tokens[at:stop] * rng.choice((1, 1, 2, 20))
    elif action == 6:
        name = rng.choice(TAGS)
        tokens[at] = re.sub(r"<[\w:.-]+", f"<{name}", tokens[at])
        if rng.random() < 0.85:
            tokens[stop - 1] = re.sub(r"</[\w:.-]+", f"</{name}", tokens[stop - 1])
    elif action == 7:
        other = rng.choice(starts)
        moved = tokens[at:stop]
        del tokens[at:stop]
        place = min(other, len(tokens))
        tokens[place:place] = moved
    elif action == 8:
        tokens[at] = (
            tokens[at][:-1] + rng.choice((' a="1"', ' xmlns="urn:x"', ' xmlns:n="urn:x"', " a", ' a="<"', ' id="1" id="2"', "/")) + ">"
        )
    elif action == 9 and texts:
        place = rng.choice(texts)
        tokens[place] = rng.choice(("<![CDATA[{}]]>", "<!-- c -->{}", "{}<!-- c -->", "<?p {}?>", "<b>{}</b>", "&#x31;{}", "&nbsp;{}", "&x;{}", "&#0;", "&#xD800;{}")).format(tokens[place])  # fmt: skip
    elif action == 10:
        head = rng.choice((
            '<?xml version="1.0" encoding="utf-8"?>', '<?xml version="1.1"?>', '<?xml version="1.0" encoding="latin-1"?>', '<?xml version="1.0" encoding="x-none"?>',
            "<!DOCTYPE annotation>", '<!DOCTYPE a [<!ENTITY x "y">]>', '<?xml version="1.0" encoding="utf-16"?>', "<!-- c -->", " ", "\n\n", "<?pi?>",
        ))  # fmt: skip
        tokens.insert(0, head)
    elif action == 11:
        name = rng.choice(TAGS)
        body = rng.choice((*TEXTS, *NUMBERS)).replace("&", "&amp;").replace("<", "&lt;")
        tokens[at:at] = [rng.choice((f"<{name}>{body}</{name}>", f"<{name}/>", f"<{name}>", f"</{name}>"))]
    else:
        del tokens[rng.randrange(len(tokens))]
    return "".join(tokens)


# Events of YAML -----------------------------------------------------------------------------------------------------

_YAML_LINES = (
    "names: [a, b]", "names: {0: a, 1: b}", "names: {a: 0}", "names:", "names: classes.txt", "nc: 2", "nc: -1", "nc: x", "nc: 1.0", "train: .", "train: [a, b]", "train:",
    "train: train.txt", "val: images/train", "val: ..", "val: /tmp", "val: {a: b}", "test: ''", "path: ..", "path: /x", "path: [x]", "path:", "kpt_shape: [17, 3]",
    "kpt_shape: x", "kpt_shape: [1000000, 3]", "kpt_shape: [-1, 2]", "kpt_shape: [3, 2]", "flip_idx: [0]", "download: rm -rf x", "---", "...", "- a", "  - a", "{", "}", "]", "x: &a 1",
    "y: *a", "<<: {names: [z]}", "!!python/object:x y", "names: !!set {a, b}", "\t", "\tnames: [x]", "? a", ": b", "#", "names: |\n  a\n  b", "names: >\n  a", "'", '"',
    "names: [a, a]", "names: [[a], b]", "names: {0: a, 2: b}", "names: {-1: a}", "names: {x: y}", "names: [1, 2.5, no, ~, 2001-01-01]", "names: {0: }", "channels: 3",
    "  3: d", "  x", "%YAML 1.2", "names: {1000000: x}", "names: {99999999999999999999: x}", "train: images/*", "val: images/train/../val", "- 'a", "names: [\n  a,\n  b\n]",
)  # fmt: skip


def yaml_event(text: str, rng: random.Random) -> str:
    """Change an event of YAML (a scalar, a style, a tag, an anchor, a nesting), or a line of it."""
    import yaml

    if rng.random() < 0.5:
        return yaml_line(text, rng)
    try:
        events = list(yaml.parse(text))
    except (yaml.YAMLError, ValueError):
        return yaml_line(text, rng)
    scalars = [at for at, event in enumerate(events) if isinstance(event, yaml.ScalarEvent)]
    starts = [at for at, event in enumerate(events) if isinstance(event, yaml.CollectionStartEvent)]
    action = rng.randrange(7)
    if action <= 2 and scalars:
        event = events[rng.choice(scalars)]
        event.value = rng.choice((*TEXTS, *NUMBERS))
        event.style = rng.choice((None, "'", '"', "|", ">"))
        event.implicit = (True, True)
    elif action == 3 and starts:
        event = events[rng.choice(starts)]
        event.flow_style = not event.flow_style
    elif action == 4 and scalars:
        event = events[rng.choice([*scalars, *starts])]
        event.anchor = rng.choice(("a", "b"))
    elif action == 5 and scalars:
        events[rng.choice(scalars)] = rng.choice((
            yaml.AliasEvent("a"), yaml.ScalarEvent(None, "!x", (False, False), "v"), yaml.ScalarEvent(None, "tag:yaml.org,2002:python/name:os", (False, False), "v"),
        ))  # fmt: skip
    elif scalars:
        at = rng.choice(scalars)
        events[at : at + 1] = [
            yaml.SequenceStartEvent(None, None, True, flow_style=rng.random() < 0.5), events[at], yaml.SequenceEndEvent(),
        ]  # fmt: skip
    try:
        emitted: str = yaml.emit(events, allow_unicode=True, width=rng.choice((20, 80, 10_000)))
    except (yaml.YAMLError, ValueError, TypeError, AttributeError):
        return yaml_line(text, rng)
    return emitted


def yaml_line(text: str, rng: random.Random) -> str:
    """Change, add, remove or indent a line of YAML."""
    lines = text.split("\n")
    at = rng.randrange(len(lines))
    action = rng.randrange(7)
    if action <= 1:
        lines.insert(at, rng.choice(_YAML_LINES))
    elif action == 2:
        lines[at] = rng.choice(_YAML_LINES)
    elif action == 3:
        del lines[at]
    elif action == 4:
        lines[at] = rng.choice((" ", "  ", "\t", "- ", "# ", "? ")) + lines[at]
    elif action == 5:
        key, colon, _ = lines[at].partition(":")
        lines[at] = key + (colon or ":") + " " + rng.choice((*TEXTS, *NUMBERS))
    else:
        lines[at] += rng.choice((" # c", "  ", ",", "\r", " x", ":", "]", "}", " &a", "\n  more", "\x00"))
    return "\n".join(lines)


# Rows and lines -----------------------------------------------------------------------------------------------------


def row_token(text: str, rng: random.Random) -> str:
    """Exchange, remove, add or repeat a number of a label row, or a row."""
    lines = text.split("\n")
    at = rng.randrange(len(lines))
    tokens = lines[at].split(" ")
    spot = rng.randrange(len(tokens))
    action = rng.randrange(10)
    if action <= 3:
        tokens[spot] = rng.choice(NUMBERS)
    elif action == 4:
        tokens[spot] = rng.choice(TEXTS)
    elif action == 5:
        del tokens[spot]
    elif action == 6:
        tokens[spot:spot] = [rng.choice(NUMBERS)] * rng.choice((1, 1, 2, 60))
    elif action == 7:
        return "\n".join([*lines[:at], *([lines[at]] * rng.choice((2, 2, 30))), *lines[at + 1 :]])
    elif action == 8:
        return "\n".join(
            [
                *lines[:at],
                " ".join([str(rng.randrange(8)), *(f"{rng.uniform(-0.1, 1.1):.4f}" for _ in range(rng.choice((3, 4, 4, 5, 6, 8, 13))))]),
                *lines[at:],
            ]
        )
    else:
        return text.replace(" ", rng.choice(("\t", "  ", ",", ", ", "\xa0", "")), rng.choice((1, -1)))
    lines[at] = " ".join(tokens)
    return "\n".join(lines)


def list_line(text: str, rng: random.Random) -> str:
    """Change, add, remove, repeat or move a line of a list."""
    lines = text.split("\n")
    at = rng.randrange(len(lines))
    action = rng.randrange(8)
    if action == 0:
        lines[at] = rng.choice(TEXTS)
    elif action == 1:
        del lines[at]
    elif action == 2:
        lines.insert(at, rng.choice(lines))
    elif action == 3:
        lines[at] = rng.choice(("/", "./", "../", "C:\\", "~/", " ", "\t", "#", "//", "data/../", "\ufeff", "http://x/")) + lines[at]
    elif action == 4:
        lines[at] += rng.choice(
            (" ", " 1", " -1", " 0", " x", ".jpg", ".txt", "/", "\\", "\r", " 1 1", "  # c", "\x00", "\x1c", "\u2028", "\x0b")
        )
    elif action == 5:
        lines[at] = lines[at].replace("/", "\\") if rng.random() < 0.5 else lines[at].upper()
    elif action == 6:
        rng.shuffle(lines)
    else:
        lines = lines * rng.choice((2, 5))
    return "\n".join(lines)


# Any text -----------------------------------------------------------------------------------------------------------


def as_bytes(data: bytes, rng: random.Random) -> bytes:
    """Change the encoding, the line ends, the length or single bytes of a file."""
    action = rng.randrange(11)
    at = rng.randrange(len(data) + 1)
    if action <= 2:
        return data.decode("utf-8", "replace").encode(rng.choice(ENCODINGS), "replace")
    if action == 3:
        return data.replace(b"\n", rng.choice((b"\r\n", b"\r", b"", b"\n\n", b"\x0b", b"\xe2\x80\xa8")))
    if action == 4:
        return data[:at]
    if action == 5:
        return (
            data[:at]
            + rng.choice((b"\0", b"\xff", b"\xc3", b"\xed\xa0\x80", b"\xef\xbb\xbf", b"\x1a", b"\x0c", b"\x85", b"{", b"<", b'"'))
            + data[at:]
        )
    if action == 6:
        return b""
    if action == 7:
        return data + rng.choice((b"\n", b"\0" * 40, b" ", b"\n\n\n", b"garbage", data))
    if action == 8:
        return rng.choice((b"\n", b"\0", b" ", b"\xef\xbb\xbf", b"\xff\xfe", b"x", b"{}", b"[]", b"<a/>", bytes(range(256))))
    changed = bytearray(data)
    for _ in range(rng.choice((1, 1, 4))):
        if changed:
            changed[rng.randrange(len(changed))] = rng.randrange(256)
    return bytes(changed)


# Names and folders --------------------------------------------------------------------------------------------------

STEMS = (
    "a b", " a", "a ", "a.", ".a", "a..b", "-a", "--help", "a'b", 'a"b', "a\nb", "a\tb", "a\rb", "a\\b", "猫", "🐈", "e\u0301", "é", "\udcff", "a\udc80b", "\x1b[31m", "\x7f", "\u202ea",
    "a*b", "a?b", "a[b]", "{a}", "%41", "a%20b", "a#b", "a:b", "a|b", "<a>", "a&b", "x" * 240, "x" * 120, "CON", "nul", "A", "a", "Ａ", "0", "000001", "_annotations", "train", "val",
    "labels", "images", "data", "a.jpg", "a.txt", "a.xml", "a.png.jpg", "\ufeffa", "a\u2028b", "a\x85b", "a__aug1", "a_repeat1", "a-1", "a_1", "=1", "ı", "ß", "classes", "a,b", "a;b", "$a", "`a`",
)  # fmt: skip
SUFFIXES = (
    ".jpg",
    ".JPG",
    ".jpeg",
    ".png",
    ".webp",
    ".tif",
    ".bmp",
    ".gif",
    ".txt",
    ".xml",
    ".json",
    ".yaml",
    ".yml",
    ".npy",
    ".cache",
    ".names",
    ".data",
    "",
    ".jpg.jpg",
    ".Jpg",
    ".heic",
    ".jp2",
)


def _renamed(name: str, rng: random.Random) -> str:
    folder, _, base = name.rpartition("/")
    stem, dot, end = base.rpartition(".")
    action = rng.randrange(6)
    if action <= 2:
        base = rng.choice(STEMS) + dot + end
    elif action == 3:
        base = (stem or base) + rng.choice(SUFFIXES)
    elif action == 4:
        base = base.swapcase()
    else:
        parts = folder.split("/")
        parts[rng.randrange(len(parts))] = rng.choice(
            (*STEMS, "train", "val", "images", "labels", "Annotations", "JPEGImages", "test", "..")
        )
        folder = "/".join(parts)
    return f"{folder}/{base}" if folder else base


def rename_everywhere(tree: Tree, rng: random.Random) -> None:
    """Rename an image, and what the label files call it, so that the odd name is a true one."""
    images = [name for name in tree if name.lower().endswith((".jpg", ".png"))]
    if not images:
        return
    old = rng.choice(images)
    old_stem = old.rpartition("/")[2].rpartition(".")[0]
    new_stem = rng.choice(STEMS)
    renamed: Tree = {}
    for name, node in tree.items():
        folder, slash, base = name.rpartition("/")
        stem, dot, end = base.rpartition(".")
        if stem == old_stem:
            name = f"{folder}{slash}{new_stem}{dot}{end}"
        if isinstance(node, bytes) and name.endswith((".json", ".xml", ".txt")):
            text = node.decode("utf-8", "surrogateescape")
            new = quoted(new_stem)[1:-1] if name.endswith(".json") else new_stem
            new = new.replace("&", "&amp;").replace("<", "&lt;") if name.endswith(".xml") else new
            with contextlib.suppress(UnicodeEncodeError):
                node = text.replace(f"{old_stem}.jpg", f"{new}.jpg").encode("utf-8", "surrogateescape")
            if name.endswith(".txt"):
                lines = [
                    new_stem + line[len(old_stem) :] if line.split(" ")[0] == old_stem else line
                    for line in node.decode("utf-8", "surrogateescape").split("\n")
                ]
                node = "\n".join(lines).encode("utf-8", "surrogateescape")
        renamed.setdefault(name, node)
    tree.clear()
    tree.update(renamed)


def structure(tree: Tree, rng: random.Random) -> None:
    """Rename, move, copy, remove, exchange or link files and folders."""
    if not tree:
        return
    name = rng.choice(sorted(tree))
    folders = sorted({"/".join(one.split("/")[:depth]) for one in tree for depth in range(1, one.count("/") + 1)})
    action = rng.randrange(15)
    if action <= 2:
        rename_everywhere(tree, rng)
    elif action == 3:
        tree[_renamed(name, rng)] = tree.pop(name)
    elif action == 4:
        tree[_renamed(name, rng)] = tree[name]
    elif action == 5:
        del tree[name]
    elif action == 6:
        tree[name] = rng.choice(
            (
                Pipe(),
                Folder(),
                b"",
                Link("{root}"),
                Link("nowhere"),
                Link("/dev/zero"),
                Link("/etc/hostname"),
                Link(".."),
                Link(name.rpartition("/")[2]),
            )
        )
    elif action == 7:
        tree[name] = Link("{root}/" + rng.choice(sorted(tree)))
    elif action == 8 and folders:
        folder = rng.choice(folders)
        for one in [one for one in tree if one.startswith(f"{folder}/")]:
            del tree[one]
        if rng.random() < 0.7:
            tree[folder] = rng.choice((b"", b"x", Folder(), Link("{root}"), Pipe()))
    elif action == 9 and folders:
        folder, new = (
            rng.choice(folders),
            rng.choice((*STEMS, "train", "val", "images", "labels", "Annotations", "JPEGImages", "valid", "train2017", "TRAIN")),
        )
        parent = folder.rpartition("/")[0]
        target = f"{parent}/{new}" if parent else new
        keep = rng.random() < 0.4
        for one in [one for one in tree if one.startswith(f"{folder}/")]:
            tree[f"{target}{one[len(folder) :]}"] = tree[one] if keep else tree.pop(one)
    elif action == 10:
        junk = rng.choice(
            (
                ".DS_Store",
                "Thumbs.db",
                "__MACOSX/._a.jpg",
                ".git/HEAD",
                "labels.cache",
                "README.txt",
                "notes.json",
                "classes.txt",
                "data.yaml",
                "train.txt",
                "a.npy",
                "predictions.json",
                "x.xml",
            )
        )
        tree.setdefault(junk, rng.choice((b"", b"x", b"cat\ndog\n", b"{}", b"names: [a]\n", b"<annotation/>")))
    elif action == 11:
        base = name.rpartition("/")[2]
        where = rng.choice(folders) if folders else ""
        tree.setdefault(f"{where}/{base}".lstrip("/"), tree[name])
    elif action == 12:
        deep = "/".join(["d"] * rng.choice((3, 45)))
        tree.setdefault(f"{deep}/{name.rpartition('/')[2]}", tree[name])
    elif action == 13 and len(tree) > 1:
        other = rng.choice(sorted(tree))
        tree[name], tree[other] = tree[other], tree[name]
    elif folders:
        tree.setdefault(
            rng.choice(folders) + "/" + rng.choice(("link", "z.jpg", "train")),
            Link(rng.choice(("{root}", "..", ".", "{root}/" + rng.choice(folders)))),
        )


# Images -------------------------------------------------------------------------------------------------------------


def image_bytes(data: bytes, rng: random.Random) -> bytes:
    """Give other bytes for an image: another kind, mode or size, an EXIF that turns it, cut off, damaged."""
    action = rng.randrange(8)
    if action <= 2:
        kind, mode = rng.choice((
            ("PNG", "RGB"), ("PNG", "L"), ("PNG", "P"), ("PNG", "RGBA"), ("PNG", "1"), ("PNG", "I;16"), ("GIF", "P"), ("BMP", "RGB"), ("TIFF", "F"), ("TIFF", "CMYK"), ("TIFF", "I;16"),
            ("JPEG", "CMYK"), ("JPEG", "L"), ("WEBP", "RGBA"), ("PPM", "RGB"), ("TIFF", "LAB"), ("PNG", "LA"), ("JPEG2000", "RGB"),
        ))  # fmt: skip
        size = rng.choice(((1, 1), (1, 300), (300, 1), (64, 48), (2, 2), (5, 5)))
        try:
            return picture(*size, rng.randrange(4), kind, mode)
        except (OSError, ValueError, KeyError):
            return b""
    if action == 3:
        return data[: rng.randrange(len(data) + 1)]
    if action == 4:
        huge = rng.choice((0x7FFFFFFF, 0xFFFFFFFF, 0, 60_000, 1)).to_bytes(4, "big")
        return b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR" + huge + huge + b"\x08\x06\0\0\0"
    if action == 5:
        exif = b"Exif\0\0MM\0*\0\0\0\x08\0\x01\x01\x12\0\x03\0\0\0\x01\0" + bytes([rng.choice((0, 1, 3, 6, 8, 9, 200))]) + b"\0\0\0\0\0\0"
        return data[:2] + b"\xff\xe1" + (len(exif) + 2).to_bytes(2, "big") + exif + data[2:]
    if action == 6:
        return rng.choice(
            (
                b"",
                b"x",
                b"\xff\xd8",
                b"\xff\xd8\xff",
                b"GIF89a",
                b"BM",
                b"RIFF\0\0\0\0WEBP",
                b"II*\0",
                b"MM\0*",
                b"\0\0\0\x0cjP  ",
                b"\0\0\0\x1cftypavif",
                b"<html>",
                b"version https://git-lfs",
            )
        )
    return as_bytes(data, rng)


# The door -----------------------------------------------------------------------------------------------------------

_TEXT_DAMAGE: dict[str, Damage] = {
    ".json": json_token,
    ".xml": xml_node,
    ".yaml": yaml_event,
    ".yml": yaml_event,
    ".data": yaml_line,
    ".names": list_line,
}


def _is_list(name: str, data: bytes) -> bool:
    """Tell a list of names from rows of labels."""
    return not re.match(rb"\s*\d+(\s+[-\d.]+){4}", data)


def mutate(tree: Tree, rng: random.Random) -> None:
    """Damage one thing in a tree; label files are hit most often."""
    labels = [name for name, node in tree.items() if isinstance(node, bytes) and name.endswith((*_TEXT_DAMAGE, ".txt"))]
    images = [name for name, node in tree.items() if isinstance(node, bytes) and name.lower().endswith((".jpg", ".png"))]
    action = rng.randrange(20)
    if labels and action < 13:
        lists = [name for name in labels if not name.endswith(".txt") or _is_list(name, tree[name])]  # type: ignore[arg-type]
        name = rng.choice(lists if lists and rng.random() < 0.5 else labels)
        data = tree[name]
        assert isinstance(data, bytes)
        if action == 12:
            tree[name] = as_bytes(data, rng)
            return
        end = "." + name.rpartition(".")[2]
        damage = _TEXT_DAMAGE.get(end) or (list_line if _is_list(name, data) else row_token)
        changed = damage(data.decode("utf-8", "surrogateescape"), rng)
        tree[name] = changed.encode("utf-8", "surrogatepass" if "\ud800" in changed else "surrogateescape")
    elif images and action < 15:
        name = rng.choice(images)
        tree[name] = image_bytes(tree[name], rng)  # type: ignore[arg-type]
    else:
        structure(tree, rng)
