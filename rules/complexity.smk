"""The complexity columns of the paper's tables: every LW-DNA network shrunk again."""


rule replicate:
    input:
        photographs=replica_photographs,
        table1=BASE / "paper/table1.csv",
        table2=BASE / "paper/table2.csv",
        table3=BASE / "paper/table3.csv",
    output:
        csv="results/complexity/networks/{replica}.csv",
    log:
        "results/logs/replicate/{replica}.log",
    benchmark:
        "results/benchmarks/replicate/{replica}.tsv"
    conda:
        "../envs/lwdna.yaml"
    threads: 1
    resources:
        mem_mb=growing(5000),
    params:
        options=replica_options,
    message:
        "Shrink {wildcards.replica} again, by each criterion"
    shell:
        "python -m lwdna --log {log:q} replicate {params.options:q}"
        " --photographs {input.photographs:q} --table 1 {input.table1:q}"
        " --table 2 {input.table2:q} --table 3 {input.table3:q}"
        " --threads {threads} --output {output.csv:q}"


rule complexity_table:
    input:
        results=lambda wildcards: [
            f"results/complexity/networks/{name}.csv"
            for name in replicas(int(wildcards.table))
        ],
        code=[BASE / "lwdna/replication.py", BASE / "lwdna/rendering.py"],
    output:
        csv="results/complexity/table{table}.csv",
        markdown="results/complexity/table{table}.md",
        html=report(
            "results/complexity/table{table}.html",
            caption="../report/complexity.rst",
            category="Tables",
            labels={"table": "Table {table}: complexity columns"},
        ),
    log:
        "results/logs/complexity/table{table}.log",
    benchmark:
        "results/benchmarks/complexity/table{table}.tsv"
    wildcard_constraints:
        table="[1-3]",
    localrule: True
    conda:
        "../envs/lwdna.yaml"
    threads: 1
    resources:
        mem_mb=growing(1000),
    message:
        "Make the complexity columns of Table {wildcards.table}"
    shell:
        "python -m lwdna --log {log:q} replication-table {wildcards.table} {input.results:q}"
        " --csv {output.csv:q} --markdown {output.markdown:q} --html {output.html:q}"


rule complexity_columns:
    input:
        tables=expand(
            "results/complexity/table{table}.md",
            table=[number for number in (1, 2, 3) if replicas(number)],
        ),
    localrule: True
