"""Raw data: rendered, or checked where the user put it; captions, vocabulary and split lists."""


localrules:
    check_data,
    download_corpus,
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


rule download_corpus:
    # Not of a corpus of the user's own. What is in data/{corpus} already is used as it is.
    input:
        lambda wildcards: ours(check_record, Path("data", wildcards.corpus, "downloads.json")),
    output:
        "data/{corpus}/downloads.json",
    log:
        "work/log/download/{corpus}.log",
    params:
        # Of `input`, and so no reason to run again: what is fetched stays, whatever is accepted or allowed later.
        accept=lambda wildcards, input: f"--accept {' '.join(PARAMS.accept)}" if PARAMS.accept else "",
        allowed_failures=lambda wildcards, input: PARAMS.allowed_failures,
    message:
        "Fetching the files of {wildcards.corpus} into data/{wildcards.corpus}{MISSING:{wildcards.corpus}}"
    shell:
        "exec captionrl download {wildcards.corpus} --into data/{wildcards.corpus} --record {output} {params.accept}"
        " --allowed-failures {params.allowed_failures} 2> >(trap '' TERM INT; exec tee {log} >&2)"


rule check_data:
    input:
        lambda wildcards: ours(check_raw, Path("data", wildcards.corpus), gone=True),
        downloads_of,
        captions_files,
    output:
        "data/{corpus}/raw.json",
    log:
        "work/log/check_data/{corpus}.log",
    params:
        code=code_version("check-data"),
        allowed_failures=lambda wildcards, input: PARAMS.allowed_failures,
    message:
        "Checking that the files of {wildcards.corpus} are in data/{wildcards.corpus}"
    shell:
        "exec captionrl check-data {wildcards.corpus} --raw data/{wildcards.corpus}"
        " --allowed-failures {params.allowed_failures} 2> >(trap '' TERM INT; exec tee {log} >&2)"


ruleorder: render > check_data


rule download_weights:
    output:
        "data/weights/{weights}.pth",
    log:
        "work/log/download/{weights}.log",
    wildcard_constraints:
        weights="|".join(re.escape(Path(entry.into).stem) for entry in downloads().get("weights", [])) or "none",
    message:
        "Fetching the ImageNet weights {wildcards.weights}"
    shell:
        "exec captionrl download weights --only {wildcards.weights}.pth --into data/weights 2> >(trap '' TERM INT; exec tee {log} >&2)"


rule download_corenlp:
    # 4.4.0 cuts captions into segments; the metric SPICE parses with full-2015-12-09.
    output:
        "data/tools/stanford-corenlp-{version}.zip",
    log:
        "work/log/download/corenlp-{version}.log",
    message:
        "Fetching Stanford CoreNLP {wildcards.version}"
    shell:
        "exec captionrl download tools --only stanford-corenlp-{wildcards.version}.zip --into data/tools 2> >(trap '' TERM INT; exec tee {log} >&2)"


rule captions:
    input:
        "data/{corpus}/raw.json",
        captions_files,
    output:
        captions_of("{corpus}", "{variant}"),
    log:
        "work/log/captions/{corpus}{variant}.log",
    benchmark:
        "work/benchmark/captions/{corpus}{variant}.tsv"
    resources:
        mem_mb=4000,
        runtime=30,
    params:
        code=code_version("corpus"),
        preparation=preparation,
        out=lambda wildcards, output: folder(output),
    message:
        "Reading and tokenising the captions of {wildcards.corpus}: {params.out}"
    shell:
        "exec captionrl corpus {wildcards.corpus} --raw data/{wildcards.corpus} {params.preparation}"
        " --out {params.out} 2> >(trap '' TERM INT; exec tee {log} >&2)"


rule segments:
    input:
        captions=rules.captions.output,
        corenlp=lambda wildcards: "data/tools/stanford-corenlp-4.4.0.zip" if wildcards.backend == "corenlp" else [],
    output:
        segments="work/{corpus}/segments{variant}/{backend}.parquet",
        record="work/{corpus}/segments{variant}/{backend}.json",
    log:
        "work/log/segments/{corpus}{variant}-{backend}.log",
    benchmark:
        "work/benchmark/segments/{corpus}{variant}-{backend}.tsv"
    threads: lambda wildcards: 8 if wildcards.backend == "corenlp" else 1
    resources:
        mem_mb=lambda wildcards: 8000 if wildcards.backend == "corenlp" else 2000,
        runtime=lambda wildcards: 6 * 60 if wildcards.backend == "corenlp" else 15,
    params:
        code=code_version("segment"),
        captions=lambda wildcards, input: folder(input.captions),
        corenlp=lambda wildcards, input: option("corenlp", input.corenlp),
    message:
        "Cutting the captions of {wildcards.corpus} into segments ({wildcards.backend})"
    shell:
        "exec captionrl segment --captions {params.captions} --backend {wildcards.backend} {params.corenlp}"
        " --workers {threads} --out {output.segments} 2> >(trap '' TERM INT; exec tee {log} >&2)"


rule attributes:
    input:
        captions=rules.captions.output,
        corenlp=lambda wildcards: "data/tools/stanford-corenlp-4.4.0.zip" if wildcards.tagger == "corenlp" else [],
    output:
        "work/{corpus}/attributes{variant}/{tagger}.tsv",
    log:
        "work/log/attributes/{corpus}{variant}-{tagger}.log",
    benchmark:
        "work/benchmark/attributes/{corpus}{variant}-{tagger}.tsv"
    threads: lambda wildcards: 8 if wildcards.tagger == "corenlp" else 1
    resources:
        mem_mb=lambda wildcards: 8000 if wildcards.tagger == "corenlp" else 2000,
        runtime=lambda wildcards: 6 * 60 if wildcards.tagger == "corenlp" else 15,
    params:
        code=code_version("attributes"),
        captions=lambda wildcards, input: folder(input.captions),
        corenlp=lambda wildcards, input: option("corenlp", input.corenlp),
        max_attributes=most_attributes,
    message:
        "Listing the attributes of {wildcards.corpus} ({wildcards.tagger})"
    shell:
        "exec captionrl attributes --captions {params.captions} --tagger {wildcards.tagger} {params.corenlp}"
        " --max-attributes {params.max_attributes} --workers {threads} --out {output} 2> >(trap '' TERM INT; exec tee {log} >&2)"
