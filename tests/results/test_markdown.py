"""What is text in a table stays text, in Markdown and in HTML."""

from lwdna.results.markdown import page, points, table, to_html, write_page

ROWS = [("a|b", 1.5), ("two\nlines", "<b>&")]


def test_a_table_keeps_its_shape_whatever_is_in_it():
    assert table(("Name", "x|y"), ROWS, "lr").splitlines() == [
        "| Name | x\\|y |",
        "| :-- | --: |",
        "| a\\|b | 1.5 |",
        "| two lines | <b>& |",
    ]


def test_a_page_is_the_same_in_html(tmp_path):
    text = page("Title", table(("Name", "y"), ROWS, "lr"), points(["one", "two"]), scale="a\nlabel")
    assert text.startswith("# Title\n\n**a label**\n\n| Name | y |\n") and text.endswith("- two\n")
    html = to_html(text)
    assert html.count("<tr>") == 3 and html.count("<li>") == 2
    assert "a|b</td>" in html and "&lt;b&gt;" in html and "<strong>a label</strong>" in html
    files = {name: tmp_path / name for name in ("csv", "markdown", "html")}
    write_page(text, "a,b\n", **files)
    assert [path.read_text() for path in files.values()] == ["a,b\n", text, html]
