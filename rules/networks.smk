"""Shrink -> train (teachers, baselines, LW-DNA networks) -> evaluate; references beside them."""


rule shrink:
    input:
        train=train_images,
    output:
        network="results/shrink/{experiment}/{shrinkage}/seed{seed}/network.safetensors",
        # Written beside network.safetensors: channels, FLOPs and parameters before and after.
        summary="results/shrink/{experiment}/{shrinkage}/seed{seed}/network.json",
        channels="results/shrink/{experiment}/{shrinkage}/seed{seed}/channels.csv",
    log:
        "results/logs/shrink/{experiment}/{shrinkage}/seed{seed}.log",
    benchmark:
        "results/benchmarks/shrink/{experiment}/{shrinkage}/seed{seed}.tsv"
    conda:
        "../envs/lwdna.yaml"
    threads: 1
    resources:
        mem_mb=shrink_memory,
    params:
        network=shrink_network,
        settings=shrink_options,
        task=task_of,
        batch_norm=batch_norm_flag,
    message:
        "Shrink the network of {wildcards.experiment}, {wildcards.shrinkage}, seed {wildcards.seed}"
    shell:
        "python -m lwdna --log {log:q} shrink {params.network:q} {params.settings:q}"
        " --task {params.task:q} --train {input.train:q} --seed {wildcards.seed}"
        " {params.batch_norm} --threads {threads}"
        " --channels {output.channels:q} --output {output.network:q}"


rule dhp:
    input:
        train=train_images,
        test=lambda wildcards: test_images(wildcards)[0],
    output:
        network="results/shrink/{experiment}/dhp/seed{seed}/network.safetensors",
        summary="results/shrink/{experiment}/dhp/seed{seed}/network.json",
        channels="results/shrink/{experiment}/dhp/seed{seed}/channels.csv",
        history="results/shrink/{experiment}/dhp/seed{seed}/history.csv",
        latents="results/shrink/{experiment}/dhp/seed{seed}/latents.h5",
    log:
        "results/logs/shrink/{experiment}/dhp/seed{seed}.log",
    benchmark:
        "results/benchmarks/dhp/{experiment}/seed{seed}.tsv"
    conda:
        "../envs/lwdna.yaml"
    threads: 1
    resources:
        mem_mb=growing(16000),
        gpu=0,
    params:
        network=shrink_network,
        settings=search_options,
        task=task_of,
        protocol=search_protocol,
        checkpoints="results/checkpoints/{experiment}/dhp-search/seed{seed}",
        convention=convention_of,
        batch_norm=batch_norm_flag,
        device=device,
    message:
        "Search by DHP for {wildcards.experiment}, seed {wildcards.seed}"
    shell:
        "python -m lwdna --log {log:q} dhp {params.network:q} {params.settings:q}"
        " --task {params.task:q} --protocol {params.protocol:q}"
        " --train {input.train:q} --test {input.test:q}"
        " --checkpoints {params.checkpoints:q} --seed {wildcards.seed}"
        " {params.convention:q} {params.batch_norm} {params.device} --threads {threads}"
        " --description '{wildcards.experiment} dhp {wildcards.seed}'"
        " --history {output.history:q} --latents {output.latents:q}"
        " --channels {output.channels:q} --output {output.network:q}"


rule train:
    input:
        train=train_images,
        test=lambda wildcards: test_images(wildcards)[0],
        shrunk=shrunk_of,
        teacher=teacher_of,
    output:
        weights="results/runs/{experiment}/{method}/seed{seed}/weights.safetensors",
        history="results/runs/{experiment}/{method}/seed{seed}/history.csv",
    log:
        "results/logs/train/{experiment}/{method}/seed{seed}.log",
    benchmark:
        "results/benchmarks/train/{experiment}/{method}/seed{seed}.tsv"
    conda:
        "../envs/lwdna.yaml"
    threads: 1
    resources:
        mem_mb=growing(4000),
        gpu=0,
    params:
        start=train_start,
        task=task_of,
        protocol=protocol_of,
        checkpoints="results/checkpoints/{experiment}/{method}/seed{seed}",
        convention=convention_of,
        device=device,
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
        weights=lambda wildcards: weights_of(wildcards.experiment, wildcards.method),
        test=test_images,
    output:
        metrics="results/runs/{experiment}/{method}/metrics.csv",
    log:
        "results/logs/evaluate/{experiment}/{method}.log",
    benchmark:
        "results/benchmarks/evaluate/{experiment}/{method}.tsv"
    conda:
        "../envs/lwdna.yaml"
    threads: 1
    resources:
        mem_mb=growing(3000),
        gpu=0,
    params:
        task=task_of,
        labels=lambda wildcards, input: labels_of_runs(input.weights),
        tests=test_arguments,
        conventions=conventions_of,
        device=lambda wildcards, resources: device(wildcards, resources)[:2],
        batch_norm=batch_norm_flag,
    message:
        "Evaluate {wildcards.experiment}, {wildcards.method}, all seeds"
    shell:
        "python -m lwdna --log {log:q} evaluate {input.weights:q} --task {params.task:q}"
        " --labels {params.labels:q} {params.tests:q} --conventions {params.conventions:q}"
        " {params.batch_norm} {params.device} --threads {threads} --output {output.metrics:q}"


rule reference:
    input:
        test="results/images/{dataset}/test",
    output:
        metrics="results/references/{reference}/{dataset}.csv",
    log:
        "results/logs/references/{reference}/{dataset}.log",
    benchmark:
        "results/benchmarks/references/{reference}/{dataset}.tsv"
    wildcard_constraints:
        reference="|".join(map(re.escape, reference_settings())) or "(?!)",
    conda:
        "../envs/lwdna.yaml"
    threads: 1
    resources:
        mem_mb=growing(3000),
    params:
        task=lambda w: as_json(reference_settings()[w.reference]["task"]),
        convention=lambda w: reference_settings()[w.reference]["convention"],
    message:
        "Measure {wildcards.reference} on {wildcards.dataset}"
    shell:
        "python -m lwdna --log {log:q} reference --task {params.task:q}"
        " --test {wildcards.dataset:q} {input.test:q} --convention {params.convention:q}"
        " --output {output.metrics:q}"
