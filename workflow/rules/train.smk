"""One rule trains any phase of any run of any paper."""


rule train:
    input:
        captions=captions_to_read,
        features=features_to_train,
        segments=segments_to_train,
        attributes=attributes_to_train,
        weights=weights_to_train,
        start=start_checkpoint,
    output:
        weights=CHECKPOINT,
        provenance=CHECKPOINT.replace(".safetensors", ".json"),
        metrics=CHECKPOINT.replace(".safetensors", ".metrics.jsonl"),
        curve=CHECKPOINT.replace(".safetensors", ".csv"),
        board=directory(CHECKPOINT.replace(".safetensors", ".tensorboard")),
    log:
        "work/log/train/{corpus}/{paper}/{run}-{phase}-seed{seed}.log",
    benchmark:
        "work/benchmark/train/{corpus}/{paper}/{run}-{phase}-seed{seed}.tsv"
    threads: 1 if SMALL else 8
    resources:
        gpu=1,
        # Charades' annotation as features, 1.5 GB on disk: a training peaks at 1.6 GB.
        mem_mb=4000 if LAPTOP else 2000 if SMALL else 32000,
        runtime=4 * 60 if LAPTOP else 30 if SMALL else 24 * 60,
    params:
        captions=lambda wildcards, input: folder(input.captions),
        scale=SCALE,
        device=lambda wildcards, input: PARAMS.device,
        precision="" if PARAMS.precision == "float32" else f"--precision {PARAMS.precision}",
        code=lambda wildcards: code_version(
            "train",
            *PAPERS[wildcards.paper].training_methods_of(wildcards.run, wildcards.phase, wildcards.corpus),
        ),
        config=lambda wildcards: fingerprint(
            PAPERS[wildcards.paper].training_config(wildcards.run, wildcards.phase, wildcards.corpus)
        ),
        start=lambda wildcards, input: option("start", input.start),
        features=lambda wildcards, input: option("features", store_of(input.features)),
        segments=lambda wildcards, input: option("segments", input.segments),
        attributes=lambda wildcards, input: option("attributes", input.attributes),
        pretrained=lambda wildcards, input: cnn_of(wildcards) and weights_option(cnn_of(wildcards), input.weights),
        without_file=lambda wildcards: cnn_of(wildcards) and weights_without_file(cnn_of(wildcards)),
        cnn=cnn_to_train,
        overrides=lambda wildcards, input: overrides_option(wildcards.paper),
    message:
        "Training {wildcards.paper}/{wildcards.run}/{wildcards.phase} on {wildcards.corpus}, seed {wildcards.seed}"
    shell:
        "exec env OMP_NUM_THREADS={threads} captionrl train {wildcards.paper}/{wildcards.run}/{wildcards.phase}"
        " --corpus {wildcards.corpus} --seed {wildcards.seed} --captions {params.captions}"
        " {params.features} {params.segments} {params.attributes} {params.pretrained} {params.start} --out {output.weights} --scale {params.scale} {params.overrides}"
        " --device {params.device} {params.precision} 2> >(trap '' TERM INT; exec tee {log} >&2)"
