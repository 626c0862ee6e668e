"""Which experiments and methods are to run."""

from __future__ import annotations

from lwdna.config.sections import Config
from lwdna.errors import ConfigError, require_known


def selected(config: Config) -> dict[str, list[str]]:
    """The experiments to run, and the methods of each: all of them, or those that ``only`` names.

    An experiment is of the dataset that it is trained on and of those that it is tested on.

    Raises:
        ConfigError: if there is no such name, or if nothing is left.
    """
    experiments = config["experiments"]
    facets = {
        name: {
            "datasets": {e["train"], *e["test"]},
            "networks": {e["network"]["name"]},
            "methods": set(e["methods"]),
            "experiments": {name},
        }
        for name, e in experiments.items()
    }
    only = config["only"]
    for key, names in only.items():
        there = dict.fromkeys(name for facet in facets.values() for name in facet[key])
        for name in names:
            require_known(name, there, f"only.{key} names '{name}', which no experiment has:")
    chosen = {
        name: [m for m in e["methods"] if "methods" not in only or m in only["methods"]]
        for name, e in experiments.items()
        if all(facets[name][key] & set(names) for key, names in only.items())
    }
    if not chosen:
        words = " and ".join(f"{key} {', '.join(names)}" for key, names in only.items())
        raise ConfigError(f"No experiment is of {words}; name what there is together.")
    return chosen
