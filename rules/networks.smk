"""Shrink -> train (teachers, baselines, LW-DNA networks) -> evaluate; references beside them.

What prunes the trained baseline comes after its training.
"""


rule shrink:
    input:
        train=RUN.train_images,
        own=RUN.own_sources,
    output:
        network=paths.NETWORK,
        # Written beside network.safetensors: channels, FLOPs and parameters before and after.
        summary=paths.SUMMARY,
        channels=paths.CHANNELS,
    log:
        "results/logs/shrink/{experiment}/{shrinkage}/seed{seed}.log",
    benchmark:
        "results/benchmarks/shrink/{experiment}/{shrinkage}/seed{seed}.tsv"
    conda:
        "../envs/lwdna.yaml"
    threads: 1
    resources:
        mem_mb=RUN.shrink_memory,
    params:
        network=RUN.wide_network,
        settings=RUN.shrink_options,
        task=RUN.task,
        batch_norm=RUN.count_batch_norm,
    message:
        "Shrink the network of {wildcards.experiment}, {wildcards.shrinkage}, seed {wildcards.seed}"
    shell:
        "python -m lwdna --log {log:q} shrink {params.network:q} {params.settings:q}"
        " --task {params.task:q} --train {input.train:q} --seed {wildcards.seed}"
        " {params.batch_norm} --threads {threads}"
        " --channels {output.channels:q} --output {output.network:q}"


rule prune:
    input:
        weights=RUN.pruned,
        own=RUN.own_sources,
    output:
        network=paths.NETWORK,
        summary=paths.SUMMARY,
        channels=paths.CHANNELS,
    log:
        "results/logs/shrink/{experiment}/{shrinkage}/seed{seed}.log",
    benchmark:
        "results/benchmarks/shrink/{experiment}/{shrinkage}/seed{seed}.tsv"
    wildcard_constraints:
        shrinkage=pattern(PRUNINGS),
    conda:
        "../envs/lwdna.yaml"
    threads: 1
    resources:
        mem_mb=words.growing(2000),
    params:
        network=RUN.own_network,
        settings=RUN.shrink_options,
        batch_norm=RUN.count_batch_norm,
    message:
        "Prune the baseline of {wildcards.experiment}, {wildcards.shrinkage}, seed {wildcards.seed}"
    shell:
        "python -m lwdna --log {log:q} prune {input.weights:q} --criterion {wildcards.shrinkage:q}"
        " {params.network:q} {params.settings:q} {params.batch_norm} --seed {wildcards.seed}"
        " --threads {threads} --channels {output.channels:q} --output {output.network:q}"


for search, entry in SEARCHES.items():

    # Of each its own, named after it: what a search of before recorded must stay what it was.
    rule:
        name:
            search
        input:
            train=RUN.train_images,
            own=RUN.own_sources,
            test=RUN.first_test,
        output:
            **{entry.noted: paths.RECORD.where(record=entry.record)},
            network=paths.NETWORK,
            summary=paths.SUMMARY,
            channels=paths.CHANNELS,
            history=paths.SEARCH_HISTORY,
        log:
            "results/logs/shrink/{experiment}/{shrinkage}/seed{seed}.log",
        benchmark:
            "results/benchmarks/{shrinkage}/{experiment}/seed{seed}.tsv"
        wildcard_constraints:
            shrinkage=pattern([search]),
        conda:
            "../envs/lwdna.yaml"
        threads: 1
        resources:
            mem_mb=words.growing(16000),
            gpu=0,
        params:
            network=RUN.wide_network,
            settings=RUN.search_options,
            task=RUN.task,
            protocol=RUN.search_protocol,
            checkpoints=paths.CHECKPOINTS.where(method=f"{search}-search"),
            convention=RUN.first_convention,
            batch_norm=RUN.count_batch_norm,
            device=words.devices,
        message:
            f"Search by {METHODS[search].title} for {{wildcards.experiment}}, seed {{wildcards.seed}}"
        # Read here, and once more when a job runs, where the loop is at its end.
        shell:
            words.of_search(
                locals(),
                "python -m lwdna --log {log:q} SEARCH {params.network:q} {params.settings:q}"
                " --task {params.task:q} --protocol {params.protocol:q}"
                " --train {input.train:q} --test {input.test:q}"
                " --checkpoints {params.checkpoints:q} --seed {wildcards.seed}"
                " {params.convention:q} {params.batch_norm} {params.device} --threads {threads}"
                " --description '{wildcards.experiment} SEARCH {wildcards.seed}'"
                " --history {output.history:q} --NOTED {output.NOTED:q}"
                " --channels {output.channels:q} --output {output.network:q}",
            )


rule train:
    input:
        train=RUN.train_images,
        own=RUN.train_sources,
        test=RUN.first_test,
        shrunk=RUN.shrunk,
        initial=RUN.initial,
        backbone=RUN.backbone,
        teacher=RUN.teacher,
    output:
        weights=paths.WEIGHTS,
        history=paths.HISTORY,
    log:
        "results/logs/train/{experiment}/{method}/seed{seed}.log",
    benchmark:
        "results/benchmarks/train/{experiment}/{method}/seed{seed}.tsv"
    conda:
        "../envs/lwdna.yaml"
    threads: 1
    resources:
        mem_mb=words.growing(4000),
        gpu=0,
    params:
        start=RUN.train_start,
        task=RUN.task,
        protocol=RUN.protocol,
        checkpoints=paths.CHECKPOINTS,
        convention=RUN.first_convention,
        device=words.devices,
    message:
        "Train {wildcards.experiment}, {wildcards.method}, seed {wildcards.seed}"
    shell:
        "python -m lwdna --log {log:q} train {params.start:q} --task {params.task:q}"
        " --protocol {params.protocol:q} --train {input.train:q} --test {input.test:q}"
        " --checkpoints {params.checkpoints:q} --seed {wildcards.seed}"
        " {params.convention:q} {params.device} --threads {threads}"
        " --description '{wildcards.experiment} {wildcards.method} {wildcards.seed}'"
        " --history {output.history:q} --output {output.weights:q}"


rule evaluate:
    input:
        weights=RUN.weights,
        test=RUN.test_images,
        own=RUN.own_sources,
    output:
        metrics=paths.METRICS,
    log:
        "results/logs/evaluate/{experiment}/{method}.log",
    benchmark:
        "results/benchmarks/evaluate/{experiment}/{method}.tsv"
    wildcard_constraints:
        experiment=pattern(RUN.following(follows=False)),
    conda:
        "../envs/lwdna.yaml"
    threads: 1
    resources:
        mem_mb=words.growing(3000),
        gpu=0,
    params:
        task=RUN.task,
        labels=lambda wildcards, input: runs_of(input.weights),
        tests=RUN.test_sets,
        conventions=RUN.conventions,
        device=words.accelerator,
        batch_norm=RUN.count_batch_norm,
    message:
        "Evaluate {wildcards.experiment}, {wildcards.method}, all seeds"
    shell:
        "python -m lwdna --log {log:q} evaluate {input.weights:q} --task {params.task:q}"
        " --labels {params.labels:q} {params.tests:q} --conventions {params.conventions:q}"
        " {params.batch_norm} {params.device} --threads {threads} --output {output.metrics:q}"


rule reference:
    input:
        test=REFERENCES.test,
    output:
        metrics=paths.REFERENCE,
    log:
        "results/logs/references/{reference}/{dataset}.log",
    benchmark:
        "results/benchmarks/references/{reference}/{dataset}.tsv"
    conda:
        "../envs/lwdna.yaml"
    threads: 1
    resources:
        mem_mb=words.growing(3000),
    params:
        task=REFERENCES.task,
        convention=REFERENCES.convention,
    message:
        "Measure {wildcards.reference} on {wildcards.dataset}"
    shell:
        "python -m lwdna --log {log:q} reference --task {params.task:q}"
        " --test {wildcards.dataset:q} {input.test:q} --convention {params.convention:q}"
        " --output {output.metrics:q}"


rule supernet:
    input:
        train=RUN.train_images,
        own=RUN.own_sources,
        test=RUN.first_test,
        # The search has trained it.
        network=paths.NETWORK,
    output:
        paths.SHARED,
    log:
        "results/logs/supernet/{experiment}/{shrinkage}/seed{seed}.log",
    benchmark:
        "results/benchmarks/supernet/{experiment}/{shrinkage}/seed{seed}.tsv"
    wildcard_constraints:
        shrinkage="autoslim",
    conda:
        "../envs/lwdna.yaml"
    threads: 1
    resources:
        mem_mb=words.growing(16000),
        gpu=0,
    params:
        network=RUN.wide_network,
        settings=RUN.search_options,
        task=RUN.task,
        protocol=RUN.search_protocol,
        checkpoints=paths.CHECKPOINTS.where(method="autoslim-search"),
        convention=RUN.first_convention,
        batch_norm=RUN.count_batch_norm,
        device=words.devices,
    message:
        "Take the network of all widths of {wildcards.experiment}, seed {wildcards.seed}"
    shell:
        "python -m lwdna --log {log:q} supernet {params.network:q} {params.settings:q}"
        " --task {params.task:q} --protocol {params.protocol:q}"
        " --train {input.train:q} --test {input.test:q}"
        " --checkpoints {params.checkpoints:q} --seed {wildcards.seed}"
        " {params.convention:q} {params.batch_norm} {params.device} --threads {threads}"
        " --description '{wildcards.experiment} supernet {wildcards.seed}'"
        " --output {output:q}"


rule adaptive:
    input:
        weights=paths.WEIGHTS,
        train=RUN.train_images,
        own=RUN.own_sources,
        test=RUN.first_test,
    output:
        paths.WIDTHS,
    log:
        "results/logs/adaptive/{experiment}/{method}/seed{seed}.log",
    benchmark:
        "results/benchmarks/adaptive/{experiment}/{method}/seed{seed}.tsv"
    wildcard_constraints:
        method=pattern(name for name in METHODS if steps_of(name)),
    conda:
        "../envs/lwdna.yaml"
    threads: 1
    resources:
        mem_mb=words.growing(4000),
        gpu=0,
    params:
        network=RUN.own_network,
        task=RUN.task,
        grid=RUN.grid,
        batch_norm=RUN.count_batch_norm,
        device=words.accelerator,
    message:
        "Measure a network of {wildcards.experiment} at several widths, seed {wildcards.seed}"
    shell:
        "python -m lwdna --log {log:q} adaptive {input.weights:q} {params.network:q}"
        " --task {params.task:q} --train {input.train:q} --test {input.test:q} {params.grid:q}"
        " {params.batch_norm} {params.device} --seed {wildcards.seed} --threads {threads}"
        " --output {output:q}"


use rule adaptive as adaptive_supernet with:
    input:
        weights=paths.SHARED,
        train=RUN.train_images,
        own=RUN.own_sources,
        test=RUN.first_test,
    output:
        paths.SHARED_WIDTHS,
    log:
        "results/logs/adaptive/{experiment}/{shrinkage}-supernet/seed{seed}.log",
    benchmark:
        "results/benchmarks/adaptive/{experiment}/{shrinkage}-supernet/seed{seed}.tsv"
    wildcard_constraints:
        shrinkage="autoslim",
    params:
        network=RUN.own_network,
        task=RUN.task,
        grid=RUN.shared_widths,
        batch_norm=RUN.count_batch_norm,
        device=words.accelerator,
