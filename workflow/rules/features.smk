"""Media become features: the mini backbone's training, and extraction with any backbone."""


rule backbone:
    # On request (`snakemake backbone`), or where params.yaml says `mini_backbone: trained`: its weights come with the
    # package. At the paper scale backbones have ImageNet weights instead: rule download_weights.
    input:
        "data/imagenet-mini/raw.json",
    output:
        weights="work/backbone/mini.safetensors",
        provenance="work/backbone/mini.json",
        metrics="work/backbone/mini.metrics.jsonl",
        curve="work/backbone/mini.csv",
        board=directory("work/backbone/mini.tensorboard"),
    log:
        "work/log/backbone.log",
    benchmark:
        "work/benchmark/backbone/mini.tsv"
    threads: 1
    resources:
        gpu=1,
        mem_mb=4000,
        runtime=60,
    params:
        device=lambda wildcards, input: PARAMS.device,
        code=code_version("backbone"),
        config=fingerprint(BackbonePhase().model_dump()),
        record=record_of(backbone_spec("mini")),
    message:
        "Training the mini backbone on labelled stills of the mini world"
    shell:
        "exec env OMP_NUM_THREADS={threads} captionrl backbone --images data/imagenet-mini/images.npz"
        " --out {output.weights} --device {params.device} 2> >(trap '' TERM INT; exec tee {log} >&2)"


rule annotations:
    # Ground truth in place of pixels, for a corpus without its videos.
    input:
        raw="data/{corpus}/raw.json",
        captions=captions_for_items,
    output:
        store="work/{corpus}/features/annotations.h5",
        manifest="work/{corpus}/features/annotations.json",
    log:
        "work/log/features/{corpus}-annotations.log",
    benchmark:
        "work/benchmark/annotations/{corpus}-annotations.tsv"
    resources:
        mem_mb=2000,
        runtime=30,
    params:
        captions=lambda wildcards, input: folder(input.captions),
        code=code_version("annotations"),
        fps=lambda wildcards: fps_of(wildcards.corpus, "annotations"),
    message:
        "Making features of {wildcards.corpus} from its annotation: ground truth, not pixels"
    shell:
        "exec captionrl annotations --raw data/{wildcards.corpus} --captions {params.captions}"
        " --out {output.store} --fps {params.fps} 2> >(trap '' TERM INT; exec tee {log} >&2)"


rule regions:
    # Bottom-Up attention's features: a folder of .npz files, or the original .tsv files.
    input:
        raw="data/{corpus}/raw.json",
        captions=captions_for_items,
    output:
        store="work/{corpus}/features/bottomup.h5",
        manifest="work/{corpus}/features/bottomup.json",
    log:
        "work/log/features/{corpus}-bottomup.log",
    benchmark:
        "work/benchmark/regions/{corpus}-bottomup.tsv"
    resources:
        mem_mb=4000,
        runtime=6 * 60,
    params:
        captions=lambda wildcards, input: folder(input.captions),
        code=code_version("features-import"),
        stamp=lambda wildcards: stamp(f"data/{wildcards.corpus}/bottomup"),
        allowed_failures=PARAMS.allowed_failures,
    message:
        "Reading the bottom-up features of {wildcards.corpus} in data/{wildcards.corpus}/bottomup"
    shell:
        "exec captionrl features-import data/{wildcards.corpus}/bottomup --captions {params.captions}"
        " --name bottomup --ids number --allowed-failures {params.allowed_failures} --out {output.store} 2> >(trap '' TERM INT; exec tee {log} >&2)"


rule import_features:
    # Other features that the user has, by their path in params.yaml: the backbone own:NAME.
    input:
        source=lambda wildcards: imported(wildcards).path,
        ids_file=lambda wildcards: imported(wildcards).ids_file or [],
        captions=captions_for_items,
    output:
        store="work/{corpus}/features/own--{name}.h5",
        manifest="work/{corpus}/features/own--{name}.json",
    log:
        "work/log/features/{corpus}-own--{name}.log",
    benchmark:
        "work/benchmark/import_features/{corpus}-own--{name}.tsv"
    wildcard_constraints:
        name="[a-z0-9-]+",
    resources:
        mem_mb=4000,
        runtime=6 * 60,
    params:
        captions=lambda wildcards, input: folder(input.captions),
        code=code_version("features-import"),
        stamp=lambda wildcards: stamp(imported(wildcards).path),
        options=import_options,
        allowed_failures=PARAMS.allowed_failures,
    message:
        "Importing the features own:{wildcards.name} of {wildcards.corpus} from {input.source}"
    shell:
        "exec captionrl features-import {input.source:q} --captions {params.captions}"
        " --name own:{wildcards.name} {params.options} --allowed-failures {params.allowed_failures} --out {output.store}"
        " 2> >(trap '' TERM INT; exec tee {log} >&2)"


rule test_features:
    # Of images that have no captions, and so are in no corpus: for the MSCOCO server.
    input:
        raw="data/{corpus}/raw.json",
        weights=weights_of,
    output:
        store="work/{corpus}/features/{backbone}-test2014.h5",
        manifest="work/{corpus}/features/{backbone}-test2014.json",
    log:
        "work/log/features/{corpus}-{backbone}-test2014.log",
    benchmark:
        "work/benchmark/test_features/{corpus}-{backbone}-test2014.tsv"
    wildcard_constraints:
        backbone="|".join(map(re.escape, EXTRACTED)),
    threads: 2 if SMALL else 8
    resources:
        gpu=1,
        mem_mb=2000 if SMALL else 24000,
        runtime=30 if SMALL else 24 * 60,
    params:
        device=lambda wildcards, input: PARAMS.device,
        precision=EXTRACTION_PRECISION,
        backbone=lambda wildcards: BACKBONE_OF[wildcards.backbone],
        weights=lambda wildcards, input: weights_option(BACKBONE_OF[wildcards.backbone], input.weights),
        without_file=lambda wildcards: weights_without_file(BACKBONE_OF[wildcards.backbone]),
        record=lambda wildcards: record_of(spec_of(wildcards)),
        code=lambda wildcards: code_version("features", spec_of(wildcards).loader),
        fps=lambda wildcards: fps_of(wildcards.corpus, BACKBONE_OF[wildcards.backbone]),
        images=lambda wildcards: IMAGE_LISTS["test2014"].format(**wildcards),
    message:
        "Extracting {wildcards.backbone} features of the test images of {wildcards.corpus}"
    shell:
        "exec env OMP_NUM_THREADS={threads} captionrl features --backbone {params.backbone} {params.weights}"
        " --raw data/{wildcards.corpus} --images {params.images} --out {output.store} --fps {params.fps}"
        " --workers {threads} {params.precision} --device {params.device} 2> >(trap '' TERM INT; exec tee {log} >&2)"


JOBS = PARAMS.extraction_jobs
PLACE = f"features/parts/{{part}}-of-{JOBS}" if JOBS > 1 else "features"  # of what a job extracts


rule features:
    input:
        raw="data/{corpus}/raw.json",
        captions=captions_for_items,
        weights=weights_of,
    output:
        store=(temp if JOBS > 1 else str)(f"work/{{corpus}}/{PLACE}/{{backbone}}.h5"),
        manifest=(temp if JOBS > 1 else str)(f"work/{{corpus}}/{PLACE}/{{backbone}}.json"),
    log:
        f"work/log/{PLACE}/{{corpus}}-{{backbone}}.log",
    benchmark:
        f"work/benchmark/{PLACE}/{{corpus}}-{{backbone}}.tsv"
    wildcard_constraints:
        backbone="|".join(map(re.escape, EXTRACTED)),
        part="[0-9]+",
    threads: 2 if SMALL else 8
    resources:
        gpu=1,
        mem_mb=2000 if SMALL else 24000,
        runtime=2 * 60 if LAPTOP else 30 if SMALL else 24 * 60,
    params:
        captions=lambda wildcards, input: folder(input.captions),
        device=lambda wildcards, input: PARAMS.device,
        precision=EXTRACTION_PRECISION,
        backbone=lambda wildcards: BACKBONE_OF[wildcards.backbone],
        weights=lambda wildcards, input: weights_option(BACKBONE_OF[wildcards.backbone], input.weights),
        without_file=lambda wildcards: weights_without_file(BACKBONE_OF[wildcards.backbone]),
        record=lambda wildcards: record_of(spec_of(wildcards)),
        code=lambda wildcards: code_version("features", spec_of(wildcards).loader),
        fps=lambda wildcards: fps_of(wildcards.corpus, BACKBONE_OF[wildcards.backbone]),
        allowed_failures=PARAMS.allowed_failures,
        part=lambda wildcards: f"--part {wildcards.part}/{JOBS}" if JOBS > 1 else "",
    message:
        "Extracting {wildcards.backbone} features of {wildcards.corpus}"
    shell:
        "exec env OMP_NUM_THREADS={threads} captionrl features --backbone {params.backbone} {params.weights}"
        " --raw data/{wildcards.corpus} --captions {params.captions} --out {output.store} --fps {params.fps}"
        " --allowed-failures {params.allowed_failures} --workers {threads} {params.precision} --device {params.device}"
        " {params.part} 2> >(trap '' TERM INT; exec tee {log} >&2)"


if JOBS > 1:

    rule join_features:
        # Parts are deleted once they are joined: what they depend on stands here, too.
        input:
            raw="data/{corpus}/raw.json",
            captions=captions_for_items,
            weights=weights_of,
            stores=expand(f"work/{{{{corpus}}}}/{PLACE}/{{{{backbone}}}}.h5", part=range(1, JOBS + 1)),
            manifests=expand(f"work/{{{{corpus}}}}/{PLACE}/{{{{backbone}}}}.json", part=range(1, JOBS + 1)),
        output:
            store="work/{corpus}/features/{backbone}.h5",
            manifest="work/{corpus}/features/{backbone}.json",
        log:
            "work/log/join_features/{corpus}-{backbone}.log",
        benchmark:
            "work/benchmark/join_features/{corpus}-{backbone}.tsv"
        wildcard_constraints:
            backbone="|".join(map(re.escape, EXTRACTED)),
        resources:
            mem_mb=2000,
            runtime=6 * 60,
        params:
            captions=lambda wildcards, input: folder(input.captions),
            code=code_version("features-join"),
            extraction=lambda wildcards: code_version("features", spec_of(wildcards).loader),
            precision=EXTRACTION_PRECISION,
            without_file=lambda wildcards: weights_without_file(BACKBONE_OF[wildcards.backbone]),
            record=lambda wildcards: record_of(spec_of(wildcards)),
            fps=lambda wildcards: fps_of(wildcards.corpus, BACKBONE_OF[wildcards.backbone]),
            allowed_failures=PARAMS.allowed_failures,
        message:
            "Joining the parts of {output.store}"
        shell:
            "exec captionrl features-join --parts {input.stores} --captions {params.captions} --out {output.store}"
            " --allowed-failures {params.allowed_failures} 2> >(trap '' TERM INT; exec tee {log} >&2)"


rule frames:
    # For a CNN that is part of the captioner.
    input:
        raw="data/{corpus}/raw.json",
        captions=captions_for_items,
    output:
        store="work/{corpus}/features/{backbone}.h5",
        manifest="work/{corpus}/features/{backbone}.json",
    log:
        "work/log/features/{corpus}-{backbone}.log",
    benchmark:
        "work/benchmark/frames/{corpus}-{backbone}.tsv"
    wildcard_constraints:
        backbone="|".join(map(re.escape, KEPT)),
    threads: 2 if SMALL else 8
    resources:
        mem_mb=2000 if SMALL else 8000,
        runtime=30 if SMALL else 12 * 60,
    params:
        captions=lambda wildcards, input: folder(input.captions),
        backbone=lambda wildcards: BACKBONE_OF[wildcards.backbone],
        record=lambda wildcards: record_of(spec_of(wildcards)),
        code=lambda wildcards: code_version("frames", spec_of(wildcards).loader),
        fps=lambda wildcards: fps_of(wildcards.corpus, BACKBONE_OF[wildcards.backbone]),
        max_frames=frames_of,
        allowed_failures=PARAMS.allowed_failures,
    message:
        "Keeping frames of {wildcards.corpus} for {wildcards.backbone}"
    shell:
        "exec env OMP_NUM_THREADS={threads} captionrl frames --backbone {params.backbone} --max-frames {params.max_frames}"
        " --raw data/{wildcards.corpus} --captions {params.captions} --out {output.store} --fps {params.fps}"
        " --allowed-failures {params.allowed_failures} --workers {threads} 2> >(trap '' TERM INT; exec tee {log} >&2)"
