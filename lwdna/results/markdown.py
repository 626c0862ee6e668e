"""Markdown: its escapes, and its way to a page of HTML."""

from __future__ import annotations

from markdown import markdown as render

_HEAD = """<head>
<meta charset="utf-8">
<style>
body { font-family: sans-serif; margin: 2em; }
table { border-collapse: collapse; margin: 1em 0; }
th, td { padding: 0.25em 0.7em; border-bottom: 1px solid #ddd; text-align: left; }
th { border-bottom: 2px solid #444; }
</style>
</head>"""


def to_html(markdown: str) -> str:
    """A page that stands alone, from the Markdown of :func:`to_markdown`."""
    # Names come from the configuration: they are text, not markup.
    escaped = markdown.replace("&", "&amp;").replace("<", "&lt;")
    body = render(escaped, extensions=["tables"])
    return f'<!DOCTYPE html>\n<html lang="en">\n{_HEAD}\n<body>\n{body}\n</body>\n</html>\n'


def escape(text: str) -> str:
    """Text for a cell of a Markdown table."""
    return text.replace("|", "\\|").replace("\n", " ")
