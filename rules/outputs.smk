"""Metrics -> tables; histories, channels and restored images -> figures."""


rule complexity:
    input:
        table1=BASE / "paper/table1.csv",
        table2=BASE / "paper/table2.csv",
    output:
        paths.COMPLEXITY,
    log:
        "results/logs/complexity.log",
    benchmark:
        "results/benchmarks/complexity.tsv"
    localrule: True
    conda:
        "../envs/lwdna.yaml"
    threads: 1
    resources:
        mem_mb=words.growing(2000),
    message:
        "Count the baselines of the paper"
    shell:
        "python -m lwdna --log {log:q} complexity --table 1 {input.table1:q}"
        " --table 2 {input.table2:q} --output {output:q}"


rule table:
    input:
        metrics=TARGETS.table_metrics,
        references=TARGETS.table_reference_files,
        paper=TARGETS.table_paper,
        complexity=paths.COMPLEXITY,
        code=code(BASE),
    output:
        csv=paths.TABLE.where(format="csv"),
        markdown=paths.TABLE.where(format="md"),
        latex=paths.TABLE.where(format="tex"),
        html=report(
            paths.TABLE.where(format="html"),
            caption="../report/table.rst",
            category="Tables",
            labels=TARGETS.table_labels,
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
        mem_mb=words.growing(1000),
    params:
        name=TARGETS.table_name,
        experiments=TARGETS.table_experiments,
        paper=lambda wildcards, input: ["--paper", input.paper] if input.paper else [],
        references=TARGETS.table_references,
        part="runs",
        scale=RUN.scale,
    message:
        "Make Table {params.name}"
    shell:
        "python -m lwdna --log {log:q} table {params.name} {input.metrics:q}"
        " --experiments {params.experiments:q} {params.paper:q}"
        " --references {params.references:q} --part {params.part}"
        " --complexity {input.complexity:q} {params.scale:q}"
        " --csv {output.csv:q} --markdown {output.markdown:q} --html {output.html:q}"
        " --latex {output.latex:q}"


use rule table as paper_rows with:
    output:
        csv=paths.PAPER_ROWS.where(format="csv"),
        markdown=paths.PAPER_ROWS.where(format="md"),
        latex=paths.PAPER_ROWS.where(format="tex"),
        html=report(
            paths.PAPER_ROWS.where(format="html"),
            caption="../report/table.rst",
            category="Tables",
            labels=TARGETS.paper_labels,
        ),
    log:
        "results/logs/table/{table}-paper.log",
    benchmark:
        "results/benchmarks/table/{table}-paper.tsv"
    params:
        part="paper",
    message:
        "Make the paper's rows of Table {params.name}"


rule report_page:
    input:
        **REPORTED.files(),
        code=code(BASE),
    output:
        paths.REPORT,
    log:
        "results/logs/report.log",
    localrule: True
    conda:
        "../envs/lwdna.yaml"
    threads: 1
    resources:
        mem_mb=words.growing(1000),
    params:
        shown=REPORTED.words,
        scale=RUN.scale,
    message:
        "Write the report"
    shell:
        "python -m lwdna --log {log:q} report {params.shown:q} --benchmarks results/benchmarks"
        " {params.scale:q} --output {output:q}"


rule training_logs:
    input:
        histories=TARGETS.histories(),
        code=code(BASE),
    output:
        report(
            paths.TRAINING_LOGS.where(format="png"),
            caption="../report/training-logs.rst",
            category="Figures",
            labels={"figure": "Fig. 1: training and testing logs"},
        ),
        paths.TRAINING_LOGS.where(format="svg"),
        paths.TRAINING_LOGS.where(format="pdf"),
    log:
        "results/logs/figures/training-logs.log",
    benchmark:
        "results/benchmarks/figures/training-logs.tsv"
    localrule: True
    conda:
        "../envs/lwdna.yaml"
    threads: 1
    resources:
        mem_mb=words.growing(1000),
    params:
        labels=lambda wildcards, input: runs_of(input.histories),
        experiments=TARGETS.logged_experiments,
        outputs=words.outputs,
        scale=RUN.scale,
    message:
        "Draw the training and testing logs"
    shell:
        "python -m lwdna --log {log:q} training-logs {input.histories:q} --labels {params.labels:q}"
        " --experiments {params.experiments:q} {params.scale:q} {params.outputs:q}"


rule remaining_channels:
    input:
        channels=TARGETS.channel_counts(),
        code=code(BASE),
    output:
        report(
            paths.REMAINING_CHANNELS.where(format="png"),
            caption="../report/remaining-channels.rst",
            category="Figures",
            labels={"figure": "Fig. 2: remaining channels by layer"},
        ),
        paths.REMAINING_CHANNELS.where(format="svg"),
        paths.REMAINING_CHANNELS.where(format="pdf"),
    log:
        "results/logs/figures/remaining-channels.log",
    benchmark:
        "results/benchmarks/figures/remaining-channels.tsv"
    localrule: True
    conda:
        "../envs/lwdna.yaml"
    threads: 1
    resources:
        mem_mb=words.growing(1000),
    params:
        labels=lambda wildcards, input: runs_of(input.channels),
        experiments=TARGETS.shrunk_experiments,
        outputs=words.outputs,
        scale=RUN.scale,
    message:
        "Draw the remaining channels"
    shell:
        "python -m lwdna --log {log:q} channels {input.channels:q} --labels {params.labels:q}"
        " --experiments {params.experiments:q} {params.scale:q} {params.outputs:q}"


rule strip:
    input:
        networks=TARGETS.strip_networks,
        test=RUN.first_test,
        own=RUN.own_sources,
        code=code(BASE),
    output:
        report(
            paths.STRIP.where(format="png"),
            caption="../report/strip.rst",
            category="Figures",
            labels={"figure": "Restored image: {experiment}"},
        ),
        paths.STRIP.where(format="svg"),
        paths.STRIP.where(format="pdf"),
    log:
        "results/logs/figures/strip-{experiment}.log",
    benchmark:
        "results/benchmarks/figures/strip-{experiment}.tsv"
    conda:
        "../envs/lwdna.yaml"
    threads: 1
    resources:
        mem_mb=words.growing(3000),
    params:
        networks=TARGETS.strip_titles,
        task=RUN.task,
        part=TARGETS.strip_part,
        title=RUN.title,
        convention=RUN.first_convention,
        outputs=words.outputs,
        scale=RUN.scale,
    message:
        "Draw an image restored by the networks of {wildcards.experiment}"
    shell:
        "python -m lwdna --log {log:q} strip {params.networks:q} --task {params.task:q}"
        " --test {input.test:q} {params.part:q} --title {params.title:q}"
        " {params.convention:q} {params.scale:q} {params.outputs:q}"


rule latents:
    input:
        record=TARGETS.drawn_search,
        code=code(BASE),
    output:
        png=report(
            paths.LATENTS_FIGURE.where(format="png"),
            caption="../report/latents.rst",
            category="Figures",
            labels={"figure": "Fig. 3: latent vectors of {experiment}"},
        ),
        svg=paths.LATENTS_FIGURE.where(format="svg"),
        pdf=paths.LATENTS_FIGURE.where(format="pdf"),
        animation=report(
            paths.LATENTS_FIGURE.where(format="gif"),
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
        mem_mb=words.growing(1000),
    params:
        chosen=TARGETS.histogram_options,
        title=TARGETS.search_title,
        scale=RUN.scale,
    message:
        "Draw the latent vectors of {wildcards.experiment}"
    shell:
        "python -m lwdna --log {log:q} latents {input.record:q} {params.chosen} {params.scale:q}"
        " --title {params.title:q} --output {output.png:q} --output {output.svg:q}"
        " --output {output.pdf:q}"
        " --animation {output.animation:q}"


rule searches:
    input:
        records=TARGETS.records(),
        code=code(BASE),
    output:
        report(
            paths.SEARCHES_FIGURE.where(format="png"),
            caption="../report/searches.rst",
            category="Figures",
            labels={"figure": "On the way of the searches"},
        ),
        paths.SEARCHES_FIGURE.where(format="svg"),
        paths.SEARCHES_FIGURE.where(format="pdf"),
    log:
        "results/logs/figures/searches.log",
    benchmark:
        "results/benchmarks/figures/searches.tsv"
    localrule: True
    conda:
        "../envs/lwdna.yaml"
    threads: 1
    resources:
        mem_mb=words.growing(1000),
    params:
        labels=lambda wildcards, input: runs_of(input.records),
        experiments=TARGETS.recorded_experiments,
        outputs=words.outputs,
        scale=RUN.scale,
    message:
        "Draw the way of the searches"
    shell:
        "python -m lwdna --log {log:q} searches {input.records:q} --labels {params.labels:q}"
        " --experiments {params.experiments:q} {params.scale:q} {params.outputs:q}"


rule widths:
    input:
        measured=TARGETS.measured(),
        code=code(BASE),
    output:
        csv=paths.WIDTHS_TABLE.where(format="csv"),
        markdown=paths.WIDTHS_TABLE.where(format="md"),
        latex=paths.WIDTHS_TABLE.where(format="tex"),
        html=report(
            paths.WIDTHS_TABLE.where(format="html"),
            caption="../report/widths.rst",
            category="Tables",
            labels={"table": "One network at many widths"},
        ),
        png=report(
            paths.WIDTHS_FIGURE.where(format="png"),
            caption="../report/widths.rst",
            category="Figures",
            labels={"figure": "One network at many widths"},
        ),
        svg=paths.WIDTHS_FIGURE.where(format="svg"),
        pdf=paths.WIDTHS_FIGURE.where(format="pdf"),
    log:
        "results/logs/widths.log",
    benchmark:
        "results/benchmarks/widths.tsv"
    localrule: True
    conda:
        "../envs/lwdna.yaml"
    threads: 1
    resources:
        mem_mb=words.growing(1000),
    params:
        labels=lambda wildcards, input: runs_of(input.measured),
        experiments=TARGETS.measured_experiments,
        scale=RUN.scale,
    message:
        "Show networks at several widths"
    shell:
        "python -m lwdna --log {log:q} widths {input.measured:q} --labels {params.labels:q}"
        " --experiments {params.experiments:q} {params.scale:q}"
        " --csv {output.csv:q} --markdown {output.markdown:q} --html {output.html:q}"
        " --latex {output.latex:q}"
        " --output {output.png:q} --output {output.svg:q}"
        " --output {output.pdf:q}"


rule agreement:
    input:
        networks=TARGETS.kept_channels(),
        code=code(BASE),
    output:
        csv=paths.AGREEMENT.where(format="csv"),
        markdown=paths.AGREEMENT.where(format="md"),
        latex=paths.AGREEMENT.where(format="tex"),
        html=report(
            paths.AGREEMENT.where(format="html"),
            caption="../report/agreement.rst",
            category="Tables",
            labels={"table": "Agreement of the criteria"},
        ),
        png=report(
            paths.AGREEMENT_FIGURE.where(format="png"),
            caption="../report/agreement.rst",
            category="Figures",
            labels={"figure": "Agreement of the criteria"},
        ),
        svg=paths.AGREEMENT_FIGURE.where(format="svg"),
        pdf=paths.AGREEMENT_FIGURE.where(format="pdf"),
    log:
        "results/logs/agreement.log",
    benchmark:
        "results/benchmarks/agreement.tsv"
    localrule: True
    conda:
        "../envs/lwdna.yaml"
    threads: 1
    resources:
        mem_mb=words.growing(1000),
    params:
        labels=lambda wildcards, input: runs_of(input.networks),
        experiments=TARGETS.compared_experiments,
        scale=RUN.scale,
    message:
        "Compare the channels that the criteria keep"
    shell:
        "python -m lwdna --log {log:q} agreement {input.networks:q} --labels {params.labels:q}"
        " --experiments {params.experiments:q} {params.scale:q}"
        " --csv {output.csv:q} --markdown {output.markdown:q} --html {output.html:q}"
        " --latex {output.latex:q}"
        " --output {output.png:q} --output {output.svg:q}"
        " --output {output.pdf:q}"
