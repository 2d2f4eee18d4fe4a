"""What the rules ask of the papers' YAML."""

SET = 5  # captions of a set (SLE section 3.2)
SPICE = "data/tools/stanford-corenlp-full-2015-12-09.zip"
IMAGE_LISTS = {  # the images that the MSCOCO server scores captions of, by part of COCO
    "test2014": "data/{corpus}/annotations/image_info_test2014.json",
    "val2014": "data/{corpus}/annotations/captions_val2014.json",
}
CHECKPOINT = "checkpoints/{corpus}/{paper}/{run}/{phase}/seed{seed}.safetensors"


def results_of(paper):
    """A paper's tables and figures, but for those built on request only, and its numbers for DVC."""
    names = [*(["figures.html"] if PAPERS[paper].figures.names else []), "metrics.json"]
    for board in PAPERS[paper].leaderboards:
        # The test images are many, and of no other use: at the paper scale the server's files come on request.
        names += [f"{board}.csv", *(f"captions_{part}_{paper}_results.json" for part in IMAGE_LISTS if MINI)]
    return [*tables_of(paper), *(f"results/{SCALE}/{paper}/{name}" for name in names)]


def tables_of(paper):
    return [
        f"results/{SCALE}/{paper}/{name}.csv" for name, table in PAPERS[paper].tables.items() if not table.on_request
    ]


def corpora_of(paper):
    """The corpora of a paper's tables, but for those built on request only."""
    return {table.corpus for table in PAPERS[paper].tables.values() if not table.on_request}


def prepared(corpus):
    """A corpus ready to train on, for every paper with a table about it."""
    papers = [PAPERS[paper] for paper in PAPERS if corpus in corpora_of(paper)]
    features = {
        f"work/{corpus}/features/{file_name(name)}.json" for paper in papers for name in paper.backbones_of(corpus)
    }
    if MINI:  # as of results_of
        boards = [(paper, board) for paper in papers for board in paper.leaderboards.values() if board.corpus == corpus]
        features |= {
            f"work/{corpus}/features/{file_name(paper.backbone_of(corpus, board.run))}-test2014.json"
            for paper, board in boards
        }
    captions = {captions_of(corpus, paper.corpora[corpus].variant)[0] for paper in papers}
    segments = {
        segments_of(paper, corpus) for paper in papers if any(paper.needs_segments(p, corpus) for p in paper.phases)
    }
    attributes = {
        attributes_of(paper, corpus) for paper in papers if any(paper.needs_attributes(p, corpus) for p in paper.phases)
    }
    return sorted(captions | features | segments | attributes)


class MissingFiles:
    """In the message of the first download `{MISSING:{wildcards.corpus}}` is what all downloads of the plan have to
    fetch and which licences they need, looked up when the message is written.

    A parameter that says so would start the job again whenever it changed.
    """

    first = None

    def __format__(self, corpus):
        self.first = self.first or corpus
        if corpus != self.first:
            return ""
        downloads = [job for job in workflow.dag.needrun_jobs() if job.rule.name == "download_corpus"]
        corpora = sorted({job.wildcards.corpus for job in downloads})
        return "".join(f"\n    {line}" for line in plan({name: Path("data", name) for name in corpora}, PARAMS.accept))


MISSING = MissingFiles()


def overrides_option(paper):
    overrides = PARAMS.overrides.get(paper)
    return f"--overrides {shlex.quote(json.dumps(overrides))}" if overrides else ""


def manifest(paper, corpus, run):
    """The manifest of the features that a run sees of a corpus; its store lies beside it."""
    return f"work/{corpus}/features/{file_name(PAPERS[paper].backbone_of(corpus, run))}.json"


def store_of(manifest):
    """The feature store beside a manifest, or nothing where a job has none."""
    return str(manifest).replace(".json", ".h5")


def features_to_train(wildcards):
    """Likewise, for a phase that sees any."""
    model = PAPERS[wildcards.paper].model_of(wildcards.run)
    return [] if not model.captions else manifest(wildcards.paper, wildcards.corpus, wildcards.run)


def segments_to_train(wildcards):
    """Where the captions' segments end, for a phase that learns from it."""
    paper = PAPERS[wildcards.paper]
    needed = paper.needs_segments(wildcards.phase, wildcards.corpus)
    return segments_of(paper, wildcards.corpus) if needed else []


def attributes_to_train(wildcards):
    """The list of the attributes that a phase learns to predict."""
    paper = PAPERS[wildcards.paper]
    needed = paper.needs_attributes(wildcards.phase, wildcards.corpus)
    return attributes_of(paper, wildcards.corpus) if needed else []


def cnn_of(wildcards):
    """The backbone that is a captioner's own CNN, where a phase begins with its weights; nothing for all others."""
    paper = PAPERS[wildcards.paper]
    if not paper.model_of(wildcards.run).cnn or start_checkpoint(wildcards):
        return ""
    return paper.backbone_of(wildcards.corpus, wildcards.run)


def weights_to_train(wildcards):
    """The pre-trained weights of a captioner's own CNN, for its first phase."""
    backbone = cnn_of(wildcards)
    return weights_of_backbone(backbone) if backbone else []


def cnn_to_train(wildcards):
    """A hash of what a captioner's own CNN is."""
    paper = PAPERS[wildcards.paper]
    backbone = paper.backbone_of(wildcards.corpus, wildcards.run)
    return record_of(backbone_spec(backbone)) if paper.model_of(wildcards.run).cnn else ""


def most_attributes(wildcards):
    """How many attributes a corpus has at most, in which papers that mine them must agree."""
    papers = [paper for paper in PAPERS.values() if wildcards.corpus in paper.corpora]
    mining = [
        paper for paper in papers if any(paper.needs_attributes(phase, wildcards.corpus) for phase in paper.phases)
    ]
    predicting = [(paper, run) for paper in mining for run in paper.runs if paper.model_of(run).cnn]
    most = {paper.sizes_of(run, wildcards.corpus).attributes for paper, run in predicting}
    if len(most) != 1:
        raise WorkflowError(
            f"papers/*/*.yaml: sizes.attributes of {wildcards.corpus}: {most or 'in no paper'}; give one"
        )
    return most.pop()


def attributes_shown(paper):
    """The lists of the attributes that a paper's figures show."""
    facts = PAPERS[paper]
    corpora = {figure.corpus for figure in facts.figures.examples.values() if figure.attributes}
    return [attributes_of(facts, corpus) for corpus in sorted(corpora)]


def option(name, files):
    """`--name file …`, or nothing where a job has no such input."""
    return f"--{name} {files}" if files else ""


def start_checkpoint(wildcards):
    """The checkpoint a phase starts from: that of the phase before, or of the run it builds on; none for the first."""
    start = PAPERS[wildcards.paper].start_of(wildcards.run, wildcards.phase)
    if start is None:
        return []
    run, phase = start
    return CHECKPOINT.format(**{**dict(wildcards), "run": run, "phase": phase})


def run_of(wildcards):
    """The run whose weights a system has."""
    return split_system(wildcards.system)[0]


def last_checkpoints(wildcards):
    """The checkpoints whose captions are a system's, of every seed."""
    run, paper = run_of(wildcards), PAPERS[wildcards.paper]
    if run not in paper.runs:
        raise WorkflowError(f"papers/{paper.paper}: runs: no {run!r}; there are {', '.join(paper.runs)}")
    return checkpoints(wildcards, run)


def checkpoints(wildcards, run):
    """The last checkpoint of a run, of every seed."""
    phase = PAPERS[wildcards.paper].runs[run].phases[-1]
    place = {"corpus": wildcards.corpus, "paper": wildcards.paper, "run": run, "phase": phase}
    return [CHECKPOINT.format(**place, seed=seed) for seed in PARAMS.seeds]


def decoding_option(wildcards):
    paper, decoding = PAPERS[wildcards.paper], split_system(wildcards.system)[1]
    normalised = " --length-normalised" if paper.length_normalised else ""
    if is_set(wildcards.system):
        return f"--set {decoding} --size {SET}" + (normalised if decoding == BEAM_SET else "")
    if decoding == GREEDY:
        return "--beam 1"
    if decoding == LOOKAHEAD:
        return f"--beam {paper.beam} --look-ahead {paper.look_ahead}"
    if decoding == RERANKED:
        return f"--beam {paper.beam}{normalised} --rerank"
    stage = stage_of(wildcards.system)
    return f"--beam {paper.beam}{normalised}" + ("" if stage is None else f" --stage {stage}")


def is_shown(metric, wildcards):
    """Whether a table shows this metric of a system."""
    paper = PAPERS[wildcards.paper]
    return any(
        table.corpus == wildcards.corpus and metric in table.metrics and wildcards.system in paper.systems_of(name)
        for name, table in paper.tables.items()
    )


def spice_models(wildcards):
    """What SPICE parses with, if it is there; a table without it says so."""
    return list(map(str, spice_files(Path(SPICE)))) if is_shown("SPICE", wildcards) else []


def spice_option(wildcards):
    return f"--spice {SPICE}" if is_shown("SPICE", wildcards) else ""


def reward_models(wildcards):
    """Of the metric Embedding: the checkpoints, of the same seeds, whose embedding scores a system's captions."""
    return checkpoints(wildcards, PAPERS[wildcards.paper].reward_model) if is_shown("Embedding", wildcards) else []


def reward_model_features(wildcards):
    """The manifest of the features that the reward model was trained on."""
    return (
        manifest(wildcards.paper, wildcards.corpus, PAPERS[wildcards.paper].reward_model)
        if reward_models(wildcards)
        else []
    )


def reward_model_methods(wildcards):
    """Where the reward model's class is."""
    paper = PAPERS[wildcards.paper]
    return paper.methods_of(paper.reward_model) if reward_models(wildcards) else ()


def scores_of(wildcards):
    paper = PAPERS[wildcards.paper]
    if wildcards.table not in paper.tables:
        raise WorkflowError(f"papers/{paper.paper}: tables: no {wildcards.table}; there are {', '.join(paper.tables)}")
    return expand(
        "work/{corpus}/scores/{paper}/{run}/seed{seed}.json",
        corpus=paper.tables[wildcards.table].corpus,
        paper=paper.paper,
        run=paper.systems_of(wildcards.table),
        seed=PARAMS.seeds,
    )


def leaderboard_of(paper):
    boards = PAPERS[paper].leaderboards
    if not boards:
        raise WorkflowError(f"papers/{paper}: leaderboards: has none, so there is nothing to submit")
    return next(iter(boards.values()))


def submitted_checkpoint(wildcards):
    """The checkpoint, of the first seed, whose captions the server is sent."""
    paper, board = PAPERS[wildcards.paper], leaderboard_of(wildcards.paper)
    phase = paper.runs[board.run].phases[-1]
    return CHECKPOINT.format(corpus=board.corpus, paper=paper.paper, run=board.run, phase=phase, seed=PARAMS.seeds[0])


def submitted_features(wildcards):
    """The manifest of the features of the images it describes: those of val2014 are the corpus' own."""
    board = leaderboard_of(wildcards.paper)
    own = manifest(wildcards.paper, board.corpus, board.run)
    return own if wildcards.part == "val2014" else own.replace(".json", f"-{wildcards.part}.json")


def curves_of(paper):
    """The validation curves, of all seeds, that a paper's figures show."""
    facts = PAPERS[paper]
    phases = {(corpus, *phase) for corpus, run in facts.figures.learners for phase in facts.lineage(run)}
    path = CHECKPOINT.replace(".safetensors", ".csv")
    return [
        path.format(corpus=corpus, paper=paper, run=run, phase=phase, seed=seed)
        for corpus, run, phase in sorted(phases)
        for seed in PARAMS.seeds
    ]


def captioners_of(paper):
    """The checkpoints, of the first seed, that figures of test items need."""
    facts = PAPERS[paper]
    return [
        CHECKPOINT.format(corpus=corpus, paper=paper, run=run, phase=facts.runs[run].phases[-1], seed=PARAMS.seeds[0])
        for corpus, run in facts.figures.captioners
    ]


def corpora_shown(paper):
    """The corpora of which a paper's figures show items."""
    figures = PAPERS[paper].figures
    return sorted({corpus for corpus, _ in [*figures.captioners, *figures.predicted]})


def features_shown(paper):
    """The manifests of the features of the items that a paper's figures show."""
    figures = PAPERS[paper].figures
    shown = [(corpus, split_system(system)[0]) for corpus, system in [*figures.captioners, *figures.predicted]]
    return sorted({manifest(paper, corpus, run) for corpus, run in shown})


def predictions_shown(paper):
    """The predictions, of the first seed, that a paper's figures show."""
    return [
        f"work/{corpus}/predictions/{paper}/{system}/seed{PARAMS.seeds[0]}.json"
        for corpus, system in PAPERS[paper].figures.predicted
    ]


def tables_drawn(paper):
    """The tables whose numbers a paper's figures draw, each once."""
    return sorted({figure.table for figure in PAPERS[paper].figures.tradeoffs.values()})


def methods_shown(paper):
    """The models that figures of test items need, and the rewards that they compute."""
    facts = PAPERS[paper]
    models = {method for _, run in facts.figures.captioners for method in facts.methods_of(run)}
    rewarded = ((facts.runs[run].phases[-1], corpus) for corpus, run in facts.figures.rewarded)
    return sorted(models.union(*(facts.rewards_of(*which).values() for which in rewarded)))
