"""What trainings are called in figures, and how each is told from the others."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping
from dataclasses import dataclass

from lwdna.config.methods import METHODS, SEARCHES, TEACHER


@dataclass(frozen=True)
class Look:
    """Of one kind of training."""

    title: str
    colour: str


_COUNTS = Counter(method.colour for method in METHODS.values())

_TITLES = {
    TEACHER: TEACHER.capitalize(),
    **{f"{name}-search": f"{METHODS[name].title} (search)" for name in SEARCHES},
    **{name: method.title for name, method in METHODS.items()},
}
"""By the name of a training in paths, in the order to show them."""

_SPARE = (
    *("#882255", "#44AA99", "#332288", "#DDCC77", "#117733", "#AA4499", "#661100", "#6699CC"),
    *("#999933", "#CC6677", "#88CCEE", "#AAAAAA", "#BBCC33", "#EE8866", "#AA7744"),
)
"""For what has no colour of its own: the palette of Paul Tol for colour-blind readers."""


def looks_of(names: Collection[str]) -> Mapping[str, Look]:
    """How to show some trainings in one figure, by name, in the order to show them.

    Args:
        names: of methods; the teacher's; ``NAME-search``. Others are left out.
    """
    spare = (colour for colour in _SPARE if colour not in _COUNTS)
    looks = {}
    for name in (known for known in _TITLES if known in names):
        own = METHODS[name].colour if name in METHODS else ""
        colour = own if _COUNTS[own] == 1 else next(spare, _SPARE[-1])
        looks[name] = Look(_TITLES[name], colour)
    return looks
