"""Media become features: the mini backbone's training, and extraction with any backbone."""


rule backbone:
    # At the paper scale backbones come with ImageNet weights instead: rule download_weights.
    input:
        raw="data/{corpus}/raw.json",
        captions=rules.captions.output,
    output:
        weights="work/{corpus}/backbone/mini.safetensors",
        provenance="work/{corpus}/backbone/mini.json",
        metrics="work/{corpus}/backbone/mini.metrics.jsonl",
        curve="work/{corpus}/backbone/mini.csv",
        board=directory("work/{corpus}/backbone/mini.tensorboard"),
    log:
        "work/log/backbone/{corpus}.log",
    benchmark:
        "work/benchmark/backbone/{corpus}.tsv"
    threads: 2
    resources:
        gpu=1,
        mem_mb=4000,
        runtime=60,
    params:
        code=code_version("backbone"),
    message:
        "Training the mini backbone on labelled frames of {wildcards.corpus}'s training clips"
    shell:
        "exec env OMP_NUM_THREADS={threads} captionrl backbone --raw data/{wildcards.corpus}"
        " --captions work/{wildcards.corpus}/captions --out {output.weights} --device {PARAMS.device}"
        " 2> >(tee {log} >&2)"


def weights_of(wildcards):
    if wildcards.backbone == "mini":
        return f"work/{wildcards.corpus}/backbone/mini.safetensors"
    return rules.download_weights.output[0]


def fps_of(wildcards):
    """Frames a second, in which papers that share a corpus and a backbone must agree."""
    rates = {
        paper.fps
        for paper in PAPERS.values()
        if wildcards.corpus in paper.corpora and paper.backbone == wildcards.backbone
    }
    if len(rates) != 1:
        raise WorkflowError(
            f"papers/*.yaml: fps of {wildcards.backbone} features of {wildcards.corpus}: {rates or 'in no paper'}"
        )
    return rates.pop()


rule features:
    input:
        raw="data/{corpus}/raw.json",
        captions=rules.captions.output,
        weights=weights_of,
    output:
        store="work/{corpus}/features/{backbone}.h5",
        manifest="work/{corpus}/features/{backbone}.json",
    log:
        "work/log/features/{corpus}-{backbone}.log",
    benchmark:
        "work/benchmark/features/{corpus}-{backbone}.tsv"
    threads: 2 if MINI else 8
    resources:
        gpu=1,
        mem_mb=2000 if MINI else 24000,
        runtime=30 if MINI else 24 * 60,
    params:
        code=code_version("features"),
        fps=fps_of,
        allowed_failures=PARAMS.allowed_failures,
    message:
        "Extracting {wildcards.backbone} features of {wildcards.corpus}"
    shell:
        "exec env OMP_NUM_THREADS={threads} captionrl features --backbone {wildcards.backbone} --weights {input.weights}"
        " --raw data/{wildcards.corpus} --captions work/{wildcards.corpus}/captions --out {output.store} --fps {params.fps}"
        " --allowed-failures {params.allowed_failures} --workers {threads} --device {PARAMS.device} 2> >(tee {log} >&2)"
