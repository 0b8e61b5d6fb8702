"""The report as one HTML page that stands alone: nothing is loaded, nothing is sent, and no text of the dataset is ever markup.

What shaped it:

* The page holds what it shows as JSON, which no browser runs; a script of ours builds the page from it with `textContent` only.
* Its policy names that script by its hash and allows no address but `data:` pictures: whatever text gets in, it cannot load or run.
* Times, the host and the path of the dataset are left out, so that the same dataset gives the same page, fit to be sent on.
"""

from __future__ import annotations

import base64
import hashlib
import json
from html import escape
from importlib.resources import files
from typing import Any

from dataset_doctor.findings import Report
from dataset_doctor.report.html._content import content

_JSON_ESCAPES = str.maketrans({"<": "\\u003c", ">": "\\u003e", "&": "\\u0026", "\u2028": "\\u2028", "\u2029": "\\u2029"})

_POLICY = "default-src 'none'; img-src data:; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'"


def html(report: Report) -> str:
    """Write the report as a page; pictures are read from where the dataset was audited, and left out where they are not there any more."""
    shown = content(report)
    style, script = (files(__package__).joinpath(name).read_text(encoding="utf-8") for name in ("page.css", "page.js"))
    digest = base64.b64encode(hashlib.sha256(script.encode("utf-8")).digest()).decode("ascii")
    policy = f"{_POLICY}; script-src 'sha256-{digest}'"
    data = json.dumps(shown, ensure_ascii=False, allow_nan=False, separators=(",", ":")).translate(_JSON_ESCAPES)
    return "\n".join(
        [
            "<!doctype html>",
            "<!-- dataset-doctor report -->",
            '<html lang="en">',
            "<head>",
            '<meta charset="utf-8">',
            f'<meta http-equiv="Content-Security-Policy" content="{policy}">',
            '<meta name="viewport" content="width=device-width, initial-scale=1">',
            '<meta name="referrer" content="no-referrer">',
            '<meta name="color-scheme" content="light dark">',
            f"<title>{escape(shown['name'])} · dataset-doctor</title>",
            f"<style>\n{style}</style>",
            "</head>",
            "<body>",
            *_without_script(shown),
            f'<script type="application/json" id="data">{data}</script>',
            f"<script>{script}</script>",
            "</body>",
            "</html>",
            "",
        ]
    )


def _without_script(shown: dict[str, Any]) -> list[str]:
    """Say the most important where scripts do not run: the verdict and the findings."""
    findings = [f"<li>{escape(f['severity'])} {escape(f['code'])}: {escape(f['message'])}</li>" for f in shown["findings"]]
    return [
        "<noscript>",
        f"<h1>{escape(shown['name'])}</h1>",
        f"<p>{escape(shown['kind'])}</p>",
        f"<p><strong>{escape(' '.join(shown['verdict']))}</strong></p>",
        f"<ul>{''.join(findings)}</ul>",
        "<p>Charts, tables and pictures need JavaScript. This page loads nothing from anywhere.</p>",
        "</noscript>",
    ]
