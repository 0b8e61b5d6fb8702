"""Pages in Chromium: how they are opened, watched and measured."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

PHONE, DESKTOP = (375, 740), (1200, 900)

ATTACKS = (
    "<img src=x onerror=alert(1)>", "</script><script>alert(2)</script>", "<!--<script>", "\"><svg onload=alert(3)>", "'onfocus='alert(4)' autofocus='",
    "javascript:alert(5)", "<style>*{display:none}</style>", "<base href=//evil.example>", "<meta http-equiv=refresh content=0;url=//evil.example>",
    "]]>", "\u2028alert(6)", "\u202egnp.exe", "\x1b[31m", "__proto__", "constructor", "{{7*7}}", "&lt;b&gt;", "\ud800",
)  # fmt: skip
"""Names that would be markup, script or something unseen if they were taken for anything but text."""

CONTRAST = """() => {
  const channel = (v) => (v /= 255) <= 0.03928 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4;
  const parse = (colour) => colour.match(/[\\d.]+/g).map(Number);
  const light = ([r, g, b]) => 0.2126 * channel(r) + 0.7152 * channel(g) + 0.0722 * channel(b);
  const ground = (node) => {
    const layers = [];
    for (let n = node; n; n = n.parentElement) { const c = parse(getComputedStyle(n).backgroundColor); layers.unshift(c); if ((c[3] ?? 1) === 1) break; }
    return layers.reduce((under, [r, g, b, a = 1]) => [r, g, b].map((v, at) => a * v + (1 - a) * under[at]), [255, 255, 255]);
  };
  const nodes = [...document.querySelectorAll('p, dt, dd, td, th, h1, h2, h3, a, button, summary, .badge, li')].filter((n) => n.innerText && n.offsetParent && !n.closest('.hide, .skip'));
  return nodes.map((n) => { const a = light(parse(getComputedStyle(n).color)), b = light(ground(n)); return [(Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05), n.tagName + ' ' + n.innerText.slice(0, 30)]; })
    .filter(([ratio]) => ratio < 4.5);
}"""
"""Gives the texts whose contrast with their ground is below 4.5 : 1."""


@dataclass
class Opened:
    """A report in the browser, and what went wrong there."""

    page: Any
    trouble: list[str] = field(default_factory=list)


class OpenPage(Protocol):
    """Open a page of this text, in a window of this size."""

    def __call__(self, page: str, size: tuple[int, int] = ..., **options: Any) -> Opened:
        """Open it."""


@contextmanager
def watched(browser: Any, folder: Path) -> Iterator[OpenPage]:
    """Open pages; afterwards nothing may have been logged, asked for over any network, or run that is not ours."""
    opened: list[Opened] = []
    contexts = []

    def opener(page: str, size: tuple[int, int] = DESKTOP, **options: Any) -> Opened:
        file = folder / f"page{len(opened)}.html"
        file.write_text(page, encoding="utf-8")
        context = browser.new_context(viewport={"width": size[0], "height": size[1]}, **options)
        context.set_default_timeout(10_000)
        contexts.append(context)
        one = Opened(context.new_page())
        one.page.on("console", lambda message: one.trouble.append(message.text))
        one.page.on("pageerror", lambda error: one.trouble.append(str(error)))
        one.page.on("dialog", lambda dialog: (one.trouble.append(dialog.message), dialog.dismiss()))
        one.page.on("request", lambda request: one.trouble.append(request.url) if not allowed(request.url, file) else None)
        one.page.goto(file.as_uri())
        opened.append(one)
        return one

    yield opener
    for context in contexts:
        context.close()
    assert [one.trouble for one in opened] == [[] for _ in opened]


def allowed(url: str, file: Path) -> bool:
    return url.startswith("data:image/jpeg;") or url.partition("#")[0] == file.as_uri()


def overflow(page: Any) -> list[str]:
    """Name the elements that reach beyond the page and are not inside something that scrolls by itself."""
    found: list[str] = page.evaluate(
        """() => {
          const inside = (node) => node.closest('.scroll, nav ul, .hide, .skip, svg svg');
          const wide = [...document.querySelectorAll('body *')].filter((node) => !inside(node) && node.getBoundingClientRect().right > innerWidth + 0.5);
          const page = document.documentElement.scrollWidth > innerWidth ? ['the page'] : [];
          return page.concat(wide.map((node) => node.tagName + '.' + (node.getAttribute('class') || '') + ' ' + node.textContent.slice(0, 40)));
        }"""
    )
    return found


def texts(page: Any, selector: str) -> list[str]:
    found: list[str] = page.locator(selector).all_inner_texts()
    return found
