"""What befalls a worker is one sentence in the process that trains."""

import os
import signal

import pytest
import torch.utils.data

from lwdna.data.workers import worker_errors
from lwdna.errors import DataError


class Faulty(torch.utils.data.Dataset):
    """Item 3 does what a test wants."""

    def __init__(self, fault):
        self.fault = fault

    def __len__(self):
        return 6

    def __getitem__(self, index):
        if index == 3:
            self.fault()
        return index


def refuse():
    raise DataError("The image 'x.png' is damaged; replace it.")


@pytest.mark.parametrize(
    ("fault", "sentence"),
    [
        (refuse, r"^The image 'x\.png' is damaged; replace it\.$"),
        (lambda: os.kill(os.getpid(), signal.SIGKILL), "^A process that loads data was killed"),
        (lambda: os._exit(3), "^A process that loads data was killed"),
    ],
    ids=["refuses", "killed", "ends"],
)
def test_a_worker_that_fails_is_one_sentence(fault, sentence):
    with pytest.raises(DataError, match=sentence) as caught, worker_errors():
        list(torch.utils.data.DataLoader(Faulty(fault), num_workers=1))
    assert "\n" not in str(caught.value)


def test_other_errors_are_left_alone():
    with pytest.raises(RuntimeError, match="something else"), worker_errors():
        raise RuntimeError("something else")
    with pytest.raises(DataError, match="as it was\n"), worker_errors():
        raise DataError("as it was\n")
