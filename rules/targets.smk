"""Parts of the outcome to ask for by name."""


rule table1:
    input:
        tables([1]),
    localrule: True


rule table2:
    input:
        tables([2]),
    localrule: True


rule table3:
    input:
        tables([3]),
    localrule: True


rule table4:
    input:
        tables([4]),
    localrule: True


rule figures:
    input:
        agreement(),
        figures(),
    localrule: True
