"""What the rules ask of backbones: their weights, and the features that they make or that users have."""

EXTRACTION_PRECISION = "" if PARAMS.extraction_precision == "float32" else f"--precision {PARAMS.extraction_precision}"
BACKBONE_OF = {  # the backbone of a feature file, by its name
    file_name(backbone): backbone
    for backbone in [
        *FEATURES,
        *(
            paper.backbone_of(corpus, run)
            for paper in PAPERS.values()
            for corpus in paper.corpora
            for run in paper.runs
        ),
    ]
}
KEPT = [name for name in BACKBONE_OF if name.endswith(FRAMES)]
EXTRACTED = [name for name in BACKBONE_OF if is_extracted(BACKBONE_OF[name])]


def spec_of(wildcards):
    """The record of the backbone whose features or frames a file is of."""
    return backbone_spec(BACKBONE_OF[wildcards.backbone])


def weights_of(wildcards):
    return weights_of_backbone(BACKBONE_OF[wildcards.backbone])


def weights_of_backbone(backbone):
    """The file of a backbone's weights; none where a package brings them or they are random."""
    given, source = given_weights(backbone, PARAMS.weights), backbone_spec(backbone).weights
    if given:
        return [] if given == RANDOM else given
    if isinstance(source, Download):
        return str(source.path)
    if source is None:
        raise WorkflowError(f"params.yaml: weights: none of {backbone}; add `{backbone}: FILE` (a test: {RANDOM})")
    trained = source == MINI_WEIGHTS and PARAMS.mini_backbone == "trained"
    return rules.backbone.output.weights if trained else []


def weights_option(backbone, files):
    """The option of a command that takes them."""
    random = given_weights(backbone, PARAMS.weights) == RANDOM
    return f"--weights {RANDOM}" if random else option("weights", files and shlex.quote(str(files)))


def weights_without_file(backbone):
    """The digest of the weights that a package brings, or that they are random; nothing where a file has them.

    Of no `input`, which Snakemake leaves out when it asks whether parameters have changed.
    """
    if weights_of_backbone(backbone):
        return ""
    return given_weights(backbone, PARAMS.weights) or backbone_spec(backbone).weights.sha256[:16]


def record_of(spec):
    """A hash of what decides features but code and weights."""
    return fingerprint(asdict(spec))


def frames_of(wildcards):
    """Frames of an item that are kept; papers that share a frame store must agree."""
    corpus = wildcards.corpus
    return agreed("max_frames", corpus, BACKBONE_OF[wildcards.backbone], lambda paper: paper.corpora[corpus].max_frames)


def fps_of(corpus, backbone):
    """Frames a second."""
    return agreed("fps", corpus, backbone, lambda paper: paper.fps)


def agreed(what, corpus, backbone, value):
    """A value in which papers that share a corpus and a backbone must agree."""
    values = {
        value(paper)
        for paper in PAPERS.values()
        if corpus in paper.corpora and backbone in (paper.backbone_of(corpus, run) for run in paper.runs)
    }
    if len(values) != 1:
        raise WorkflowError(f"papers/*/*.yaml: {what} of {backbone} features of {corpus}: {values or 'in no paper'}")
    return values.pop()


def imported(wildcards):
    """What params.yaml says of features that the user has."""
    if wildcards.name not in PARAMS.features:
        fix = f"add `features: {{{wildcards.name}: PATH}}`"
        raise WorkflowError(f"params.yaml: features: no {wildcards.name!r}, the path of own:{wildcards.name}; {fix}")
    return PARAMS.features[wildcards.name].of(wildcards.corpus)


def import_options(wildcards):
    """The options of `captionrl features-import` that params.yaml sets."""
    found = imported(wildcards)
    options = {"fps": found.fps, "grid": found.grid, "key": found.key, "ids": found.ids, "ids-file": found.ids_file}
    return " ".join(f"--{name} {shlex.quote(str(value))}" for name, value in options.items() if value)


def stamp(folder):
    """Changes when a file in a folder does: Snakemake looks at the folder itself only.

    Of wildcards alone, not of `input`: parameters that are made of that start no job again.
    """
    facts = [[str(path), path.stat().st_size, path.stat().st_mtime_ns] for path in files_below(Path(folder))]
    return fingerprint(facts)
