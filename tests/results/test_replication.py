"""The complexity columns of the paper: rows, fit, verdicts, and the networks shrunk again."""

import numpy as np
import pandas as pd
import pytest
import torch
import yaml
from torch import nn

import lwdna.shrinkage.hypernetwork
from lwdna.data.photographs import export_photographs
from lwdna.errors import DataError
from lwdna.io.project import ROOT, paper_table
from lwdna.results.printed import read_published
from lwdna.results.replication import own_tables, sentence, summarise, to_markdown
from lwdna.shrinkage.replicate import (
    CRITERIA,
    photograph_loss,
    published_rows,
    read_photographs,
    replicate,
)


@pytest.fixture(scope="module")
def paper():
    files = dict(own_tables()) | {3: paper_table(3)}
    return [(number, read_published(number, path)) for number, path in files.items()]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    path = tmp_path_factory.mktemp("photographs")
    export_photographs(["chelsea", "china"], path)
    return path


def test_rows_of_a_network(paper):
    (row,) = published_rows(paper, "ResNet56", "cifar10", None, 0.45)
    assert (row.table, row.target, row.params_m, row.rho) == (1, 126.2e6, "0.536", None)
    (row,) = published_rows(paper, "DnCNN", None, None, 0.45)
    assert (row.table, row.target) == (2, 5.43e9)


def test_table_3_states_its_own_rho_and_tau(paper):
    rows = published_rows(paper, "MobileNetV1", "tiny-imagenet", 0.2, 0.45)
    assert [(row.table, row.rho, row.tau) for row in rows] == [
        (1, 0.2, 0.45),
        (3, 0.1, 0.4),
        (3, 0.1, 0.45),
        (3, 0.2, 0.4),
        (3, 0.2, 0.45),
    ]


def test_every_lw_dna_row_of_the_paper_is_in_the_configuration(paper):
    text = (ROOT / "config/complexity.yaml").read_text()
    networks = yaml.safe_load(text)["replication"]["networks"].values()
    rows = [
        row.params_m
        for section in networks
        for row in published_rows(
            paper, section["network"], section.get("dataset"), section.get("rho"), 0.45
        )
    ]
    printed = [
        line["params_m"]
        for _, table in paper
        for line in table.to_dict("records")
        if line.get("method", "LW-DNA") == "LW-DNA"
    ]
    assert sorted(rows) == sorted(printed)
    assert len(rows) == 22


def test_network_that_is_not_in_the_paper(paper):
    with pytest.raises(DataError, match="no LW-DNA row of ResNet20 on cifar10"):
        published_rows(paper, "ResNet20", "cifar10", None, 0.45)


@pytest.mark.parametrize(("classes", "gray"), [(7, False), (None, True)])
def test_photographs_are_a_function_of_seed_and_call(folder, classes, gray):
    photographs = read_photographs(folder, gray=gray)
    assert [x.shape[0] for x in photographs] == [1 if gray else 3] * 2

    class Look(nn.Module):
        def __init__(self):
            super().__init__()
            self.seen = []

        def forward(self, x):
            self.seen.append(x)
            return x.mean((2, 3))[:, :1].expand(-1, classes) if classes else x

    def batches(seed):
        network, loss = Look(), photograph_loss(photographs, 16, classes, 3, seed)
        assert all(torch.isfinite(loss(network)) for _ in range(2))
        return network.seen

    first, again, other = batches(0), batches(0), batches(1)
    assert first[0].shape == (3, 1 if gray else 3, 16, 16)
    assert all(torch.equal(a, b) for a, b in zip(first, again, strict=True))
    assert not torch.equal(first[0], first[1])
    assert not torch.equal(first[0], other[0])


def test_resnet56_is_shrunk_to_its_row(paper, folder):
    rows = published_rows(paper, "ResNet56", "cifar10", None, 0.45)
    frame = replicate("ResNet56", "cifar10", rows, folder, seeds=[0], batch_size=2, batches=1)
    assert list(frame["criterion"]) == list(CRITERIA)
    assert (frame["flops"] <= 126.2e6).all()
    assert (frame["flops"] > 0.995 * 126.2e6).all()
    assert frame["fitted"].all()
    fitted = frame.set_index("criterion")["params"] / 0.536e6
    assert abs(fitted["gradient"] - 1) < 0.1  # rho is fitted to this number
    assert fitted["magnitude"] > 1.3  # which no rho does for magnitude


def results(*numbers, fitted=False, paper="2.000"):
    """Parameters in millions by criterion, three seeds each."""
    return pd.DataFrame(
        {
            "table": 1,
            "dataset": "cifar10",
            "network": "N",
            "criterion": criterion,
            "rho": 0.3,
            "tau": 0.45,
            "fitted": fitted,
            "seed": seed,
            "flops": 1e8,
            "params": 1e6 * (mean + (seed - 1) * 0.05),
            "paper_flops_g": "0.1000",
            "paper_params_m": paper,
        }
        for criterion, mean in zip(CRITERIA, numbers, strict=True)
        for seed in range(3)
    )


def test_verdicts():
    summary = summarise(results(2.0, 2.09, 2.2))
    assert list(summary["agrees"]) == [True, True, False]
    assert summary["params_m_min"].to_numpy() == pytest.approx([1.95, 2.04, 2.15])
    assert list(summary["difference_percent"].round(1)) == [0.0, 4.5, 10.0]
    assert (
        sentence(summary)
        == "Consistent with gradient and with gradient, one warm-up step; magnitude gives +10.0 %."
    )


def test_a_wide_range_is_no_agreement():
    frame = results(2.0, 2.2, 2.08)
    frame["params"] += 0.25e6 * (frame["seed"] - 1)
    summary = summarise(frame)
    assert (summary["params_m_min"] < 2.0).all() and (summary["params_m_max"] > 2.0).all()
    assert list(summary["agrees"]) == [True, False, True]


def test_a_fit_is_marked_and_failure_said():
    summary = summarise(results(2.0, 3.0, 4.0, fitted=True))
    assert "gradient (rho fitted: 0.30)" in sentence(summary)
    assert "0.30*" in to_markdown(1, summary)
    nothing = summarise(results(1.0, 3.0, 4.0, fitted=True))
    assert sentence(nothing).startswith("None of the criteria gives the published number with any")
    assert "with any rho; gradient (rho fitted: 0.30) gives -50.0 %, " in sentence(nothing)


def test_rows_of_the_same_network_are_told_apart():
    """Table 3: one network and target, several rho and tau."""
    a, b = results(2.0, 2.0, 2.0), results(3.0, 3.0, 3.0, paper="3.000")
    b["rho"] = 0.1
    summary = summarise(pd.concat([a, b], ignore_index=True))
    assert len(summary) == 6
    assert summary["agrees"].all()
    text = to_markdown(3, summary)
    assert text.count("Consistent with") == 2
    assert "rho 0.1" in text
    assert np.isclose(summary["params_m"].sum(), 15)


def test_a_warm_up_that_diverges_is_said():
    frame = results(2.0, 2.0, 2.2)
    diverged = frame["criterion"] == "gradient, one warm-up step"
    frame.loc[diverged, ["flops", "params"]] = np.nan
    summary = summarise(frame)
    assert list(summary["agrees"]) == [True, False, False]
    assert "gradient, one warm-up step diverges" in sentence(summary)
    text = to_markdown(1, summary)
    assert "| gradient, one warm-up step | - | 0.45 |  | diverges |  | diverges | - | no |" in text


def test_a_step_that_is_too_large_loses_no_other_result(paper, folder, monkeypatch):
    monkeypatch.setitem(lwdna.shrinkage.gradients.WARMUP, "lr", 1e30)
    rows = published_rows(paper, "ResNet56", "cifar10", 0.3, 0.45)
    frame = replicate("ResNet56", "cifar10", rows, folder, seeds=[0], batch_size=2)
    assert list(frame["params"].notna()) == [True, False, True]
