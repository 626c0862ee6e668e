"""The command of a search, of which there are several in one loop of rules."""

from types import SimpleNamespace

import pytest

from lwdna.config.methods import SEARCHES
from lwdna.workflow import words


@pytest.mark.parametrize("search", SEARCHES)
def test_a_job_runs_its_own_search_though_the_loop_is_over(search):
    text = "lwdna SEARCH --NOTED {output.NOTED}"
    noted = SEARCHES[search].noted
    said = f"lwdna {search} --{noted} {{output.{noted}}}"
    last = list(SEARCHES)[-1]
    assert words.of_search({"search": search}, text) == said
    job = {"wildcards": SimpleNamespace(shrinkage=search), "search": last}
    assert words.of_search(job, text) == said
