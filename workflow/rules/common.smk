"""What the rules ask of the papers' YAML."""

CHECKPOINT = "checkpoints/{corpus}/{paper}/{run}/{phase}/seed{seed}.safetensors"


def tables_of(paper):
    return [f"results/{SCALE}/{paper}/{table}.csv" for table in PAPERS[paper].tables]


def min_count(wildcards):
    """The corpus' count threshold; papers that share a corpus share its vocabulary."""
    counts = {
        name: paper.corpora[wildcards.corpus].min_count
        for name, paper in PAPERS.items()
        if wildcards.corpus in paper.corpora
    }
    if len(set(counts.values())) != 1:
        raise WorkflowError(
            f"papers/*.yaml: corpora.{wildcards.corpus}.min_count: {counts or 'in no paper'}; must be one number"
        )
    return next(iter(counts.values()))


def overrides_option(wildcards):
    overrides = PARAMS.overrides.get(wildcards.paper)
    return f"--overrides {shlex.quote(json.dumps(overrides))}" if overrides else ""


def weights_of(wildcards):
    if wildcards.backbone == "mini":
        return rules.backbone.output.weights
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


def start_checkpoint(wildcards):
    """The checkpoint a phase starts from: that of the phase before, or of the run it builds on; none for the first."""
    start = PAPERS[wildcards.paper].start_of(wildcards.run, wildcards.phase)
    if start is None:
        return []
    run, phase = start
    return CHECKPOINT.format(**{**dict(wildcards), "run": run, "phase": phase})


def last_checkpoint(wildcards):
    phase = PAPERS[wildcards.paper].runs[wildcards.run].phases[-1]
    return CHECKPOINT.format(**dict(wildcards), phase=phase)


def scores_of(wildcards):
    paper = PAPERS[wildcards.paper]
    if wildcards.table not in paper.tables:
        raise WorkflowError(f"papers/{paper.paper}.yaml: has no {wildcards.table}; there are {', '.join(paper.tables)}")
    table = paper.tables[wildcards.table]
    runs = dict.fromkeys([*(row.run for row in table.rows if row.run), table.baseline, table.control])
    return expand(
        "work/{corpus}/scores/{paper}/{run}/seed{seed}.json",
        corpus=table.corpus,
        paper=paper.paper,
        run=runs,
        seed=PARAMS.seeds,
    )
