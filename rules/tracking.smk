"""Videos -> trackers on trained backbones (rule train) -> boxes -> measures, plots, submissions."""


rule sequences:
    output:
        paths.SEQUENCES,
    log:
        "results/logs/sequences/{dataset}-{split}.log",
    benchmark:
        "results/benchmarks/sequences/{dataset}-{split}.tsv"
    wildcard_constraints:
        dataset=SOURCES.made_by("sequences"),
    localrule: True
    conda:
        "../envs/lwdna.yaml"
    threads: 1
    resources:
        mem_mb=words.growing(2000),
    params:
        sets=SOURCES.sets,
        content=SOURCES.sets_content,
    message:
        "List the {wildcards.split} videos of {wildcards.dataset}"
    shell:
        "python -m lwdna --log {log:q} sequences {params.sets:q} --output {output:q}"


rule follow:
    input:
        weights=paths.WEIGHTS,
        test=paths.SEQUENCES.where(split="test"),
        own=RUN.own_sources,
    output:
        boxes=paths.BOXES,
        times=paths.TIMES,
    log:
        "results/logs/follow/{experiment}/{method}/seed{seed}-{dataset}.log",
    benchmark:
        "results/benchmarks/follow/{experiment}/{method}/seed{seed}-{dataset}.tsv"
    wildcard_constraints:
        experiment=pattern(RUN.following(follows=True)),
    conda:
        "../envs/lwdna.yaml"
    threads: 1
    resources:
        mem_mb=words.growing(3000),
        gpu=0,
    params:
        own=RUN.own_maker,
        task=RUN.task,
        checkpoints=paths.FOLLOWED,
        device=words.accelerator,
    message:
        "Follow the objects of {wildcards.dataset}: {wildcards.experiment}, {wildcards.method},"
        " seed {wildcards.seed}"
    shell:
        "python -m lwdna --log {log:q} follow {input.weights:q} {params.own:q}"
        " --task {params.task:q} --test {input.test:q} --checkpoints {params.checkpoints:q}"
        " --seed {wildcards.seed} {params.device} --threads {threads}"
        " --description '{wildcards.experiment} {wildcards.method} {wildcards.seed}'"
        " --boxes {output.boxes:q} --times {output.times:q}"


rule evaluate_boxes:
    input:
        weights=RUN.weights,
        test=RUN.test_images,
        boxes=RUN.boxes,
        own=RUN.own_sources,
    output:
        metrics=paths.METRICS,
    log:
        "results/logs/evaluate/{experiment}/{method}.log",
    benchmark:
        "results/benchmarks/evaluate/{experiment}/{method}.tsv"
    wildcard_constraints:
        experiment=pattern(RUN.following(follows=True)),
    localrule: True
    conda:
        "../envs/lwdna.yaml"
    threads: 1
    resources:
        mem_mb=words.growing(3000),
    params:
        task=RUN.task,
        labels=lambda wildcards, input: runs_of(input.weights),
        tests=RUN.test_words,
        own=RUN.own_maker,
        boxes=RUN.found_boxes,
        conventions=RUN.conventions,
        batch_norm=RUN.count_batch_norm,
    message:
        "Measure the boxes of {wildcards.experiment}, {wildcards.method}, all seeds"
    shell:
        "python -m lwdna --log {log:q} evaluate-boxes {input.weights:q} --task {params.task:q}"
        " --labels {params.labels:q} {params.tests:q} {params.own:q} {params.boxes:q}"
        " --conventions {params.conventions:q} {params.batch_norm} --threads {threads}"
        " --output {output.metrics:q}"


rule submission:
    input:
        boxes=RUN.submitted,
        times=RUN.submitted_times,
        test=paths.SEQUENCES.where(split="test"),
    output:
        paths.SUBMISSION,
    log:
        "results/logs/submission/{experiment}/{method}/{dataset}.log",
    benchmark:
        "results/benchmarks/submission/{experiment}/{method}/{dataset}.tsv"
    wildcard_constraints:
        experiment=pattern(RUN.following(follows=True)),
    localrule: True
    conda:
        "../envs/lwdna.yaml"
    threads: 1
    resources:
        mem_mb=words.growing(1000),
    params:
        times=lambda wildcards, input: words.repeated("--times", input.times),
    message:
        "Pack the boxes of {wildcards.experiment}, {wildcards.method}, on {wildcards.dataset}"
    shell:
        "python -m lwdna --log {log:q} submission {input.boxes:q} {params.times:q}"
        " --test {input.test:q} --output {output:q}"


rule success:
    input:
        boxes=TARGETS.followed_boxes,
        test=RUN.test_images,
        code=code(BASE),
    output:
        report(
            paths.SUCCESS.where(format="png"),
            caption="../report/success.rst",
            category="Figures",
            labels={"figure": "Success and precision: {experiment}"},
        ),
        paths.SUCCESS.where(format="svg"),
        paths.SUCCESS.where(format="pdf"),
    log:
        "results/logs/figures/success-{experiment}.log",
    benchmark:
        "results/benchmarks/figures/success-{experiment}.tsv"
    localrule: True
    conda:
        "../envs/lwdna.yaml"
    threads: 1
    resources:
        mem_mb=words.growing(2000),
    params:
        boxes=TARGETS.followed_words,
        tests=RUN.test_words,
        conventions=RUN.conventions,
        task=RUN.task,
        title=TARGETS.success_title,
        outputs=words.outputs,
        scale=RUN.scale,
    message:
        "Draw success and precision of {wildcards.experiment}"
    shell:
        "python -m lwdna --log {log:q} success {params.boxes:q} {params.tests:q}"
        " --task {params.task:q} --conventions {params.conventions:q}"
        " --title {params.title:q} {params.scale:q} {params.outputs:q}"


rule boxes_strip:
    input:
        boxes=TARGETS.strip_boxes,
        test=RUN.first_test,
        code=code(BASE),
    output:
        png=report(
            paths.BOXES_STRIP.where(format="png"),
            caption="../report/boxes.rst",
            category="Figures",
            labels={"figure": "Objects followed: {experiment}"},
        ),
        svg=paths.BOXES_STRIP.where(format="svg"),
        pdf=paths.BOXES_STRIP.where(format="pdf"),
        animation=report(
            paths.BOXES_STRIP.where(format="webp"),
            caption="../report/boxes.rst",
            category="Figures",
            labels={"figure": "Objects followed, animated: {experiment}"},
        ),
    log:
        "results/logs/figures/boxes-{experiment}.log",
    benchmark:
        "results/benchmarks/figures/boxes-{experiment}.tsv"
    localrule: True
    conda:
        "../envs/lwdna.yaml"
    threads: 1
    resources:
        mem_mb=words.growing(2000),
    params:
        boxes=TARGETS.strip_words,
        task=RUN.task,
        title=TARGETS.boxes_title,
        scale=RUN.scale,
    message:
        "Draw what the trackers of {wildcards.experiment} found"
    shell:
        "python -m lwdna --log {log:q} boxes-strip {params.boxes:q} --test {input.test:q}"
        " --task {params.task:q} --title {params.title:q} {params.scale:q}"
        " --output {output.png:q} --output {output.svg:q} --output {output.pdf:q}"
        " --animation {output.animation:q}"


rule submissions:
    input:
        TARGETS.submissions(),
    localrule: True
