"""Downloads -> images -> sub-images -> gray; digits and folders of classes -> stores."""


rule download:
    output:
        ensure("{download}", non_empty=True, sha256=sha256_of),
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
        source_file,
    output:
        directory("results/images/{dataset}/{split}"),
    log:
        "results/logs/images/{dataset}-{split}.log",
    benchmark:
        "results/benchmarks/images/{dataset}-{split}.tsv"
    wildcard_constraints:
        dataset=datasets_of("photographs", "images"),
    conda:
        "../envs/lwdna.yaml"
    threads: 1
    resources:
        mem_mb=growing(1000),
    params:
        source=images_source,
        content=listing,
    message:
        "Lay out the {wildcards.split} images of {wildcards.dataset}"
    shell:
        "python -m lwdna --log {log:q} images --output {output:q} {params.source:q}"


rule crop:
    input:
        "results/images/{dataset}/train",
    output:
        "results/data/{dataset}/colour.h5",
    log:
        "results/logs/crop/{dataset}.log",
    benchmark:
        "results/benchmarks/crop/{dataset}.tsv"
    conda:
        "../envs/lwdna.yaml"
    threads: 1
    resources:
        mem_mb=growing(1000),
    params:
        rule=crop_rule,
    message:
        "Cut the images of {wildcards.dataset} into sub-images"
    shell:
        "python -m lwdna --log {log:q} crop {input:q} --output {output:q} {params.rule:q}"


rule gray:
    input:
        "results/data/{dataset}/colour.h5",
    output:
        "results/data/{dataset}/gray.h5",
    log:
        "results/logs/gray/{dataset}.log",
    benchmark:
        "results/benchmarks/gray/{dataset}.tsv"
    conda:
        "../envs/lwdna.yaml"
    threads: 1
    resources:
        mem_mb=growing(1000),
    message:
        "Convert the sub-images of {wildcards.dataset} to gray"
    shell:
        "python -m lwdna --log {log:q} gray {input:q} --output {output:q}"


rule digits:
    output:
        train="results/data/{dataset}/train.h5",
        test="results/data/{dataset}/test.h5",
    log:
        "results/logs/digits/{dataset}.log",
    benchmark:
        "results/benchmarks/digits/{dataset}.tsv"
    wildcard_constraints:
        dataset=datasets_of("digits"),
    localrule: True
    conda:
        "../envs/lwdna.yaml"
    threads: 1
    resources:
        mem_mb=growing(1000),
    params:
        fraction=lambda wildcards: DATASETS[wildcards.dataset]["train_fraction"],
        seed=lambda wildcards: DATASETS[wildcards.dataset]["seed"],
    message:
        "Split the digits for {wildcards.dataset}"
    shell:
        "python -m lwdna --log {log:q} digits --train {output.train:q} --test {output.test:q}"
        " --train-fraction {params.fraction} --seed {params.seed}"


rule pack:
    input:
        source_file,
    output:
        "results/data/{dataset}/{split}.h5",
    log:
        "results/logs/pack/{dataset}-{split}.log",
    benchmark:
        "results/benchmarks/pack/{dataset}-{split}.tsv"
    wildcard_constraints:
        dataset=datasets_of(
            "imagefolder", "cifar10", "cifar100", "tiny-imagenet", "imagenet"
        ),
    conda:
        "../envs/lwdna.yaml"
    threads: 1
    resources:
        mem_mb=growing(1000),
    params:
        options=pack_options,
        source=source_of,
        content=listing,
    message:
        "Pack or list the {wildcards.split} images of {wildcards.dataset}"
    shell:
        "python -m lwdna --log {log:q} pack {params.options:q} --output {output:q}"
        " -- {params.source:q}"
