"""Metrics -> tables; histories, channels and restored images -> figures."""


rule complexity:
    input:
        table1=BASE / "paper/table1.csv",
        table2=BASE / "paper/table2.csv",
    output:
        "results/complexity.csv",
    log:
        "results/logs/complexity.log",
    benchmark:
        "results/benchmarks/complexity.tsv"
    localrule: True
    conda:
        "../envs/lwdna.yaml"
    threads: 1
    resources:
        mem_mb=growing(2000),
    message:
        "Count the baselines of the paper"
    shell:
        "python -m lwdna --log {log:q} complexity --table 1 {input.table1:q}"
        " --table 2 {input.table2:q} --output {output:q}"


rule table:
    input:
        metrics=lambda wildcards: metrics_of(of_table(wildcards.table)),
        references=lambda wildcards: reference_files(of_table(wildcards.table)),
        paper=lambda wildcards: paper_csv(wildcards.table),
        complexity="results/complexity.csv",
        code=[
            BASE / "lwdna/methods.py",
            BASE / "lwdna/tables.py",
            BASE / "lwdna/statistics.py",
            BASE / "lwdna/rendering.py",
        ],
    output:
        csv="results/tables/table{table}.csv",
        markdown="results/tables/table{table}.md",
        html=report(
            "results/tables/table{table}.html",
            caption="../report/table.rst",
            category="Tables",
            labels={"table": "Table {table}"},
        ),
    log:
        "results/logs/table/{table}.log",
    benchmark:
        "results/benchmarks/table/{table}.tsv"
    localrule: True
    conda:
        "../envs/lwdna.yaml"
    threads: 1
    resources:
        mem_mb=growing(1000),
    params:
        experiments=lambda wildcards: shown(
            of_table(wildcards.table),
            "label",
            "methods",
            "network",
            "paper",
            "shrink",
            "tables",
            "task",
            "test",
            "train",
        ),
        paper=lambda wildcards, input: ["--paper", input.paper] if input.paper else [],
        references=lambda wildcards: as_json(references_of(of_table(wildcards.table))),
        scale=scale,
    message:
        "Make Table {wildcards.table}"
    shell:
        "python -m lwdna --log {log:q} table {wildcards.table} {input.metrics:q}"
        " --experiments {params.experiments:q} {params.paper:q}"
        " --references {params.references:q}"
        " --complexity {input.complexity:q} {params.scale:q}"
        " --csv {output.csv:q} --markdown {output.markdown:q} --html {output.html:q}"


rule training_logs:
    input:
        histories=histories(),
        code=BASE / "lwdna/figures.py",
    output:
        report(
            "results/figures/training-logs.png",
            caption="../report/training-logs.rst",
            category="Figures",
            labels={"figure": "Fig. 1: training and testing logs"},
        ),
        "results/figures/training-logs.svg",
    log:
        "results/logs/figures/training-logs.log",
    benchmark:
        "results/benchmarks/figures/training-logs.tsv"
    localrule: True
    conda:
        "../envs/lwdna.yaml"
    threads: 1
    resources:
        mem_mb=growing(1000),
    params:
        labels=lambda wildcards, input: labels_of_runs(input.histories),
        experiments=lambda wildcards: shown(pictured(), "label", "methods", "test"),
        outputs=lambda wildcards, output: [
            w for path in output for w in ("--output", path)
        ],
        scale=scale,
    message:
        "Draw the training and testing logs"
    shell:
        "python -m lwdna --log {log:q} training-logs {input.histories:q} --labels {params.labels:q}"
        " --experiments {params.experiments:q} {params.scale:q} {params.outputs:q}"


rule remaining_channels:
    input:
        channels=channel_counts(),
        code=BASE / "lwdna/figures.py",
    output:
        report(
            "results/figures/remaining-channels.png",
            caption="../report/remaining-channels.rst",
            category="Figures",
            labels={"figure": "Fig. 2: remaining channels by layer"},
        ),
        "results/figures/remaining-channels.svg",
    log:
        "results/logs/figures/remaining-channels.log",
    benchmark:
        "results/benchmarks/figures/remaining-channels.tsv"
    localrule: True
    conda:
        "../envs/lwdna.yaml"
    threads: 1
    resources:
        mem_mb=growing(1000),
    params:
        labels=lambda wildcards, input: labels_of_runs(input.channels),
        experiments=lambda wildcards: shown(shrunk_experiments(), "label", "test"),
        outputs=lambda wildcards, output: [
            w for path in output for w in ("--output", path)
        ],
        scale=scale,
    message:
        "Draw the remaining channels"
    shell:
        "python -m lwdna --log {log:q} channels {input.channels:q} --labels {params.labels:q}"
        " --experiments {params.experiments:q} {params.scale:q} {params.outputs:q}"


rule strip:
    input:
        networks=lambda wildcards: list(strip_networks(wildcards).values()),
        test=lambda wildcards: test_images(wildcards)[0],
        code=[BASE / "lwdna/strips.py", BASE / "lwdna/figures.py"],
    output:
        report(
            "results/figures/strip-{experiment}.png",
            caption="../report/strip.rst",
            category="Figures",
            labels={"figure": "Restored image: {experiment}"},
        ),
        "results/figures/strip-{experiment}.svg",
    log:
        "results/logs/figures/strip-{experiment}.log",
    benchmark:
        "results/benchmarks/figures/strip-{experiment}.tsv"
    conda:
        "../envs/lwdna.yaml"
    threads: 1
    resources:
        mem_mb=growing(3000),
    params:
        networks=lambda wildcards: [
            word
            for title, path in strip_networks(wildcards).items()
            for word in ("--network", title, path)
        ],
        task=task_of,
        part=strip_options,
        title=lambda wildcards: experiment(wildcards)["label"],
        convention=convention_of,
        outputs=lambda wildcards, output: [
            w for path in output for w in ("--output", path)
        ],
        scale=scale,
    message:
        "Draw an image restored by the networks of {wildcards.experiment}"
    shell:
        "python -m lwdna --log {log:q} strip {params.networks:q} --task {params.task:q}"
        " --test {input.test:q} {params.part:q} --title {params.title:q}"
        " {params.convention:q} {params.scale:q} {params.outputs:q}"


rule latents:
    input:
        record=lambda wildcards: "results/shrink/{experiment}/dhp/seed%d/latents.h5"
        % experiment(wildcards)["seeds"][0],
        code=[BASE / "lwdna/histograms.py", BASE / "lwdna/figures.py"],
    output:
        png=report(
            "results/figures/latents-{experiment}.png",
            caption="../report/latents.rst",
            category="Figures",
            labels={"figure": "Fig. 3: latent vectors of {experiment}"},
        ),
        svg="results/figures/latents-{experiment}.svg",
        animation=report(
            "results/figures/latents-{experiment}.gif",
            caption="../report/latents.rst",
            category="Figures",
            labels={"figure": "Fig. 3, animated: latent vectors of {experiment}"},
        ),
    log:
        "results/logs/figures/latents-{experiment}.log",
    benchmark:
        "results/benchmarks/figures/latents-{experiment}.tsv"
    localrule: True
    conda:
        "../envs/lwdna.yaml"
    threads: 1
    resources:
        mem_mb=growing(1000),
    params:
        chosen=histogram_options,
        title=lambda wildcards: f"Latent vectors of {experiment(wildcards)['label']} during DHP",
        scale=scale,
    message:
        "Draw the latent vectors of {wildcards.experiment}"
    shell:
        "python -m lwdna --log {log:q} latents {input.record:q} {params.chosen} {params.scale:q}"
        " --title {params.title:q} --output {output.png:q} --output {output.svg:q}"
        " --animation {output.animation:q}"


rule agreement:
    input:
        networks=kept_channels(),
        code=[
            BASE / "lwdna/agreement.py",
            BASE / "lwdna/rendering.py",
            BASE / "lwdna/figures.py",
        ],
    output:
        csv="results/tables/agreement.csv",
        markdown="results/tables/agreement.md",
        html=report(
            "results/tables/agreement.html",
            caption="../report/agreement.rst",
            category="Tables",
            labels={"table": "Agreement of the criteria"},
        ),
        png=report(
            "results/figures/agreement.png",
            caption="../report/agreement.rst",
            category="Figures",
            labels={"figure": "Agreement of the criteria"},
        ),
        svg="results/figures/agreement.svg",
    log:
        "results/logs/agreement.log",
    benchmark:
        "results/benchmarks/agreement.tsv"
    localrule: True
    conda:
        "../envs/lwdna.yaml"
    threads: 1
    resources:
        mem_mb=growing(1000),
    params:
        labels=lambda wildcards, input: labels_of_runs(input.networks),
        experiments=lambda wildcards: shown(compared_experiments(), "label"),
        scale=scale,
    message:
        "Compare the channels that the criteria keep"
    shell:
        "python -m lwdna --log {log:q} agreement {input.networks:q} --labels {params.labels:q}"
        " --experiments {params.experiments:q} {params.scale:q}"
        " --csv {output.csv:q} --markdown {output.markdown:q} --html {output.html:q}"
        " --output {output.png:q} --output {output.svg:q}"
