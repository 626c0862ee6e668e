"""Parts of the outcome to ask for by name."""


localrules:
    table1,
    table2,
    table3,
    table4,
    figures,


rule table1:
    input:
        tables([1]),


rule table2:
    input:
        tables([2]),


rule table3:
    input:
        tables([3]),


rule table4:
    input:
        tables([4]),


rule figures:
    input:
        figures(),
