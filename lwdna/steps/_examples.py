"""An example of each command, which its help shows and a test reads."""

from __future__ import annotations

from lwdna.config.methods import SEARCHES

_DIGITS = """--task '{"kind": "classification", "mean": [0.3, 0.3, 0.3],
    "std": [0.3, 0.3, 0.3], "flip": false}'"""
_STORES = "--train results/data/digits/train.h5 --test results/data/digits/test.h5"
_PROTOCOL = """--protocol '{"epochs": 15, "batch_size": 16, "schedule": {"kind": "cosine"},
    "optimizer": {"kind": "sgd", "lr": 0.05, "momentum": 0.9}}'"""
_DENOISING = """--task '{"kind": "denoising", "sigma": 70, "patch_size": 40}'"""
_TRACKING = """--task '{"kind": "tracking", "tracker": {"taps": ["features.3", "features.5"]}}'"""
_BOXES = "results/runs/motion-dimp/{}/seed0"
_VIDEOS = "results/sequences/motion/test.json"
_FILES = "--csv {0}.csv --markdown {0}.md --html {0}.html --latex {0}.tex"
_RUNS = "results/runs/photographs-dncnn"

_OWN = {"dhp": " --lambda 0.1", "autoslim": " --held-out 0.2"}
"""What a search needs, or is better given, besides."""


def _search(name: str) -> str:
    noted = SEARCHES[name]
    return f"""\
lwdna {name} ResNet20 --dataset digits --flops-ratio 0.5{_OWN.get(name, "")} \\
    {_DIGITS} \\
    {_PROTOCOL} \\
    {_STORES} \\
    --checkpoints checkpoints --history history.csv \\
    --{noted.noted} {noted.record} --output small.safetensors"""


EXAMPLES = {
    "download": "lwdna download data/cifar-10-python.tar.gz",
    "images": """\
lwdna images chelsea rocket --output results/images/mine/train
lwdna images --folder DIV2K_train_HR.zip --output results/images/div2k/train""",
    "crop": """\
lwdna crop results/images/div2k/train --size 480 --step 240 --threshold 48 --scale 4 \\
    --output colour.h5""",
    "gray": "lwdna gray colour.h5 --output gray.h5",
    "digits": "lwdna digits --train train.h5 --test test.h5 --train-fraction 0.25",
    "pack": "lwdna pack flowers/train --output train.h5",
    "sequences": """\
lwdna sequences --split test --set '{"layout": "otb100", "folder": "data/OTB100"}' \
    --output test.json""",
    "shrink": """\
lwdna shrink ResNet20 --dataset cifar10 --flops-ratio 0.5 --criterion magnitude \\
    --output small.safetensors
lwdna shrink net.py:make_network --input 1x3x32x32 --loss net.py:make_loss \\
    --target-flops 20e6 --output small.safetensors""",
    "prune": """\
lwdna prune trained.safetensors --criterion l1 --flops-ratio 0.5 --output small.safetensors""",
    **{name: _search(name) for name in SEARCHES},
    "train": f"""\
lwdna train --weights small.safetensors \\
    {_DIGITS} \\
    {_PROTOCOL} \\
    {_STORES} \\
    --checkpoints checkpoints --history history.csv --output trained.safetensors""",
    "evaluate": f"""\
lwdna evaluate trained.safetensors --test digits results/data/digits/test.h5 \\
    {_DIGITS} \\
    --output metrics.csv""",
    "apply": f"""\
lwdna apply {_RUNS}/lw-dna/seed0/weights.safetensors noisy/ --output restored
lwdna apply {_RUNS}/lw-dna/seed0/weights.safetensors clean/*.png --degrade --output shown
lwdna apply trained.safetensors cat.jpg --resize --output classes""",
    "reference": f"""\
lwdna reference --test photographs results/images/photographs/test \\
    {_DENOISING} \\
    --output noisy.csv""",
    "follow": f"""\
lwdna follow {_BOXES.format("lw-dna")}/weights.safetensors --test {_VIDEOS} \
    {_TRACKING} \
    --checkpoints checkpoints --boxes boxes.zip --times times.zip""",
    "evaluate-boxes": f"""\
lwdna evaluate-boxes tracker.safetensors --boxes tracker.safetensors motion boxes.zip \
    {_TRACKING} \
    --test motion {_VIDEOS} --output metrics.csv""",
    "submission": """\
lwdna submission boxes.zip --times times.zip --test test.json --output submission.zip""",
    "success": f"""\
lwdna success --boxes lw-dna motion boxes.zip --test motion {_VIDEOS} \
    {_TRACKING} \
    --title "On motion" --output success.png""",
    "boxes-strip": f"""\
lwdna boxes-strip --boxes lw-dna boxes.zip --test {_VIDEOS} \
    {_TRACKING} \
    --output boxes.png --animation boxes.webp""",
    "table": f"""\
lwdna table 2 {_RUNS}/*/metrics.csv --paper paper/table2.csv \\
    --complexity results/complexity.csv --experiments '{{"photographs-dncnn": {{
    "label": "DnCNN", "methods": ["baseline", "lw-dna"], "network": {{"name": "DnCNN"}},
    "tables": [2], "task": {{"kind": "denoising", "sigma": 70}}, "train": "photographs",
    "test": ["photographs"]}}}}' \\
    {_FILES.format("table2")}""",
    "training-logs": """\
lwdna training-logs --output logs.png
lwdna training-logs elsewhere results/checkpoints/digits/dhp-search/seed0/history.csv \\
    --output logs.png""",
    "channels": """\
lwdna channels results/shrink/digits/lw-dna/seed0/channels.csv --output channels.png \\
    --labels '{"results/shrink/digits/lw-dna/seed0/channels.csv":
    {"experiment": "digits", "method": "lw-dna", "seed": 0}}' \\
    --experiments '{"digits": {"label": "ResNet14"}}'""",
    "latents": """\
lwdna latents results/shrink/digits/dhp/seed0/latents.h5 --layers 2 --layers 7 \\
    --epochs 0 --epochs 5 --output latents.png --animation latents.gif""",
    "supernet": f"""\
lwdna supernet ResNet20 --dataset digits --flops-ratio 0.5 --held-out 0.2 \\
    {_DIGITS} \\
    {_PROTOCOL} \\
    {_STORES} \\
    --checkpoints checkpoints --output supernet.safetensors""",
    "adaptive": f"""\
lwdna adaptive supernet.safetensors --widths 1 --widths 0.5 --sizes 32 --sizes 24 \\
    {_DIGITS} \\
    {_STORES} --output widths.csv""",
    "widths": f"""\
lwdna widths widths.csv --output widths.png \\
    --labels '{{"widths.csv": {{"experiment": "digits", "method": "autoslim", "seed": 0}}}}' \\
    --experiments '{{"digits": {{"label": "ResNet14"}}}}' {_FILES.format("widths")}""",
    "searches": """\
lwdna searches results/shrink/digits/autoslim/seed0/trajectory.csv --output searches.png \\
    --labels '{"results/shrink/digits/autoslim/seed0/trajectory.csv":
    {"experiment": "digits", "method": "autoslim", "seed": 0}}' \\
    --experiments '{"digits": {"label": "ResNet14"}}'""",
    "agreement": f"""\
lwdna agreement gradient.safetensors random.safetensors \\
    --labels '{{"gradient.safetensors": {{"experiment": "a", "method": "lw-dna", "seed": 0}},
    "random.safetensors": {{"experiment": "a", "method": "random", "seed": 0}}}}' \\
    --experiments '{{"a": {{"label": "ResNet20"}}}}' --output agreement.png \\
    {_FILES.format("agreement")}""",
    "strip": f"""\
lwdna strip --weights Baseline {_RUNS}/baseline/seed0/weights.safetensors \\
    --weights LW-DNA {_RUNS}/lw-dna/seed0/weights.safetensors \\
    {_DENOISING} \\
    --test results/images/photographs/test --output strip.png""",
    "report": """\
lwdna report --table 1 results/tables/table1.csv results/tables/table1.md \\
    --figure "Training logs" results/figures/training-logs.png --output report.html""",
    "replicate": """\
lwdna replicate ResNet20 --dataset cifar10 --table 1 paper/table1.csv --seeds 0 \\
    --photographs results/images/photographs/train --output resnet20.csv""",
    "replication-table": f"""\
lwdna replication-table 1 results/complexity/networks/*.csv \\
    {_FILES.format("table1")}""",
    "complexity": """\
lwdna complexity DnCNN
lwdna complexity net.py:make_network --input 1x3x32x32
lwdna complexity --paper""",
    "zoo": """\
lwdna zoo
lwdna zoo lw-dna --network RegNetX-4.0GF""",
    "explain": "lwdna explain ResNet20",
    "info": "lwdna info small.safetensors",
    "track": """\
lwdna track video.mp4 --model tracker.safetensors --init-box 120,80,60,40 --boxes boxes.csv""",
    "plan": """\
lwdna plan --configfile config/paper.yaml
lwdna plan table1 --configfile config/paper.yaml --config datasets=cifar10 --csv plan.csv""",
    "import": """\
lwdna import dncnn.pth --network '{"name": "DnCNN", "options": {"blocks": 4, "channels": 16}}' \\
    --task '{"kind": "denoising", "sigma": 25}' --output dncnn.safetensors
lwdna import net.pth --network net.py:make_network --output net.safetensors""",
    "export": """\
lwdna export small.safetensors --to onnx
lwdna export small.safetensors --to torch --output small.pt2""",
}
"""By command; each line that does not go on with what is above it is one."""
