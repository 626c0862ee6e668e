"""What all tests share: small networks, a server of files, and the summary at the end."""

import pytest
from serving import serving

pytest_plugins = ["small"]


@pytest.fixture
def server():
    """A server of files on this machine."""
    with serving() as files:
        yield files


def pytest_collection_modifyitems(items):
    """Put the longest test first: the others fill the other processes meanwhile."""
    items.sort(key=lambda item: item.path.name != "test_slurm.py")


def pytest_terminal_summary(terminalreporter):
    """What tests measured, the table of foreign networks, and what a cluster did to jobs."""
    noted = [
        value
        for outcome in ("passed", "failed")
        for report in terminalreporter.getreports(outcome)
        for value in report.user_properties
    ]
    lines = [text for name, text in noted if name == "measured"]
    if lines:
        terminalreporter.write_sep("-", "measured")
        for line in lines:
            terminalreporter.write_line(line)
    lines = [text for name, text in noted if name == "slurm"]
    if lines:
        terminalreporter.write_sep("-", "a run on SLURM beside an undisturbed one on this machine")
        for line in lines:
            terminalreporter.write_line(line)
    head = f"{'network':<28} {'sets':>8} {'elements':>9} {'seconds':>9} {'FLOPs':>9} {'params':>9}"
    for title, key in ((head, "row"), ("refused", "refused")):
        lines = [text for name, text in noted if name == key]
        if lines:
            terminalreporter.write_sep("-", "torchvision's networks")
            for line in (title, *lines):
                terminalreporter.write_line(line)
