"""The report as one HTML page that stands alone: nothing is loaded, nothing is sent, and no text of the dataset is ever markup.

What shaped it:

* The page holds what it shows as JSON, which no browser runs; a script of ours builds the page from it with `textContent` only.
* Its policy names that script by its hash and allows no address but `data:` pictures: whatever text gets in, it cannot load or run.
* Times, the host and the path of the dataset are left out, so that the same dataset gives the same page, fit to be sent on.
"""

from __future__ import annotations

import json
from html import escape
from typing import Any

from dataset_doctor.report.html.content import content
from dataset_doctor.report.html.document import document
from dataset_doctor.report.record import Report

_JSON_ESCAPES = str.maketrans({"<": "\\u003c", ">": "\\u003e", "&": "\\u0026", "\u2028": "\\u2028", "\u2029": "\\u2029"})


def html(report: Report) -> str:
    """Write the report as a page; pictures are read from where the dataset was audited, and left out where they are not there any more."""
    shown = content(report)
    data = json.dumps(shown, ensure_ascii=False, allow_nan=False, separators=(",", ":")).translate(_JSON_ESCAPES)
    body = [*_without_script(shown), f'<script type="application/json" id="data">{data}</script>']
    return document("report", shown["name"], body, styles=("page.css",), script="page.js")


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
