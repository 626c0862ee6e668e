"""The page on published numbers of channels, followed word for word."""

from pages import Shell, follow
from running import ROOT


def test_the_page_word_for_word(tmp_path):
    folder = tmp_path / "an empty folder"
    folder.mkdir()
    page = (ROOT / "docs/published-channels.md").read_text()
    assert follow(page, Shell(folder, tmp_path / "bin")) == {"python": 1, "sh": 3, "text": 3}
