"""Downloads -> images -> sub-images -> gray; digits and folders of classes -> stores."""


rule download:
    output:
        ensure("{download}", non_empty=True, sha256=SOURCES.sha256),
    log:
        "results/logs/download/{download}.log",
    benchmark:
        "results/benchmarks/download/{download}.tsv"
    localrule: True
    conda:
        "../envs/lwdna.yaml"
    threads: 1
    resources:
        mem_mb=500,
    message:
        "Download {wildcards.download}, or go on with it"
    shell:
        "python -m lwdna --log {log:q} download {output:q}"


rule images:
    input:
        SOURCES.file,
    output:
        directory(paths.IMAGES),
    log:
        "results/logs/images/{dataset}-{split}.log",
    benchmark:
        "results/benchmarks/images/{dataset}-{split}.tsv"
    wildcard_constraints:
        dataset=SOURCES.made_by("images"),
    conda:
        "../envs/lwdna.yaml"
    threads: 1
    resources:
        mem_mb=words.growing(1000),
    params:
        source=SOURCES.images,
        content=SOURCES.listing,
    message:
        "Lay out the {wildcards.split} images of {wildcards.dataset}"
    shell:
        "python -m lwdna --log {log:q} images --output {output:q} {params.source:q}"


rule crop:
    input:
        paths.IMAGES.where(split="train"),
    output:
        paths.COLOUR,
    log:
        "results/logs/crop/{dataset}.log",
    benchmark:
        "results/benchmarks/crop/{dataset}.tsv"
    conda:
        "../envs/lwdna.yaml"
    threads: 1
    resources:
        mem_mb=words.growing(1000),
    params:
        rule=SOURCES.crop_options,
    message:
        "Cut the images of {wildcards.dataset} into sub-images"
    shell:
        "python -m lwdna --log {log:q} crop {input:q} --output {output:q} {params.rule:q}"


rule gray:
    input:
        paths.COLOUR,
    output:
        paths.GRAY,
    log:
        "results/logs/gray/{dataset}.log",
    benchmark:
        "results/benchmarks/gray/{dataset}.tsv"
    conda:
        "../envs/lwdna.yaml"
    threads: 1
    resources:
        mem_mb=words.growing(1000),
    message:
        "Convert the sub-images of {wildcards.dataset} to gray"
    shell:
        "python -m lwdna --log {log:q} gray {input:q} --output {output:q}"


rule digits:
    output:
        train=paths.STORE.where(split="train"),
        test=paths.STORE.where(split="test"),
    log:
        "results/logs/digits/{dataset}.log",
    benchmark:
        "results/benchmarks/digits/{dataset}.tsv"
    wildcard_constraints:
        dataset=SOURCES.made_by("digits"),
    localrule: True
    conda:
        "../envs/lwdna.yaml"
    threads: 1
    resources:
        mem_mb=words.growing(1000),
    params:
        fraction=SOURCES.train_fraction,
        seed=SOURCES.seed,
    message:
        "Split the digits for {wildcards.dataset}"
    shell:
        "python -m lwdna --log {log:q} digits --train {output.train:q} --test {output.test:q}"
        " --train-fraction {params.fraction} --seed {params.seed}"


rule pack:
    input:
        SOURCES.file,
    output:
        paths.STORE,
    log:
        "results/logs/pack/{dataset}-{split}.log",
    benchmark:
        "results/benchmarks/pack/{dataset}-{split}.tsv"
    wildcard_constraints:
        dataset=SOURCES.made_by("pack"),
    conda:
        "../envs/lwdna.yaml"
    threads: 1
    resources:
        mem_mb=words.growing(1000),
    params:
        options=SOURCES.pack_options,
        source=SOURCES.source,
        content=SOURCES.listing,
    message:
        "Pack or list the {wildcards.split} images of {wildcards.dataset}"
    shell:
        "python -m lwdna --log {log:q} pack {params.options:q} --output {output:q}"
        " -- {params.source:q}"
