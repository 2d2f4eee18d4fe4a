"""What the rules ask of the papers' YAML."""


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
    return f"--overrides '{json.dumps(overrides)}'" if overrides else ""
