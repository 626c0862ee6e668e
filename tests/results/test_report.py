"""The report stands alone, shows figures and animations, and says what the numbers say."""

from __future__ import annotations

import base64
import re
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from PIL import Image
from test_tables import DIGITS, EDSR, RESNET56, run, table

from lwdna.__main__ import lwdna
from lwdna.errors import DataError
from lwdna.results.rendering import write_table
from lwdna.results.report import Shown, Tabled, read_jobs, write_report


def written(folder: Path, name: int, runs: list[dict[str, Any]], **experiments: Any) -> Tabled:
    """A table, by way of its files."""
    paths = {kind: folder / f"table{name}.{kind}" for kind in ("csv", "html")}
    paths |= {"markdown": folder / f"table{name}.md", "latex": folder / f"table{name}.tex"}
    write_table(name, table(name, runs, experiments), "Demo.", **paths)
    return Tabled.read(name, paths["csv"], paths["markdown"])


@pytest.fixture
def tabled(tmp_path: Path) -> list[Tabled]:
    errors = {"baseline": (8.0, 9.0, 7.5), "baseline-kd": (6.0, 7.0, 6.5), "lw-dna": (5.0, 4.0, 3)}
    runs = [
        run("digits", method, seed, top1_error_percent=error, params=20_000 if i == 2 else 40_000)
        for i, (method, values) in enumerate(errors.items())
        for seed, error in enumerate(values)
    ]
    runs.append(run("r56", "lw-dna", test_set="cifar10", top1_error_percent=5.0))
    edsr = [
        run("edsr", method, test_set="set5", psnr_db=psnr)
        for method, psnr in (("baseline", 30.0), ("lw-dna", 29.5))
    ]
    digits = DIGITS | {"methods": [*errors], "label": "A <b> & | net"}
    return [
        written(tmp_path, 1, runs, digits=digits, r56=RESNET56),
        written(tmp_path, 2, []),
        written(tmp_path, 4, edsr, edsr=EDSR),
    ]


def test_it_says_what_the_numbers_say(tabled: list[Tabled], tmp_path: Path) -> None:
    output = tmp_path / "report.html"
    write_report(output, tables=tabled, pages=["# Rows\n\n| a |\n| :-- |\n| 7 |\n"], scale="A & b")
    text = output.read_text()
    assert (
        "A &lt;b&gt; &amp; | net on digits: the top-1 error of LW-DNA is 4.00 ± 1.00 (n=3), "
        "2.50 points less than Baseline KD (3 seeds, 95 % interval -3.50 to -1.00, without zero), "
        "with 100.0 % of the FLOPs and 50.0 % of the parameters of the Baseline."
    ) in text
    assert "Small EDSR on set5: the PSNR of LW-DNA is 29.50 (n=1), 0.50 dB less than " in text
    assert text.count("of LW-DNA is") == 2 and "<h3>Image denoising</h3>" not in text
    assert "A &amp; b</p>" in text and "<b> &" not in text
    assert "<details><summary>Rows</summary>" in text and "<td style" in text
    assert "<script" not in text and not re.search(r"(src|href)=\"(?!#|data:)", text)


def test_animations_play(tmp_path: Path) -> None:
    """The file is in the page as it is, and an img of it moves."""
    frames = [Image.new("L", (8, 8), value) for value in (0, 255)]
    for kind in ("gif", "webp"):
        path = tmp_path / f"a.{kind}"
        frames[0].save(path, save_all=True, append_images=frames[1:], duration=200, loop=0)
        output = tmp_path / "report.html"
        write_report(output, tables=[], figures=[Shown('Moves "so"', path)])
        text = output.read_text()
        (kept,) = re.findall(rf'src="data:image/{kind};base64,([^"]+)"', text)
        assert base64.b64decode(kept) == path.read_bytes()
        assert "Moves &quot;so&quot;" in text
    assert "Nothing was measured" in text


def test_jobs_are_summed_up_by_stage(tmp_path: Path) -> None:
    head = "s\th:m:s\tmax_rss\n"
    for name, row in (("train/a/b/seed0", "90\t0:1:30\t2048"), ("train/a/c/seed0", "30\t-\t-")):
        path = tmp_path / f"notes/{name}.tsv"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(head + row + "\n")
    (tmp_path / "notes/agreement.tsv").write_text(head + "5\t-\t100\n")
    (tmp_path / "notes/mine.tsv").write_text(head + "1\t-\t100\n")
    (tmp_path / "notes/train/half.tsv").write_text("")
    assert sorted(read_jobs(tmp_path / "notes")["rule"]) == ["agreement", "mine", "train", "train"]
    output = tmp_path / "report.html"
    write_report(output, tables=[], benchmarks=tmp_path / "notes")
    text = output.read_text()
    stages = re.findall(r'<div class="stage"><b>(.*?)</b>(.*?)</div>', text)
    assert stages == [
        ("Training", "train &times; 2: 2 min"),
        ("Tables and figures", "agreement &times; 1: 5 s"),
        ("Others", "mine &times; 1: 1 s"),
    ]
    assert "4 jobs took 2 min in all, one after the other, and at most 2.0 GB" in text
    write_report(output, tables=[], benchmarks=tmp_path / "none")
    assert "was not noted" in output.read_text()


def test_the_command_writes_it_or_says_what_is_wrong(tabled: list[Tabled], tmp_path: Path) -> None:
    output = tmp_path / "report.html"
    files = [str(tmp_path / f"table4.{kind}") for kind in ("csv", "md")]
    words = ["report", "--table", "4", *files, "--output", str(output)]
    assert CliRunner().invoke(lwdna, words).exception is None
    assert "Image super-resolution" in output.read_text()
    output.unlink()
    (tmp_path / "empty.csv").write_text("a,b\n1,2\n")
    for wrong, sentence in (
        (["--figure", "F", str(tmp_path / "a.svg")], "ends in one of .png, .gif, .webp"),
        (["--figure", "F", str(tmp_path / "a.png")], "Cannot read the figure"),
        (["--page", str(tmp_path / "a.md")], "Cannot read the page"),
        (["--table", "1", str(tmp_path / "empty.csv"), files[1]], "lacks the column"),
        (["--table", "1", str(tmp_path / "none.csv"), files[1]], "Cannot read the table"),
    ):
        failure = CliRunner().invoke(lwdna, [*words, *wrong]).exception
        assert isinstance(failure, DataError) and sentence in str(failure), failure
        assert not output.exists()
