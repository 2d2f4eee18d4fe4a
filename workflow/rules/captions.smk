"""What the rules ask of captions: how they are prepared, and where what is made of them is."""


def variants(corpus):
    """The variants of a corpus' captions that papers use, the one without a name first."""
    return sorted({paper.corpora[corpus].variant for paper in PAPERS.values() if corpus in paper.corpora})


def captions_of(corpus, variant):
    """The prepared captions of a corpus; rule captions makes them."""
    files = ["captions.parquet", "vocabulary.json", "metadata.json", *(f"splits/{split}.txt" for split in SPLITS)]
    return [f"work/{corpus}/captions{variant}/{file}" for file in files]


def captions_to_read(wildcards):
    """Those that a paper's runs read."""
    return captions_of(wildcards.corpus, PAPERS[wildcards.paper].corpora[wildcards.corpus].variant)


def captions_for_items(wildcards):
    """Those that features are made by, for which any will do: the items of all variants are the same."""
    return captions_of(wildcards.corpus, (variants(wildcards.corpus) or [""])[0])


def captions_shown(paper):
    """Their captions."""
    corpora = PAPERS[paper].corpora
    return [file for corpus in corpora_shown(paper) for file in captions_of(corpus, corpora[corpus].variant)]


def metadata_of(wildcards):
    """What the captions of a table's corpus say of themselves."""
    paper = PAPERS[wildcards.paper]
    corpus = paper.tables[wildcards.table].corpus
    return f"{folder(captions_of(corpus, paper.corpora[corpus].variant))}/metadata.json"


def segments_of(paper, corpus):
    return f"work/{corpus}/segments{paper.corpora[corpus].variant}/{paper.corpora[corpus].segmentation}.parquet"


def attributes_of(paper, corpus):
    return f"work/{corpus}/attributes{paper.corpora[corpus].variant}/{paper.corpora[corpus].tagger}.tsv"


def preparation(wildcards):
    """How captions are prepared, as options; in which papers that use the same captions must agree."""
    used = {
        name: paper.corpora[wildcards.corpus]
        for name, paper in PAPERS.items()
        if wildcards.corpus in paper.corpora and paper.corpora[wildcards.corpus].variant == wildcards.variant
    }
    ways = {
        name: f"--min-count {use.min_count} --counted {use.counted}" + ("" if use.punctuation else " --no-punctuation")
        for name, use in used.items()
    }
    if len(set(ways.values())) != 1:
        fix = "; give one of them a name of its own, captions: NAME" if ways else ""
        raise WorkflowError(f"papers/*/*.yaml: corpora.{wildcards.corpus}: captions: {ways or 'in no paper'}{fix}")
    return next(iter(ways.values()))


def captions_files(wildcards):
    """The list of captions of a corpus of the user's own. Where it has none, check-data says what is missing."""
    files = [Path("data", wildcards.corpus, name) for name in (JSONL, CSV)]
    return [] if is_known(wildcards.corpus) else [file for file in files if file.exists()]


def ours(check, place, **options):
    """No input, but an error for a file of the user's: Snakemake removes outputs before a command could refuse to."""
    try:
        check(place, **options)
    except UserError as error:
        raise WorkflowError(str(error)) from None
    return []


def downloads_of(wildcards):
    """The list of what was fetched or found of a data set; a corpus of the user's own has none."""
    return f"data/{wildcards.corpus}/downloads.json" if is_known(wildcards.corpus) else []


def folder(files):
    return Path(files[0]).parent
