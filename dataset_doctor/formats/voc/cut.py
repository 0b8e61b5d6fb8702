"""Changing VOC XML as text: whole objects are cut out, the file name is exchanged, and every other character stays."""

from __future__ import annotations

import codecs
import posixpath
import re
from collections.abc import Set
from pyexpat import ExpatError, ParserCreate
from xml.sax.saxutils import escape

from dataset_doctor.formats.voc.xml import decode_xml

_TAG = re.compile(rb"""<[^>"']*(?:"[^"]*"[^>"']*|'[^']*'[^>"']*)*>""")


def cut_xml(data: bytes, held: Set[int] | None, file_name: str | None, old_name: str) -> bytes:
    r"""Leave only some objects of a VOC file, and name another image in it.

    Args:
        data: The file. One that is not well-formed ends, where an object is cut from it, behind its last whole object.
        held: Numbers of the objects that stay, from 0; None for all.
        file_name: What `<filename>` is to say; None to leave it. Folders before the name, or a name without suffix, stay as they are.
        old_name: The name that the image had.

    >>> cut_xml(b"<annotation>\n <filename>a.jpg</filename>\n <object><name>x</name></object>\n</annotation>", {9}, "b.jpg", "a.jpg")
    b'<annotation>\n <filename>b.jpg</filename>\n</annotation>'
    """
    text, _ = decode_xml(data)
    raw = text.encode("utf-8", "surrogatepass")
    objects, name_at, is_broken = _places(raw)
    if is_broken and objects and held is not None:
        raw = raw[: objects[-1][1]] + b"\n</annotation>\n"
    changes: list[tuple[int, int, bytes]] = []
    for number, (begin, end) in enumerate(objects):
        if held is not None and number not in held:
            begin = len(raw[:begin].rstrip(b" \t\r\n"))
            changes.append((begin, end, b""))
    if file_name is not None and name_at is not None:
        begin, end = name_at
        changes.append((begin, end, _renamed(raw[begin:end].decode(), file_name, old_name).encode("utf-8", "replace")))
    for begin, end, content in sorted(changes, reverse=True):
        raw = raw[:begin] + content + raw[end:]
    return _encode(raw.decode("utf-8", "surrogatepass"), text, data)


def with_objects(data: bytes, objects: str, file_name: str, old_name: str, size: tuple[int, int]) -> bytes | None:
    r"""Give a VOC file other objects, for a picture that is made from the one it describes; what else it says stays.

    Args:
        data: The file.
        objects: The elements of the objects, each with a line end.
        file_name: The name of the picture made.
        old_name: The name that the image had.
        size: Width and height of the picture made.

    Returns:
        The file; None where it is not well-formed.

    >>> with_objects(b"<annotation>\n<size><width>4</width><height>3</height></size>\n<object/></annotation>\n", "<x/>\n", "b", "a", (3, 4))
    b'<annotation>\n<size><width>3</width><height>4</height></size>\n<x/>\n</annotation>\n'
    """
    before, _ = decode_xml(data)
    bare, _ = decode_xml(cut_xml(data, frozenset(), file_name, old_name))
    if _places(bare.encode("utf-8", "surrogatepass"))[2]:
        return None
    head, end, tail = bare.rpartition("</annotation")
    for tag, number in (("width", size[0]), ("height", size[1])):
        head = _sized(head, f"<{tag}>", number)
    head = re.sub(r"(<segmented>)[^<]*", r"\g<1>0", head)  # the masks of the source's picture do not fit
    return _encode(f"{head.rstrip()}\n{objects}{end}{tail}", before, data)


def _sized(head: str, tag: str, number: int) -> str:
    """Put a number behind a tag in the first `<size>` that holds it.

    >>> _sized("<size/><size><width>4</width></size>", "<width>", 3)
    '<size/><size><width>3</width></size>'
    """
    size, at = head.find("<size>"), head.find(tag)
    while size >= 0 and at >= 0:
        close = head.find("</size>", size)
        if at < size:
            at = head.find(tag, size)
        elif 0 <= close < at:
            size = head.find("<size>", close)
        else:
            end = head.find("<", at + 1)
            return f"{head[: at + len(tag)]}{number}{head[end:] if end >= 0 else ''}"
    return head


def _renamed(written: str, name: str, old_name: str) -> str:
    """Exchange the last component of a path as `<filename>` writes it; one that has no suffix gets none."""
    bare = written.strip()
    if "<" in bare:  # CDATA or a comment
        return escape(name)
    before = bare[: max(bare.rfind("/"), bare.rfind("\\")) + 1]
    if bare[len(before) :] == escape(posixpath.splitext(old_name)[0]) != escape(old_name):
        name = posixpath.splitext(name)[0]
    return written.replace(bare, before + escape(name)) if bare else escape(name)


def _places(raw: bytes) -> tuple[list[tuple[int, int]], tuple[int, int] | None, bool]:
    """Find the objects of a file and the text of its first file name, as byte offsets, and whether it breaks off behind them."""
    parser = ParserCreate("utf-8")
    path: list[str] = []
    objects: list[tuple[int, int]] = []
    begin = 0
    name_at: tuple[int, int] | None = None

    def start(tag: str, _: object) -> None:
        nonlocal begin
        path.append(tag)
        if path in (["annotation", "object"], ["annotation", "filename"]):
            begin = parser.CurrentByteIndex

    def end(tag: str) -> None:
        nonlocal name_at
        stop = parser.CurrentByteIndex  # where the end tag begins; behind an element that is a single tag
        has_end_tag = raw.startswith(f"</{tag}".encode(), stop)
        if path == ["annotation", "object"]:
            objects.append((begin, raw.index(b">", stop) + 1 if has_end_tag else stop))
        elif path == ["annotation", "filename"] and name_at is None and has_end_tag:
            opening = _TAG.match(raw, begin)
            name_at = (opening.end(), stop) if opening else None
        path.pop()

    parser.StartElementHandler = start
    parser.EndElementHandler = end
    try:
        parser.Parse(raw, True)
    except ExpatError:
        return objects, name_at, True
    return objects, name_at, False


def _encode(text: str, before: str, data: bytes) -> bytes:
    """Encode text as the file it comes from is encoded."""
    marks = ((codecs.BOM_UTF8, "utf-8"), (codecs.BOM_UTF16_LE, "utf-16-le"), (codecs.BOM_UTF16_BE, "utf-16-be"))
    for mark, codec in marks:
        if data.startswith(mark):
            return mark + text.encode(codec, "surrogatepass")
    for codec in ("utf-8", _declared(before), "latin-1"):
        try:
            if codec and before.encode(codec) == data:
                return text.encode(codec)
        except (LookupError, UnicodeEncodeError):
            continue
    return text.encode("utf-8", "surrogatepass")


def _declared(text: str) -> str:
    """Give the encoding that the XML declaration names, "" where there is none."""
    head = text[:200].partition("?>")[0]
    return head.partition("encoding=")[2].strip("\"' ").partition('"')[0].partition("'")[0] if head.startswith("<?xml") else ""
