"""Tables in LaTeX are well formed, whatever is in them, and have the numbers of the CSV."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from test_tables import DIGITS, DNCNN, EDSR, MOBILENET, RESNET56, run, table

from lwdna.results.latex import escape, to_latex
from lwdna.results.layouts import LAYOUTS
from lwdna.results.pages import Column, Grid, Heading, Page, Points
from lwdna.results.parts import Part
from lwdna.results.rendering import write_table

ODD = "50% of #1_{$x$} & ~half\\^ | <b>"


def body(code: str) -> list[str]:
    """The rows of numbers of every table."""
    found = re.findall(r"\\midrule(.*?)\\bottomrule", code, re.DOTALL)
    lines = [line.strip() for part in found for line in part.splitlines()]
    return [line for line in lines if line.endswith(r"\\")]


def check(code: str) -> None:
    """Environments and braces close in the order that they open, and rows have all cells."""
    inside: list[str] = []
    for what, name in re.findall(r"\\(begin|end)\{([a-z*]+)\}", code):
        if what == "begin":
            inside.append(name)
        else:
            assert inside.pop() == name
    assert not inside
    plain = re.sub(r"\\[\\{}&%$#_]", "", code)
    assert plain.count("{") == plain.count("}") and plain.count("$") % 2 == 0
    assert not set("~^#_|<>") & set(plain)
    tabular = re.compile(r"begin\{tabular\}\{@\{\}(\w+)@\{\}\}(.*?)\\end", re.DOTALL)
    for align, lines in tabular.findall(code):
        for line in lines.splitlines():
            if line.endswith(r"\\"):
                cells = re.sub(r"\\&", "", line).count("&") + 1
                shared = sum(int(size) - 1 for size in re.findall(r"multicolumn\{(\d+)\}", line))
                assert cells + shared == len(align)


def without_comments(code: str) -> str:
    return "\n".join(line for line in code.splitlines() if not line.startswith("%"))


@pytest.mark.parametrize("part", Part)
@pytest.mark.parametrize("number", [1, 2, 3, 4])
def test_every_table_is_balanced_and_has_the_numbers_of_its_csv(
    tmp_path: Path, number: int, part: Part
) -> None:
    errors = {"baseline": (8.0, 9.0, 7.5), "baseline-kd": (6.0, 7.0, 6.5), "lw-dna": (5.0, 4.0, 3)}
    experiments: dict[str, dict[str, Any]] = {
        "digits": DIGITS | {"label": ODD, "methods": [*errors], "tables": [1, 2, 3, 4]},
        "r56": RESNET56,
        "dn": DNCNN,
        "m": MOBILENET,
        "edsr": EDSR | {"paper": {"network": "EDSR"}},
    }
    sets = {"digits": "digits", "r56": "cifar10", "dn": "bsd68", "m": "tiny-imagenet"}
    runs = [
        run(name, method, seed, test_set=tested, top1_error_percent=error, psnr_db=20 + error)
        for name, tested in (sets | {"edsr": "set5"}).items()
        for method, values in errors.items()
        for seed, error in enumerate(values)
    ]
    frame = table(number, runs, experiments)
    paths = {"csv": tmp_path / "t.csv", "markdown": tmp_path / "t.md"}
    paths |= {"html": tmp_path / "t.html", "latex": tmp_path / "table_1.tex"}
    write_table(number, frame, "100 % demo", part=part, **paths)
    code = without_comments(paths["latex"].read_text())
    check(code)
    assert r"100 \% demo. " in code and r"\label{tab:table-1}" in code
    assert "caption{Table" not in code
    measure = LAYOUTS[number].measures[0].column
    records = pd.read_csv(paths["csv"], dtype=str, keep_default_na=False).to_dict("records")
    assert records
    for line, record in zip(body(code), records, strict=True):
        cells = [cell.strip(" \\\n") for cell in re.split(r"(?<!\\)&", line)]
        numbers = " ".join(cells[1:])
        if mean := record[f"{measure}_mean"]:
            assert f"{float(mean):.2f}" in numbers
        if record["flops_g"] and not record["paper_flops_g"]:
            there = [float(found) for found in re.findall(r"\d+\.\d+", numbers)]
            assert float(record["flops_g"]) in there and float(record["params_m"]) in there
        if record["section"] == "paper" and number != 4:
            assert record[f"{measure}_paper"] in cells or not record[f"{measure}_paper"]
            assert record["paper_flops_g"] in numbers and record["paper_params_m"] in numbers


def test_text_stays_text() -> None:
    assert escape("a_b & 5% ± 1 \N{MULTIPLICATION SIGN} -0.50 [-1, x-2] -") == (
        r"a\_b \& 5\% $\pm$ 1 $\times$ $-$0.50 [$-$1, x-2] -"
    )
    columns = (Column("Network", number=False), Column(ODD, "ours"), Column(ODD, "paper"))
    grid = Grid.of(columns, [(ODD, "-1.5", "-"), ("", ODD, 2)])
    page = Page("Table 7: " + ODD, (ODD, Heading(ODD), grid, Points((ODD, "two\nlines"))), ODD)
    code = to_latex(page, "table7")
    assert "% two\n% lines\n" in code
    code = without_comments(code)
    check(code)
    assert "$-$1.5 & --" in code and r"\multicolumn{2}{c}" in code and r"\cmidrule(lr){2-3}" in code


def test_a_table_is_as_wide_as_a_column_if_it_fits() -> None:
    def written(*rows: tuple[str, ...]) -> str:
        columns = [Column(f"c{i}") for i in range(len(rows[0]))]
        return to_latex(Page("Title", (Grid.of(columns, rows),)), "t")

    assert r"\begin{table}[t]" in written(("1.5", "2"))
    wide = written(("a long name of a network", "1.50 ± 0.20 (n=3)", "0.1262 / 99.06 (=)"))
    assert r"\begin{table*}[t]" in wide


def test_a_page_without_a_table_is_a_comment() -> None:
    code = to_latex(Page("Table 4: EDSR", ("Not run.",)), "table4")
    assert without_comments(code) == "" and "% Not run." in code


def test_columns_that_say_nothing_are_left_out() -> None:
    columns = (Column("n", number=False), Column("E", "ours"), Column("E", "paper"), Column("x"))
    rows = [("a", "1", "-", ""), ("b", "not run", "", "")]
    grid = Grid.of(columns, rows).without_empty()
    assert [str(column) for column in grid.columns] == ["n", "E"]
    assert grid.rows == (("a", "1"), ("b", "not run"))
    rows[1] = ("b", "-", "2", "")
    assert [str(c) for c in Grid.of(columns, rows).without_empty().columns] == [
        "n",
        "E, ours",
        "E, paper",
    ]
    assert Grid.of(columns, ()).without_empty().columns == columns
