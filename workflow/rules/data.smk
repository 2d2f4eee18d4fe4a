"""Raw data: rendered, or checked where the user put it; captions, vocabulary and split lists."""


localrules:
    check_data,
    download_weights,
    download_corenlp,


rule render:
    output:
        "data/{corpus}-mini/raw.json",
    log:
        "work/log/render/{corpus}-mini.log",
    benchmark:
        "work/benchmark/render/{corpus}-mini.tsv"
    threads: 2
    resources:
        mem_mb=2000,
        runtime=30,
    params:
        code=code_version("render"),
    message:
        "Rendering {wildcards.corpus}-mini, the mini world in {wildcards.corpus}'s own file formats"
    shell:
        "exec captionrl render {wildcards.corpus}-mini --raw data/{wildcards.corpus}-mini --workers {threads} 2> >(trap '' TERM INT; exec tee {log} >&2)"


rule check_data:
    input:
        captions_files,
    output:
        "data/{corpus}/raw.json",
    log:
        "work/log/check_data/{corpus}.log",
    params:
        code=code_version("check-data"),
    message:
        "Checking that the files of {wildcards.corpus} are in data/{wildcards.corpus}{MISSING:data/{wildcards.corpus}/}"
    shell:
        "exec captionrl check-data {wildcards.corpus} --raw data/{wildcards.corpus} 2> >(trap '' TERM INT; exec tee {log} >&2)"


ruleorder: render > check_data


rule download_weights:
    output:
        "data/weights/{weights}.pth",
    log:
        "work/log/download/{weights}.log",
    message:
        "Fetching the ImageNet weights {wildcards.weights}"
    shell:
        "exec captionrl download weights {wildcards.weights}.pth --into data/weights 2> >(trap '' TERM INT; exec tee {log} >&2)"


rule download_corenlp:
    # 4.4.0 cuts captions into segments; the metric SPICE parses with full-2015-12-09.
    output:
        "data/tools/stanford-corenlp-{version}.zip",
    log:
        "work/log/download/corenlp-{version}.log",
    message:
        "Fetching Stanford CoreNLP {wildcards.version}"
    shell:
        "exec captionrl download tools stanford-corenlp-{wildcards.version}.zip --into data/tools 2> >(trap '' TERM INT; exec tee {log} >&2)"


rule captions:
    input:
        "data/{corpus}/raw.json",
        captions_files,
    output:
        captions="work/{corpus}/captions/captions.parquet",
        vocabulary="work/{corpus}/captions/vocabulary.json",
        metadata="work/{corpus}/captions/metadata.json",
        splits=expand("work/{{corpus}}/captions/splits/{split}.txt", split=["train", "val", "test"]),
    log:
        "work/log/captions/{corpus}.log",
    benchmark:
        "work/benchmark/captions/{corpus}.tsv"
    resources:
        mem_mb=4000,
        runtime=30,
    params:
        code=code_version("corpus"),
        min_count=min_count,
        out=lambda wildcards, output: Path(output.captions).parent,
    message:
        "Reading and tokenising the captions of {wildcards.corpus}"
    shell:
        "exec captionrl corpus {wildcards.corpus} --raw data/{wildcards.corpus} --min-count {params.min_count}"
        " --out {params.out} 2> >(trap '' TERM INT; exec tee {log} >&2)"


rule segments:
    input:
        captions=rules.captions.output,
        corenlp=lambda wildcards: "data/tools/stanford-corenlp-4.4.0.zip" if wildcards.backend == "corenlp" else [],
    output:
        segments="work/{corpus}/segments/{backend}.parquet",
        record="work/{corpus}/segments/{backend}.json",
    log:
        "work/log/segments/{corpus}-{backend}.log",
    benchmark:
        "work/benchmark/segments/{corpus}-{backend}.tsv"
    threads: lambda wildcards: 8 if wildcards.backend == "corenlp" else 1
    resources:
        mem_mb=lambda wildcards: 8000 if wildcards.backend == "corenlp" else 2000,
        runtime=lambda wildcards: 6 * 60 if wildcards.backend == "corenlp" else 15,
    params:
        code=code_version("segment"),
        corenlp=lambda wildcards, input: option("corenlp", input.corenlp),
    message:
        "Cutting the captions of {wildcards.corpus} into segments ({wildcards.backend})"
    shell:
        "exec captionrl segment --captions work/{wildcards.corpus}/captions --backend {wildcards.backend} {params.corenlp}"
        " --workers {threads} --out {output.segments} 2> >(trap '' TERM INT; exec tee {log} >&2)"


rule attributes:
    input:
        captions=rules.captions.output,
        corenlp=lambda wildcards: "data/tools/stanford-corenlp-4.4.0.zip" if wildcards.tagger == "corenlp" else [],
    output:
        "work/{corpus}/attributes/{tagger}.tsv",
    log:
        "work/log/attributes/{corpus}-{tagger}.log",
    benchmark:
        "work/benchmark/attributes/{corpus}-{tagger}.tsv"
    threads: lambda wildcards: 8 if wildcards.tagger == "corenlp" else 1
    resources:
        mem_mb=lambda wildcards: 8000 if wildcards.tagger == "corenlp" else 2000,
        runtime=lambda wildcards: 6 * 60 if wildcards.tagger == "corenlp" else 15,
    params:
        code=code_version("attributes"),
        corenlp=lambda wildcards, input: option("corenlp", input.corenlp),
        max_attributes=most_attributes,
    message:
        "Listing the attributes of {wildcards.corpus} ({wildcards.tagger})"
    shell:
        "exec captionrl attributes --captions work/{wildcards.corpus}/captions --tagger {wildcards.tagger} {params.corenlp}"
        " --max-attributes {params.max_attributes} --workers {threads} --out {output} 2> >(trap '' TERM INT; exec tee {log} >&2)"
