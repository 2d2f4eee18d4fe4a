"""Checkpoints become captions, captions scores, scores tables."""


localrules:
    table,


def last_checkpoint(wildcards):
    phase = PAPERS[wildcards.paper].runs[wildcards.run].phases[-1]
    return CHECKPOINT.format(**dict(wildcards), phase=phase)


rule predict:
    input:
        checkpoint=last_checkpoint,
        captions=rules.captions.output,
        features=lambda wildcards: f"work/{wildcards.corpus}/features/{PAPERS[wildcards.paper].backbone}.json",
    output:
        "work/{corpus}/predictions/{paper}/{run}/seed{seed}.json",
    log:
        "work/log/predict/{corpus}/{paper}/{run}-seed{seed}.log",
    threads: 1 if MINI else 4
    resources:
        gpu=1,
        mem_mb=2000 if MINI else 16000,
        runtime=15 if MINI else 120,
    params:
        code=code_version("predict"),
        beam=lambda wildcards: PAPERS[wildcards.paper].beam,
        store=lambda wildcards, input: str(input.features).replace(".json", ".h5"),
    message:
        "Captioning the test items of {wildcards.corpus} with {wildcards.paper}/{wildcards.run}, seed {wildcards.seed}"
    shell:
        "exec env OMP_NUM_THREADS={threads} captionrl predict --checkpoint {input.checkpoint}"
        " --captions work/{wildcards.corpus}/captions --features {params.store} --out {output} --beam {params.beam}"
        " --device {PARAMS.device} 2> >(tee {log} >&2)"


rule score:
    input:
        predictions="work/{corpus}/predictions/{paper}/{run}/seed{seed}.json",
        checkpoint=last_checkpoint,
        captions=rules.captions.output,
    output:
        "work/{corpus}/scores/{paper}/{run}/seed{seed}.json",
    log:
        "work/log/score/{corpus}/{paper}/{run}-seed{seed}.log",
    resources:
        mem_mb=3000,
        runtime=30,
    params:
        code=code_version("evaluate"),
    message:
        "Scoring {wildcards.paper}/{wildcards.run} on {wildcards.corpus}, seed {wildcards.seed}"
    shell:
        "exec env OMP_NUM_THREADS={threads} captionrl evaluate --predictions {input.predictions}"
        " --checkpoint {input.checkpoint} --captions work/{wildcards.corpus}/captions --out {output}"
        " 2> >(tee {log} >&2)"


def scores_of(wildcards):
    paper = PAPERS[wildcards.paper]
    if wildcards.table not in paper.tables:
        raise WorkflowError(f"papers/{paper.paper}.yaml: has no {wildcards.table}; there are {', '.join(paper.tables)}")
    table = paper.tables[wildcards.table]
    runs = dict.fromkeys([*(row.run for row in table.rows if row.run), table.baseline])
    return expand(
        "work/{corpus}/scores/{paper}/{run}/seed{seed}.json",
        corpus=table.corpus,
        paper=paper.paper,
        run=runs,
        seed=PARAMS.seeds,
    )


rule table:
    input:
        scores=scores_of,
        card=lambda wildcards: f"work/{PAPERS[wildcards.paper].tables[wildcards.table].corpus}/captions/card.json",
    output:
        f"results/{SCALE}/{{paper}}/{{table}}.csv",
        f"results/{SCALE}/{{paper}}/{{table}}.md",
        f"results/{SCALE}/{{paper}}/{{table}}.tex",
        f"results/{SCALE}/{{paper}}/{{table}}.cells.jsonl",
    log:
        f"work/log/table/{SCALE}/{{paper}}-{{table}}.log",
    params:
        code=code_version("table"),
        config=lambda wildcards: fingerprint(PAPERS[wildcards.paper].tables[wildcards.table].model_dump()),
        overrides=overrides_option,
    message:
        "Building {output[0]}"
    shell:
        "exec captionrl table {wildcards.paper}/{wildcards.table} --scale {SCALE} --scores {input.scores}"
        " --card {input.card} --out {output[0]} {params.overrides} 2> >(tee {log} >&2)"
