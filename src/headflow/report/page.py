"""Web pages: one self-contained file with its style and font, without network or scripts."""

from __future__ import annotations

import base64
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from html import escape
from importlib.resources import files

from ..theory.visible import visible


@dataclass(frozen=True)
class Section:
    """A part of a page: its anchor, its heading and its HTML."""

    anchor: str
    heading: str
    html: str


def page(title: str, lead: str, sections: Sequence[Section], footer: str = "") -> str:
    """A complete HTML document; it is well-formed XML too.

    Parameters
    ----------
    title
        Plain text.
    lead
        HTML below the title.
    sections
        The contents; more than one get a list of links above them.
    footer
        HTML at the end.
    """
    links = "".join(f'<a href="#{section.anchor}">{escape(section.heading)}</a> ' for section in sections)
    body = [
        f"<h1>{escape(title)}</h1>",
        f'<p class="lead">{lead}</p>',
        f"<nav>{links}</nav>" if len(sections) > 1 else "",
        *(
            f'<section id="{section.anchor}">\n<h2>{escape(section.heading)}</h2>\n{section.html}\n</section>'
            for section in sections
        ),
        f"<footer>{footer}</footer>" if footer else "",
    ]
    return visible(
        "<!DOCTYPE html>\n"
        '<html lang="en" xmlns="http://www.w3.org/1999/xhtml">\n<head>\n<meta charset="utf-8"/>\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1"/>\n'
        f"<title>{escape(title)}</title>\n<style>\n{_style()}</style>\n</head>\n<body>\n"
        + "\n".join(part for part in body if part)
        + "\n</body>\n</html>\n"
    )


def table(head: Sequence[str], rows: Iterable[Sequence[str]], numeric: Iterable[int] = ()) -> str:
    """A table of HTML cells that scrolls where the page is narrow; ``numeric`` columns are right-aligned."""
    right = set(numeric)

    def cells(tag: str, row: Sequence[str]) -> str:
        kinds = (' class="number"' if column in right else "" for column in range(len(row)))
        return "".join(f"<{tag}{kind}>{cell}</{tag}>" for kind, cell in zip(kinds, row, strict=True))

    body = "\n".join(f"<tr>{cells('td', row)}</tr>" for row in rows)
    return (
        f'<div class="wide"><table><thead><tr>{cells("th", head)}</tr></thead>\n<tbody>\n{body}\n</tbody></table></div>'
    )


def facts(pairs: Iterable[tuple[str, str]]) -> str:
    """A list of names and what they are, both HTML."""
    return f"<dl>{''.join(f'<dt>{name}</dt><dd>{value}</dd>' for name, value in pairs)}</dl>"


def figure(svg: str, caption: str) -> str:
    """An inline figure with its caption, both HTML; where the page is narrow it scrolls."""
    return f'<figure><div class="wide">{svg}</div><figcaption>{caption}</figcaption></figure>'


def _style() -> str:
    data = files("headflow") / "data"
    font = base64.b64encode((data / "math.woff2").read_bytes()).decode("ascii")
    face = (
        f'@font-face {{ font-family: "Headflow Math"; src: url("data:font/woff2;base64,{font}") format("woff2"); }}\n'
    )
    return face + (data / "page.css").read_text(encoding="utf-8")
