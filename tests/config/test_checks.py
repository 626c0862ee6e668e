"""What is known to be wrong with a configuration before anything runs, without PyTorch."""

import copy
import sys

import pytest
from running import ROOT, run_python

from lwdna.config.check import check
from lwdna.config.files import read_file
from lwdna.errors import ConfigError
from lwdna.networks.arguments import LIMITS, check_options, options_of
from lwdna.networks.build import build
from lwdna.networks.registry import NETWORKS

DEFAULT = read_file(ROOT / "config.yaml")
DIGITS, UNET, EDSR = "digits-mobilenetv1", "photographs-unet", "photographs-edsr"


def changed(changes):
    """The default configuration, with some places set, by their path; None removes a key."""
    config = copy.deepcopy(DEFAULT)
    for path, value in changes.items():
        *above, last = path.split("/")
        place = config
        for step in above:
            place = place[step]
        if value is None:
            del place[last]
        else:
            place[last] = value
    return config


def of(name, rest):
    return f"experiments/{name}/{rest}"


OTHER = {"datasets/other": {"kind": "photographs", "test": ["chelsea"]}}
FOLDERS = {
    "datasets/one": {"kind": "imagefolder", "train": "a/../images", "test": "b"},
    "datasets/two": {"kind": "imagefolder", "train": "c", "test": "images"},
    of(DIGITS, "train"): "one",
    of(DIGITS, "test"): ["one", "two"],
}
WRONG = {
    "an option that there is not": (
        {of(DIGITS, "network/options/block"): 2},
        "network.options: MobileNetV1 has no option 'block': did you mean 'blocks'?",
    ),
    "an option that is out of range": (
        {of(DIGITS, "network/options/dropout"): 2},
        "'dropout' of MobileNetV1 is 2; give a number from 0 to 1.",
    ),
    "an option that is half a number": (
        {of(UNET, "network/options/depth"): 1.5},
        "'depth' of U-Net is 1.5; give a whole number from 1 to 16.",
    ),
    "an option that YAML takes for text": (
        {of(DIGITS, "network/options/dropout"): "1e-1"},
        "options.dropout is 1e-1, which is text in YAML: write 1.0e-1",
    ),
    "a list of channels that there is not": (
        {of(DIGITS, "network/options/channels"): "autoslim-1M"},
        "There is no list of channels 'autoslim-1M' for MobileNetV1",
    ),
    "no classes": ({of(DIGITS, "network/options/num_classes"): 0}, "is 0; give a whole number"),
    "other classes": (
        {of(DIGITS, "network/options/num_classes"): 7},
        "images of 32 x 32 in 7 classes, but those of 'digits' are 32 x 32 in 10",
    ),
    "another size": (
        {of(DIGITS, "network/dataset"): "tiny-imagenet"},
        "images of 64 x 64 in 200 classes, but those of 'digits'",
    ),
    "per cent": (
        {of(DIGITS, "shrink/flops_ratio"): 95},
        "flops_ratio is 95, more than dhp-kd can reach: of a network widened by 2 the FLOPs are 4 "
        "times as many at most; a share and not per cent, such as 0.95",
    ),
    "a ratio out of reach": ({of(DIGITS, "shrink/flops_ratio"): 4.5}, "4 times as many at most;"),
    "a ratio out of reach of a control": (
        {of(DIGITS, "shrink/flops_ratio"): 1.5, of(DIGITS, "methods"): ["lw-dna", "width-1"]},
        "more than width-1 can reach",
    ),
    "a ratio out of reach of a pruning": (
        {of(DIGITS, "shrink/flops_ratio"): 1.5, of(DIGITS, "methods"): ["baseline", "l1"]},
        "more than l1 can reach",
    ),
    "a share for FLOPs": (
        {of(DIGITS, "shrink/flops_ratio"): None, of(DIGITS, "shrink/target_flops"): 0.95},
        "target_flops is 0.95, but FLOPs are counted one by one",
    ),
    "a key of another kind of task": (
        {of(DIGITS, "task/sigma"): 70},
        f"experiments.{DIGITS}.task of kind classification takes no 'sigma'",
    ),
    "a photograph that there is not": (
        {"datasets/photographs/test": ["astronau"]},
        "datasets.photographs.test names 'astronau', which does not exist: did you mean 'astro",
    ),
    "no photographs": ({"datasets/photographs/test": []}, "datasets.photographs.test; give"),
    "no folder": ({"datasets/a": {"kind": "images", "test": ""}}, "datasets.a.test; give text"),
    "a photograph in two datasets": (
        {**OTHER, of(UNET, "test"): ["other"]},
        "test names 'other', of which chelsea is trained on, in 'photographs'",
    ),
    "a folder in two datasets": (FOLDERS, "test names 'two', of which "),
    "an image of no test": (
        {of(UNET, "strip"): {"image": "chelsea"}},
        "strip.image names 'chelsea', which does not exist: allowed: 'astronaut', 'coffee'",
    ),
    "a place outside an image": (
        {of(UNET, "strip"): {"image": "coffee", "centre": [400, 1]}},
        "strip.centre is row 400 and column 1, but the image has 400 rows and 600 columns",
    ),
    "an epoch after the last": (
        {of(DIGITS, "dhp/histograms/epochs"): [0, 31]},
        "histograms.epochs has 31, but the search takes at most 30 epochs",
    ),
    "another scale": ({of(EDSR, "task/scale"): 3}, "must have the scale of"),
}


@pytest.mark.parametrize("case", WRONG)
def test_it_is_refused_with_a_sentence(case):
    changes, sentence = WRONG[case]
    with pytest.raises(ConfigError) as caught:
        check(changed(changes))
    message = str(caught.value)
    assert sentence in message and "\n" not in message, message


def test_a_teacher_of_other_classes_is_refused():
    config = changed({of(DIGITS, "train"): "mine", of(DIGITS, "test"): ["mine"]})
    config["datasets"]["mine"] = {"kind": "imagefolder", "train": "a", "test": "b"}
    other = copy.deepcopy(config["experiments"][DIGITS])
    other["network"]["options"]["num_classes"] = 7
    shared = {"tables": [3], "methods": ["lw-dna"], "teacher": {"experiment": DIGITS}}
    config["experiments"] = {DIGITS: config["experiments"][DIGITS], "other": other | shared}
    with pytest.raises(ConfigError, match=r"knows 10 classes, but the network of this .* 7"):
        check(config)


def test_an_image_of_a_folder_is_looked_for_where_the_run_works(tmp_path):
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine/a.png").write_bytes(b"")
    changes = {
        "datasets/mine": {"kind": "images", "test": "mine"},
        of(UNET, "test"): ["mine"],
        of(UNET, "strip"): {"image": "b"},
    }
    check(changed(changes))  # the folder may come later
    with pytest.raises(ConfigError, match="'b', which does not exist: allowed: 'a'"):
        check(changed(changes), folder=tmp_path)


def test_a_scale_of_3_goes_through_the_configuration():
    config = check(
        changed(
            {
                "datasets/photographs/crop/scale": 3,
                of(EDSR, "task/scale"): 3,
                of(EDSR, "network/options/scale"): 3,
            }
        )
    )
    assert config["experiments"][EDSR]["task"]["scale"] == 3


def test_several_scales_are_told_apart_in_tables():
    config = changed({of(EDSR, "label"): None})
    assert check(config)["experiments"][EDSR]["label"] == "EDSR"
    photographs = copy.deepcopy(config["datasets"]["photographs"])
    photographs["crop"]["scale"] = 3
    config["datasets"]["thirds"] = photographs
    other = copy.deepcopy(config["experiments"][EDSR])
    other["task"]["scale"] = other["network"]["options"]["scale"] = 3
    config["experiments"]["thirds"] = other | {"train": "thirds", "test": ["thirds"]}
    checked = check(config)["experiments"]
    assert [checked[name]["label"] for name in (EDSR, "thirds")] == [
        "EDSR, scale 4",
        "EDSR, scale 3",
    ]
    assert checked[UNET]["label"] == config["experiments"][UNET]["label"]


def test_files_of_ours_are_taken_and_pytorch_is_not_loaded():
    files = [ROOT / "config.yaml", *sorted((ROOT / "config").glob("*.yaml"))]
    files = [str(file) for file in files if file.name != "schema.yaml"]
    code = (
        "import sys\n"
        "from lwdna.workflow.snakemake import configuration\n"
        "for file in sys.argv[1:]: configuration(['--configfile', file])\n"
        "print('torch' in sys.modules)"
    )
    assert run_python("-c", code, *files).strip() == "False"
    assert "torch" in sys.modules, "or this would say nothing"


OPTIONS = [(name, option) for name in NETWORKS for option in (options_of(name) or {}).values()]


def test_every_number_of_every_network_has_limits():
    assert {name for name, _ in OPTIONS} == set(NETWORKS)
    for name, option in OPTIONS:
        assert option.kind in {
            *("int", "float", "bool", "str", "Sequence[int]", "Sequence[Sequence[int]]")
        }, f"{option.name} of {name}: teach lwdna.networks.arguments this type"
        assert option.kind in {"bool", "str"} or option.name in LIMITS, option.name


@pytest.mark.parametrize(("name", "option"), OPTIONS, ids=str)
def test_a_wrong_option_is_a_sentence(name, option):
    low, high = LIMITS.get(option.name, (0, 0))
    wrong = [None, {}, "many", float("nan"), [["x"]], [1.5], -7, 10**30, [10**30], "1e-3"]
    wrong += [low - 1, high + 1, 1.5 if option.kind != "float" else high + 0.5]
    for value in wrong:
        if option.kind == "str" and isinstance(value, str):
            continue
        with pytest.raises(ConfigError) as caught:
            check_options(name, {option.name: value})
        assert f"'{option.name}' of {name} is " in str(caught.value)
        assert str(caught.value).endswith(f"; give {option.give}.")


def test_a_network_is_built_under_the_same_rule():
    with pytest.raises(ConfigError, match="'num_classes' of ResNet8 is 0; give a whole number"):
        build("ResNet8", num_classes=0)
