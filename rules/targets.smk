"""Parts of the outcome to ask for by name."""


rule table1:
    input:
        TARGETS.tables(1),
    localrule: True


rule table2:
    input:
        TARGETS.tables(2),
    localrule: True


rule table3:
    input:
        TARGETS.tables(3),
    localrule: True


rule table4:
    input:
        TARGETS.tables(4),
    localrule: True


rule table5:
    input:
        TARGETS.tables(5),
    localrule: True


rule figures:
    input:
        TARGETS.agreement(),
        TARGETS.widths(),
        TARGETS.figures(),
    localrule: True
