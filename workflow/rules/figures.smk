"""Validation curves and checkpoints become a paper's figures. One rule a paper: its YAML says what they are called."""

for paper_name in [name for name, paper in PAPERS.items() if paper.figures.names]:

    rule:
        name:
            f"figures_{paper_name}"
        input:
            curves=curves_of(paper_name),
            checkpoints=captioners_of(paper_name),
            captions=captions_shown(paper_name),
            features=features_shown(paper_name),
            predictions=predictions_shown(paper_name),
            attributes=attributes_shown(paper_name),
            tables=[f"results/{SCALE}/{paper_name}/{name}.csv" for name in tables_drawn(paper_name)],
        output:
            page=f"results/{SCALE}/{paper_name}/figures.html",
            pictures=[f"results/{SCALE}/{paper_name}/{name}.png" for name in PAPERS[paper_name].figures.names],
        log:
            f"work/log/figures/{SCALE}/{paper_name}.log",
        benchmark:
            f"work/benchmark/figures/{SCALE}/{paper_name}.tsv"
        threads: 1 if SMALL else 4
        resources:
            mem_mb=2000 if SMALL else 16000,
            runtime=15 if SMALL else 120,
        params:
            paper=paper_name,
            scale=SCALE,
            out=lambda wildcards, output: Path(output.page).parent,
            code=code_version("figures", *methods_shown(paper_name)),
            config=fingerprint(PAPERS[paper_name].model_dump(include={"title", "beam", "length_normalised", "figures"})),
            overrides=lambda wildcards, input, paper=paper_name: overrides_option(paper),
        message:
            "Drawing {output.page}"
        shell:
            "exec env OMP_NUM_THREADS={threads} captionrl figures {params.paper} --scale {params.scale}"
            " --curves {input.curves} --checkpoints {input.checkpoints} --predictions {input.predictions} --tables {input.tables} --out {params.out} --device cpu {params.overrides}"
            " 2> >(trap '' TERM INT; exec tee {log} >&2)"
