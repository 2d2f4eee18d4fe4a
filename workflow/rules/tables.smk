"""Checkpoints become captions, captions scores, scores tables."""


localrules:
    table,


rule predict:
    # All seeds of a system. Of RUN.sample and RUN.beam-set a set of captions an item, of all other systems one
    # (config/systems.py).
    input:
        checkpoints=last_checkpoints,
        captions=captions_to_read,
        features=lambda wildcards: manifest(wildcards.paper, wildcards.corpus, run_of(wildcards)),
    output:
        [f"work/{{corpus}}/predictions/{{paper}}/{{system}}/seed{seed}.json" for seed in PARAMS.seeds],
    log:
        "work/log/predict/{corpus}/{paper}/{system}.log",
    benchmark:
        "work/benchmark/predict/{corpus}/{paper}/{system}.tsv"
    threads: 1 if SMALL else 4
    resources:
        gpu=1,
        mem_mb=2000 if SMALL else 16000,
        runtime=(15 if SMALL else 120) * len(PARAMS.seeds),
    params:
        captions=lambda wildcards, input: folder(input.captions),
        device=lambda wildcards, input: PARAMS.device,
        code=lambda wildcards: code_version("predict", *PAPERS[wildcards.paper].methods_of(run_of(wildcards))),
        decoding=decoding_option,
        store=lambda wildcards, input: store_of(input.features),
    message:
        "Captioning the test items of {wildcards.corpus} with {wildcards.paper}/{wildcards.system}"
    shell:
        "exec env OMP_NUM_THREADS={threads} captionrl predict --checkpoint {input.checkpoints}"
        " --captions {params.captions} --features {params.store} --out {output} {params.decoding}"
        " --device {params.device} 2> >(trap '' TERM INT; exec tee {log} >&2)"


rule score:
    # All seeds of a system: one Java tokenises and scores METEOR for all of them.
    input:
        predictions=rules.predict.output,
        checkpoints=last_checkpoints,
        captions=captions_to_read,
        spice=spice_models,
        reward_models=reward_models,
        features=reward_model_features,
    output:
        [f"work/{{corpus}}/scores/{{paper}}/{{system}}/seed{seed}.json" for seed in PARAMS.seeds],
    log:
        "work/log/score/{corpus}/{paper}/{system}.log",
    benchmark:
        "work/benchmark/score/{corpus}/{paper}/{system}.tsv"
    threads: lambda wildcards, input: 4 if input.spice else 1
    resources:
        mem_mb=lambda wildcards, input: 12000 if input.spice else 3000,
        runtime=lambda wildcards, input: (6 * 60 if input.spice else 30) * len(PARAMS.seeds),
    params:
        captions=lambda wildcards, input: folder(input.captions),
        code=lambda wildcards: code_version("evaluate", *reward_model_methods(wildcards)),
        spice=spice_option,
        reward_models=lambda wildcards, input: option("embedding", input.reward_models),
        store=lambda wildcards, input: option("features", store_of(input.features)),
    message:
        "Scoring {wildcards.paper}/{wildcards.system} on {wildcards.corpus}"
    shell:
        "exec env OMP_NUM_THREADS={threads} captionrl evaluate --predictions {input.predictions}"
        " --checkpoint {input.checkpoints} --captions {params.captions} --out {output} {params.spice} --workers {threads}"
        " {params.reward_models} {params.store}"
        " 2> >(trap '' TERM INT; exec tee {log} >&2)"


rule table:
    input:
        scores=scores_of,
        metadata=metadata_of,
    output:
        csv=f"results/{SCALE}/{{paper}}/{{table}}.csv",
        comparisons=f"results/{SCALE}/{{paper}}/{{table}}.comparisons.csv",
        markdown=f"results/{SCALE}/{{paper}}/{{table}}.md",
        latex=f"results/{SCALE}/{{paper}}/{{table}}.tex",
        cells=f"results/{SCALE}/{{paper}}/{{table}}.cells.jsonl",
    log:
        f"work/log/table/{SCALE}/{{paper}}-{{table}}.log",
    benchmark:
        f"work/benchmark/table/{SCALE}/{{paper}}-{{table}}.tsv"
    wildcard_constraints:
        table="[a-z0-9-]+"
        + "".join(f"(?<!/{paper}/{board})" for paper in PAPERS for board in PAPERS[paper].leaderboards),
    params:
        scale=SCALE,
        code=code_version("table"),
        config=lambda wildcards: fingerprint(PAPERS[wildcards.paper].tables[wildcards.table].model_dump()),
        overrides=lambda wildcards, input: overrides_option(wildcards.paper),
    message:
        "Building {output.csv}"
    shell:
        "exec captionrl table {wildcards.paper}/{wildcards.table} --scale {params.scale} --scores {input.scores}"
        " --metadata {input.metadata} --out {output.csv} {params.overrides} 2> >(trap '' TERM INT; exec tee {log} >&2)"


rule submission:
    # What the MSCOCO server takes, with the captions of the first seed.
    input:
        checkpoint=submitted_checkpoint,
        raw=lambda wildcards: f"data/{leaderboard_of(wildcards.paper).corpus}/raw.json",
        features=submitted_features,
    output:
        f"results/{SCALE}/{{paper}}/captions_{{part}}_{{paper}}_results.json",
    log:
        f"work/log/submission/{SCALE}/{{paper}}-{{part}}.log",
    benchmark:
        f"work/benchmark/submission/{SCALE}/{{paper}}-{{part}}.tsv"
    wildcard_constraints:
        part="|".join(IMAGE_LISTS),
    threads: 1 if SMALL else 4
    resources:
        gpu=1,
        mem_mb=2000 if SMALL else 16000,
        runtime=15 if SMALL else 6 * 60,
    params:
        device=lambda wildcards, input: PARAMS.device,
        code=lambda wildcards: code_version(
            "submit", *PAPERS[wildcards.paper].methods_of(leaderboard_of(wildcards.paper).run)
        ),
        beam=lambda wildcards: f"--beam {PAPERS[wildcards.paper].beam}"
        + (" --length-normalised" if PAPERS[wildcards.paper].length_normalised else ""),
        images=lambda wildcards: IMAGE_LISTS[wildcards.part].format(corpus=leaderboard_of(wildcards.paper).corpus),
        store=lambda wildcards, input: store_of(input.features),
    message:
        "Captioning {wildcards.part} for the MSCOCO server: {output}"
    shell:
        "exec env OMP_NUM_THREADS={threads} captionrl submit --checkpoint {input.checkpoint} --images {params.images}"
        " --features {params.store} --out {output} {params.beam} --device {params.device} 2> >(trap '' TERM INT; exec tee {log} >&2)"


for paper_name, board_name in [(paper, board) for paper in PAPERS for board in PAPERS[paper].leaderboards]:

    rule:
        name:
            f"leaderboard_{paper_name}"
        output:
            csv=f"results/{SCALE}/{paper_name}/{board_name}.csv",
            markdown=f"results/{SCALE}/{paper_name}/{board_name}.md",
            latex=f"results/{SCALE}/{paper_name}/{board_name}.tex",
        log:
            f"work/log/leaderboard/{SCALE}/{paper_name}-{board_name}.log",
        localrule: True
        params:
            leaderboard=f"{paper_name}/{board_name}",
            scale=SCALE,
            code=code_version("leaderboard"),
            config=fingerprint(PAPERS[paper_name].leaderboards[board_name].model_dump()),
            overrides=lambda wildcards, input, paper=paper_name: overrides_option(paper),
        message:
            "Writing {output.csv}"
        shell:
            "exec captionrl leaderboard {params.leaderboard} --scale {params.scale} --out {output.csv} {params.overrides}"
            " 2> >(trap '' TERM INT; exec tee {log} >&2)"


for paper_name in PAPERS:

    rule:
        # What `dvc metrics` and `dvc plots` show, and what the paper claims beside what ours show.
        name:
            f"metrics_{paper_name}"
        input:
            tables=tables_of(paper_name),
            comparisons=[table.replace(".csv", ".comparisons.csv") for table in tables_of(paper_name)],
            curves=curves_of(paper_name),
        output:
            metrics=f"results/{SCALE}/{paper_name}/metrics.json",
            claims=[
                f"results/{SCALE}/{paper_name}/claims.{kind}"
                for kind in ("md", "csv")
                if has_claims(PAPERS[paper_name])
            ],
            curves=[
                f"results/{SCALE}/{paper_name}/curves/{corpus}-{run}.csv"
                for corpus, run in PAPERS[paper_name].figures.learners
            ],
        log:
            f"work/log/metrics/{SCALE}/{paper_name}.log",
        benchmark:
            f"work/benchmark/metrics/{SCALE}/{paper_name}.tsv"
        localrule: True
        params:
            paper=paper_name,
            scale=SCALE,
            code=code_version("metrics"),
            config=fingerprint(PAPERS[paper_name].model_dump(include={"title", "tables"})),
            overrides=lambda wildcards, input, paper=paper_name: overrides_option(paper),
        message:
            "Gathering {output.metrics}"
        shell:
            "exec captionrl metrics {params.paper} --scale {params.scale} --tables {input.tables}"
            " --curves {input.curves} --out {output.metrics} {params.overrides} 2> >(trap '' TERM INT; exec tee {log} >&2)"
