"""The complexity columns of Tables 1 to 3: our baselines, and the published sizes shrunk again.

Every LW-DNA row is shrunk again, at the paper's FLOPs, by each of three criteria. Only sizes are
looked at, so photographs with arbitrary labels stand in for the datasets: the latent gradients
of an untrained network hardly depend on which natural images it sees.

The paper states rho and tau for Tiny-ImageNet's MobileNetV1 (Table 3) and for ImageNet. For the
other rows they are *fitted*: rho is the value that brings our mean number of parameters nearest
to the printed one. One free number for one number shows what is possible, not what was done.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch

from lwdna.config.paper import WITH_BASELINES
from lwdna.errors import DataError
from lwdna.graph.complexity import complexity as count_complexity
from lwdna.io.project import paper_table
from lwdna.networks.build import build
from lwdna.networks.registry import TABLES_WITHOUT_BATCH_NORM, input_shape
from lwdna.results.cells import versus
from lwdna.results.layouts import layout_of
from lwdna.results.markdown import to_markdown as as_markdown
from lwdna.results.pages import Column, Grid, Heading, Page, Points
from lwdna.results.printed import read_paper

AGREEMENT, FROM_MEAN = 0.025, 0.05
"""How far outside the range over our seeds, and from its mean, a printed number may lie and still
agree: a wide range alone is no agreement."""


def own_tables() -> tuple[tuple[int, Path], ...]:
    """Numbers and files of the tables that belong to the project.

    Raises:
        DataError: if the package is installed without them.
    """
    files = tuple((int(table), paper_table(table)) for table in WITH_BASELINES)
    for _, path in files:
        if not path.is_file():
            raise DataError(
                f"The paper's numbers are not at '{path}'; run from a clone of the project, "
                "installed with `pip install -e .`, or name the files with --table."
            )
    return files


def paper_baselines(number: int, path: Path) -> list[dict[str, Any]]:
    """Our counts of the baselines of one of the paper's tables, beside the printed ones."""
    rows = []
    printed = read_paper(path, {"network", "method", "flops_g", "params_m"})
    for line in printed[printed["method"] == "Baseline"].to_dict("records"):
        network, dataset = line["network"], line.get("dataset")
        with torch.device("meta"):
            model = build(network, dataset=dataset)
        flops, params = count_complexity(
            model,
            torch.empty(input_shape(network, dataset), device="meta"),
            batch_norm=number not in TABLES_WITHOUT_BATCH_NORM,
        )
        rows.append(
            {
                "dataset": dataset,
                "network": network,
                "flops": flops,
                "params": params,
                "paper_flops_g": line["flops_g"],
                "paper_params_m": line["params_m"],
                "matches": versus(flops / 1e9, line["flops_g"]) == "="
                and versus(params / 1e6, line["params_m"]) == "=",
            }
        )
    return rows


KEYS = ["table", "dataset", "network", "paper_flops_g", "paper_params_m", "rho_paper", "tau"]
"""What tells one row of the paper from the others."""


def summarise(results: pd.DataFrame) -> pd.DataFrame:
    """Mean and range over the seeds beside the paper's numbers, and whether they agree.

    Returns:
        A line for each row of the paper and criterion.
    """
    results = results.fillna({"dataset": ""})
    results = results.assign(rho_paper=results["rho"].where(~results["fitted"], np.nan))
    lines = []
    columns = [*KEYS, "criterion"]
    for names, group in results.groupby(columns, sort=False, dropna=False):
        line: dict[str, Any] = dict(zip(columns, names, strict=True))  # type: ignore[call-overload]
        paper = float(line["paper_params_m"])
        params = group["params"].astype(float) / 1e6
        least, most = params.min(), params.max()
        lines.append(
            line
            | {
                "fitted": bool(group["fitted"].iloc[0]),
                "rho": float(group["rho"].iloc[0]),
                "seeds": int(params.notna().sum()),
                "flops_g": group["flops"].astype(float).mean() / 1e9,
                "params_m": params.mean(),
                "params_m_min": least,
                "params_m_max": most,
                "difference_percent": 100 * (params.mean() / paper - 1),
                "agrees": bool(
                    least * (1 - AGREEMENT) <= paper <= most * (1 + AGREEMENT)
                    and abs(params.mean() / paper - 1) <= FROM_MEAN
                ),
            }
        )
    return pd.DataFrame(lines)


def sentence(lines: pd.DataFrame) -> str:
    """What the three criteria say of one row of the paper."""
    fitted = bool(lines["fitted"].iloc[0])
    agreeing = [_named(line) for line in lines[lines["agrees"]].to_dict("records")]
    rest = lines[~lines["agrees"]].sort_values("difference_percent", key=np.abs)
    others = [
        f"{_named(line)} gives {line['difference_percent']:+.1f} %"
        if line["seeds"]
        else f"{line['criterion']} diverges"
        for line in rest.to_dict("records")
    ]
    if agreeing:
        text = f"Consistent with {' and with '.join(agreeing)}"
    else:
        text = "None of the criteria gives the published number"
        text += " with any rho" if fitted else ""
    return f"{text}; {', '.join(others)}." if others else f"{text}."


def _named(line: dict[Any, Any]) -> str:
    return f"{line['criterion']}" + (f" (rho fitted: {line['rho']:.2f})" if line["fitted"] else "")


NOTES = (
    "Ours: mean over the seeds, in brackets their range. FLOPs are never above the paper's, "
    "which is the budget.",
    "rho and tau: the paper's where it states them. *: rho fitted to the printed number of "
    "parameters, separately for each criterion (tau 0.45, as everywhere in the paper): one free "
    "number for one number shows what is possible, not what the authors did.",
    "gradient: at initialisation, as in the paper's text. One warm-up step: as in the authors' "
    "code. magnitude: of the latent vectors, as in the published code for ResNet50.",
    f"A criterion agrees if the printed number lies within {100 * AGREEMENT:g} % of the range "
    f"over the seeds and our mean within {100 * FROM_MEAN:g} % of it.",
    "diverges: the loss after the warm-up step is not finite. The authors' step, SGD with a "
    "learning rate of 0.1, was made for classification.",
    "Images: crops of photographs with arbitrary labels. No network was trained here.",
)


_COLUMNS = (
    *(Column(title, number=False) for title in ("Dataset", "Network", "Criterion")),
    *map(Column, ("rho", "tau")),
    *(Column(title, part) for title in ("FLOPs [G]", "Params [M]") for part in ("paper", "ours")),
    *map(Column, ("Difference [%]", "Agrees")),
)


def to_markdown(number: int, summary: pd.DataFrame) -> str:
    """:func:`to_page` in Markdown."""
    return as_markdown(to_page(number, summary))


def to_page(number: int, summary: pd.DataFrame) -> Page:
    """A table for people, with a sentence for each row of the paper."""
    rows = []
    sentences = []
    for group in _blocks(summary):
        for position, line in enumerate(group.to_dict("records")):
            first = position == 0
            rows.append(
                [
                    line["dataset"] if first else "",
                    line["network"] if first else "",
                    line["criterion"],
                    f"{line['rho']:.2f}{'*' * line['fitted']}" if line["seeds"] else "-",
                    f"{line['tau']:.2f}",
                    line["paper_flops_g"] if first else "",
                    f"{line['flops_g']:.4f}" if line["seeds"] else "diverges",
                    line["paper_params_m"] if first else "",
                    _mean_and_range(line),
                    f"{line['difference_percent']:+.1f}" if line["seeds"] else "-",
                    "yes" if line["agrees"] else "no",
                ]
            )
        row = group.iloc[0]
        name = f"{row['network']}, {row['dataset']}" if row["dataset"] else row["network"]
        name += "".join(f", {key} {row[key]:g}" for key in layout_of(number).settings)
        sentences.append(f"**{name}.** {sentence(group)}")
    title = f"Table {number}: FLOPs and parameters of the LW-DNA networks, shrunk again"
    said = (Heading("In words"), Points(tuple(sentences)), Heading("Notes"), Points(NOTES))
    return Page(title, (Grid.of(_COLUMNS, rows).without_empty(), *said))


def _mean_and_range(line: dict[Any, Any]) -> str:
    if not line["seeds"]:
        return "diverges"
    least, most = line["params_m_min"], line["params_m_max"]
    return f"{line['params_m']:.3f} [{least:.3f}, {most:.3f}]"


def _blocks(summary: pd.DataFrame) -> list[pd.DataFrame]:
    """The lines of each row of the paper."""
    return [lines for _, lines in summary.groupby(KEYS, sort=False, dropna=False)]
