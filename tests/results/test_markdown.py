"""What is text in a table stays text, in Markdown and in HTML."""

from lwdna.results.markdown import table, to_html, to_markdown, write_page
from lwdna.results.pages import Column, Grid, Page, Points

ROWS = [("a|b", 1.5), ("two\nlines", "<b>&")]


def test_a_table_keeps_its_shape_whatever_is_in_it():
    assert table(("Name", "x|y"), ROWS, "lr").splitlines() == [
        "| Name | x\\|y |",
        "| :-- | --: |",
        "| a\\|b | 1.5 |",
        "| two lines | <b>& |",
    ]


def test_a_page_is_the_same_in_html(tmp_path):
    grid = Grid.of((Column("Name", number=False), Column("y")), ROWS)
    page = Page("Title", (grid, Points(("one", "two"))), scale="a\nlabel")
    text = to_markdown(page)
    assert text.startswith("# Title\n\n**a label**\n\n| Name | y |\n") and text.endswith("- two\n")
    html = to_html(text)
    assert html.count("<tr>") == 3 and html.count("<li>") == 2
    assert "a|b</td>" in html and "&lt;b&gt;" in html and "<strong>a label</strong>" in html
    files = {name: tmp_path / name for name in ("csv", "markdown", "html", "latex")}
    write_page(page, "a,b\n", **files)
    assert [path.read_text() for path in files.values()][:3] == ["a,b\n", text, html]
    assert r"\label{tab:latex}" in files["latex"].read_text()
