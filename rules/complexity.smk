"""The complexity columns of the paper's tables: every LW-DNA network shrunk again."""


rule replicate:
    input:
        photographs=REPLICAS.photographs,
        table1=BASE / "paper/table1.csv",
        table2=BASE / "paper/table2.csv",
        table3=BASE / "paper/table3.csv",
    output:
        csv=paths.REPLICA,
        channels=paths.REPLICA_CHANNELS,
    log:
        "results/logs/replicate/{replica}.log",
    benchmark:
        "results/benchmarks/replicate/{replica}.tsv"
    conda:
        "../envs/lwdna.yaml"
    threads: 1
    resources:
        mem_mb=words.growing(5000),
    params:
        options=REPLICAS.options,
    message:
        "Shrink {wildcards.replica} again, by each criterion"
    shell:
        "python -m lwdna --log {log:q} replicate {params.options:q}"
        " --photographs {input.photographs:q} --table 1 {input.table1:q}"
        " --table 2 {input.table2:q} --table 3 {input.table3:q}"
        " --threads {threads} --channels {output.channels:q} --output {output.csv:q}"


rule complexity_table:
    input:
        results=REPLICAS.table_results,
        code=code(BASE),
    output:
        csv=paths.REPLICATION.where(format="csv"),
        markdown=paths.REPLICATION.where(format="md"),
        latex=paths.REPLICATION.where(format="tex"),
        html=report(
            paths.REPLICATION.where(format="html"),
            caption="../report/complexity.rst",
            category="Tables",
            labels={"table": "Table {number}: complexity columns"},
        ),
    log:
        "results/logs/complexity/table{number}.log",
    benchmark:
        "results/benchmarks/complexity/table{number}.tsv"
    localrule: True
    conda:
        "../envs/lwdna.yaml"
    threads: 1
    resources:
        mem_mb=words.growing(1000),
    message:
        "Make the complexity columns of Table {wildcards.number}"
    shell:
        "python -m lwdna --log {log:q} replication-table {wildcards.number} {input.results:q}"
        " --csv {output.csv:q} --markdown {output.markdown:q} --html {output.html:q}"
        " --latex {output.latex:q}"


rule complexity_columns:
    input:
        tables=REPLICAS.tables(),
    localrule: True
