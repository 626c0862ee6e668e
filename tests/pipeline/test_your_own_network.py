"""The pages on what is one's own, followed word for word in an empty folder."""

import pytest
from pages import Shell, blocks, follow
from running import ROOT

NETWORK, LAYER, PIPELINE = (
    (ROOT / f"docs/your-own-{name}.md").read_text() for name in ("network", "layer", "pipeline")
)


@pytest.fixture
def shell(tmp_path):
    """A shell in an empty folder."""
    folder = tmp_path / "an empty folder"
    folder.mkdir()
    return Shell(folder, tmp_path / "bin")


def test_the_page_on_networks_word_for_word(shell):
    pytest.importorskip("onnxscript")
    pytest.importorskip("onnxruntime")
    assert follow(NETWORK, shell) == {"python": 3, "sh": 6, "text": 6}


def test_the_page_on_layers_word_for_word(shell):
    assert follow(LAYER, shell) == {"python": 2, "sh": 3, "text": 3}


def test_the_page_on_the_pipeline_word_for_word(shell):
    pytest.importorskip("snakemake")
    pytest.importorskip("torchvision")
    assert follow(PIPELINE, shell) == {"python": 2, "yaml": 1, "sh": 4, "text": 3}


def test_the_script_is_fifteen_lines():
    scripts = [content for kind, content, _ in blocks(NETWORK) if kind == "python"]
    assert len(scripts[1].strip().splitlines()) <= 15
