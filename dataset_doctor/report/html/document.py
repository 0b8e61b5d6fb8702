"""The frame of every page: one file that loads nothing, and a policy under which no text of the dataset could."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Sequence
from html import escape
from importlib.resources import files

_POLICY = "default-src 'none'; img-src data:; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'"


def document(kind: str, title: str, body: Sequence[str], *, styles: Sequence[str], script: str) -> str:
    """Put a page together.

    Args:
        kind: What the page holds, told in a comment at its beginning, by which the file is known again.
        title: For the window; escaped here.
        body: Markup, as it is.
        styles: Names of style sheets beside this module.
        script: Name of the only script, beside this module.
    """
    code = _own(script)
    digest = base64.b64encode(hashlib.sha256(code.encode("utf-8")).digest()).decode("ascii")
    return "\n".join(
        [
            "<!doctype html>",
            f"<!-- dataset-doctor {kind} -->",
            '<html lang="en">',
            "<head>",
            '<meta charset="utf-8">',
            f'<meta http-equiv="Content-Security-Policy" content="{_POLICY}; script-src \'sha256-{digest}\'">',
            '<meta name="viewport" content="width=device-width, initial-scale=1">',
            '<meta name="referrer" content="no-referrer">',
            '<meta name="color-scheme" content="light dark">',
            f"<title>{escape(title)} · dataset-doctor</title>",
            f"<style>\n{''.join(map(_own, styles))}</style>",
            "</head>",
            "<body>",
            *body,
            f"<script>{code}</script>",
            "</body>",
            "</html>",
            "",
        ]
    )


def _own(file: str) -> str:
    return files(__package__).joinpath(file).read_text(encoding="utf-8")
