"""The kinds of datasets, one line each, and what is known of published datasets.

A new kind is a module of this wing and a line of :data:`DATASET_KINDS`. A key that only it has may
be described in ``config/schema.yaml`` as well, so that its value is checked before anything runs.
Nothing here loads PyTorch, or a kind's module before its images are made.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, TypeAlias

from lwdna.errors import require_known
from lwdna.io.homes import at_home

DatasetSection: TypeAlias = Mapping[str, Any]
"""A section of ``datasets``: ``kind``, and the keys of that kind (:attr:`DatasetKind.keys`)."""


@dataclass(frozen=True)
class Size:
    """How large a dataset is, as published; the paper uses them whole. 0 is none, or not known."""

    train: int = 0
    """Training images; of restoration sub-images."""
    test: int = 0
    """Test images."""
    pixels: float = 3e5
    """Of a test image, on average; for restoration, whose images differ."""


SIZES: Mapping[str, Size] = {
    "div2k": Size(32_208),  # sub-images (supplement, Sec. 2.3)
    "div2k-valid": Size(0, 100, 2.8e6),
    "bsd68": Size(0, 68, 154_401),
    "set5": Size(0, 5, 113_491),
    "set12": Size(0, 12, 147_456),
    "set14": Size(0, 14, 230_203),
    "b100": Size(0, 100, 154_401),
    "urban100": Size(0, 100, 7.7e5),
}
"""Known folders of images, by the names that the project's configurations give them."""


@dataclass(frozen=True)
class DatasetShape:
    """What a network must know of a classification dataset."""

    classes: int
    size: int
    """Height and width of an image in pixels."""


@dataclass(frozen=True)
class DatasetKind:
    """What there is to know of the datasets that a configuration gives one ``kind``.

    Its home is a function ``make(source, output, *, split, **options)``. The source is a folder or
    archive (``Path``), the names of images (a list of ``str``), or None where images are generated.
    Of a labelled kind, the output is the store of the split, to be written by
    :func:`lwdna.io.hdf5.create_store`: "images" uint8 (N, H, W, 3) with the tables "labels" int64
    (N,), "classes" and "source"; or a listing, see :mod:`lwdna.data.listings`. Of any other, it is
    an existing folder, for images, or of a moving kind the listing to be written. The options are
    the kind's own keys of the configuration.
    """

    home: str
    """Module of ``lwdna.data`` and name of the function, which is imported on first use."""
    about: str
    """What it is, for the reference of the configuration."""
    source: Literal["folders", "archive", "names", "generated", "sets"] = "folders"
    """A folder for each split (key ``train`` or ``test``), an archive of both (``archive``), names
    of images (``train`` or ``test``), nothing, or sets of videos (``train`` or ``test``)."""
    step: str = "pack"
    """The step and rule that make a split ready: ``pack`` labelled images, ``images`` others,
    ``sequences`` videos."""
    in_place: Literal["never", "may", "always"] = "never"
    """Whether labelled images stay where they are, and may differ in size; it may be asked for by
    ``packed: false``, of which the function is told: ``packed``."""
    needs: tuple[str, ...] = ()
    """Its own keys that it cannot do without."""
    takes: tuple[str, ...] = ()
    """Its other own keys."""
    implies: Mapping[str, Any] = field(default_factory=dict)
    """Options that follow from the kind itself."""
    views: tuple[str, ...] = ()
    """Endings by which names are views of one scene, which is trained on or tested on, not both."""
    known: str | None = None
    """Module of ``lwdna.data`` and name of a table of the images that can be named, with the height
    and width of each; None where any name may be one."""
    size: Size = field(default_factory=Size)
    """Of the one dataset of this kind, if there is but one."""
    shape: DatasetShape | None = None
    """The same, for networks."""

    @property
    def make(self) -> Callable[..., Any]:
        """What makes the images of a split ready."""
        return at_home(f"data.{self.home}")  # type: ignore[no-any-return]

    @property
    def names(self) -> Mapping[str, Any]:
        """The images that can be named, where they are known."""
        return at_home(f"data.{self.known}")  # type: ignore[no-any-return]

    @property
    def labelled(self) -> bool:
        """Whether its images have classes."""
        return self.step not in {"images", "sequences"}

    @property
    def moving(self) -> bool:
        """Whether it has videos of objects, and no images for themselves."""
        return self.step == "sequences"

    @property
    def own(self) -> tuple[str, ...]:
        """The keys that the function is given."""
        return (*self.needs, *self.takes)

    @property
    def keys(self) -> tuple[str, ...]:
        """The keys that a section of this kind may have."""
        sources = {"archive": ("archive",), "generated": ()}.get(self.source, ("train", "test"))
        packed = ("packed",) if self.in_place == "may" else ()
        crop = () if self.labelled or self.moving else ("crop",)
        return ("kind", *sources, *packed, *self.own, *crop)

    def needed(self, role: str) -> tuple[str, ...]:
        """The keys without which there are no images for a role, "train" or "test"."""
        sources = {"archive": ("archive",), "generated": ()}.get(self.source, (role,))
        return (*sources, *self.needs)

    def stays(self, section: DatasetSection) -> bool:
        """Whether the images of a dataset are listed and left where they are."""
        return self.in_place == "always" or not section.get("packed", True)

    def options(self, section: DatasetSection) -> dict[str, Any]:
        """The own keys of a dataset, for the function."""
        return {key: section[key] for key in self.own if key in section}

    def scene(self, name: str) -> str:
        """What a named image shows."""
        for ending in self.views:
            name = name.removesuffix(ending)
        return name


def _official(home: str, size: Size, shape: DatasetShape, **implies: str) -> DatasetKind:
    """A dataset that there is one of, as its makers published it."""
    about = "the official archive"
    return DatasetKind(home, about, "archive", implies=implies, size=size, shape=shape)


DATASET_KINDS: Mapping[str, DatasetKind] = {
    # A step of its own: what runs have recorded of it would not be found again in another.
    "digits": DatasetKind(
        "digits:pack",
        "scikit-learn's handwritten digits",
        source="generated",
        step="digits",
        needs=("train_fraction",),
        takes=("seed",),
        size=Size(1_797, 1_797),
        shape=DatasetShape(10, 32),
    ),
    "photographs": DatasetKind(
        "photographs:lay_out",
        "named photographs of scikit-image and scikit-learn",
        source="names",
        step="images",
        views=("_left", "_right"),
        known="photographs:PHOTOGRAPHS",
    ),
    "images": DatasetKind("layout:lay_out", "folders of images", step="images"),
    "imagefolder": DatasetKind(
        "folders:imagefolder", "folders of class-named folders of images", in_place="may"
    ),
    "cifar10": _official("cifar:pack", Size(50_000, 10_000), DatasetShape(10, 32), kind="cifar10"),
    "cifar100": _official(
        "cifar:pack", Size(50_000, 10_000), DatasetShape(100, 32), kind="cifar100"
    ),
    "tiny-imagenet": _official(
        "folders:tiny_imagenet_store", Size(100_000, 10_000), DatasetShape(200, 64)
    ),
    "imagenet": DatasetKind(
        "folders:imagenet_listing",
        "ILSVRC2012, as folders of class-named folders",
        in_place="always",
        size=Size(1_281_167, 50_000),
        shape=DatasetShape(1000, 224),
    ),
    "sequences": DatasetKind(
        "sequence_sets:lay_out",
        "sets of videos of objects, listed where they are, or made of photographs",
        source="sets",
        step="sequences",
    ),
}
"""What the key ``kind`` of a dataset may be."""

IMAGE_KINDS = {"folders": "images", "names": "photographs"}
"""By source, the kind of images that is meant where none is named."""

DATASETS: Mapping[str, DatasetShape] = {
    name: kind.shape for name, kind in DATASET_KINDS.items() if kind.shape is not None
}
"""The datasets that networks are built for."""


def dataset_shape(dataset: str) -> DatasetShape:
    """Classes and image size of a dataset.

    Raises:
        ConfigError: for an unknown name.
    """
    require_known(dataset, DATASETS, f"There is no dataset '{dataset}':")
    return DATASETS[dataset]
