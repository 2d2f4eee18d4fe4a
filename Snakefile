"""captionrl: from raw data to a paper's tables. `snakemake results/table1.csv`, or `snakemake hrl`."""

import json
import os
import re
import shlex
import sys
from dataclasses import asdict
from pathlib import Path

from snakemake.exceptions import WorkflowError

from captionrl.config import (
    BEAM_SET,
    GREEDY,
    LOOKAHEAD,
    RERANKED,
    BackbonePhase,
    find_papers,
    is_set,
    load_paper,
    load_params,
    split_system,
    stage_of,
    validate_params,
)
from captionrl.config.backbones import (
    FEATURES,
    FRAMES,
    MINI_WEIGHTS,
    RANDOM,
    Download,
    backbone_spec,
    file_name,
    given_weights,
    is_extracted,
)
from captionrl.datasets.corpus import SPLITS
from captionrl.datasets.download import check_record, plan
from captionrl.datasets.manifest import check_raw, manifest as downloads
from captionrl.datasets.own import CSV, JSONL
from captionrl.datasets.read import is_known
from captionrl.errors import UserError
from captionrl.evaluation.spice import spice_files
from captionrl.files import files_below, fingerprint
from captionrl.memory import available, oom_kills
from captionrl.provenance import code_version
from captionrl.tables.claims import has_claims

try:
    load_params()  # Snakemake's own reader would take the last of two equal keys, and names no file
except UserError as error:
    raise WorkflowError(str(error)) from None


configfile: "params.yaml"


if workflow.nodes is not None:
    # A cluster: the `cores: all` of profiles/default, this machine's, are no bound for the jobs of others.
    workflow.resource_settings.cores = workflow.global_resources["_cores"] = sys.maxsize

# Rules call `captionrl` of the environment that Snakemake itself runs in; in a container of their own, the container's.
shell.prefix(
    f'[ "$APPTAINER_CONTAINER" != {shlex.quote(os.environ.get("APPTAINER_CONTAINER", ""))} ]'
    f" || export PATH={shlex.quote(str(Path(sys.executable).parent))}:$PATH; set -euo pipefail; "
)

try:
    PARAMS = validate_params(config)
    PAPERS = {
        folder.name: load_paper(folder, PARAMS.scale, PARAMS.overrides.get(folder.name))
        for folder in find_papers(PARAMS.scale)
    }
    if strange := PARAMS.overrides.keys() - PAPERS.keys():
        raise UserError(f"params.yaml: overrides.{min(strange)}: no such paper; there are {', '.join(PAPERS)}")
except UserError as error:
    raise WorkflowError(str(error)) from None


container: PARAMS.container


ENOUGH = {"mini": 1.5e9, "laptop": 3.5e9}  # bytes of memory; trainings of hrl take up to 1.6 GB at the laptop scale
OOM_KILLS = oom_kills()
MORE_MEMORY = "Close other programs, give this more memory, or run one job at a time (--cores 1); then run the same command again."


onstart:
    # A pass of Snakemake 9's scheduler that heeds `max-jobs-per-timespan` (100 a second by default) starts a timer, which
    # starts another pass, and so on: after 300 jobs that is 200 threads, and half a core of this process.
    workflow.scheduler.job_rate_limiter = None
    # What the kernel kills has no last word; it may kill this process, too.
    if workflow.nodes is None and (there := available()) < ENOUGH.get(SCALE, 0):
        enough = (
            f"the {SCALE} scale takes up to {ENOUGH[SCALE] / 1e9} GB, two jobs at a time: the kernel may kill them"
        )
        print(f"There are {there / 1e9:.1f} GB of memory for this; {enough}. {MORE_MEMORY}", file=sys.stderr)


onerror:
    if workflow.nodes is None and (killed := oom_kills() - OOM_KILLS):
        print(
            f"Meanwhile the kernel of this machine killed {killed} process(es) for want of memory. {MORE_MEMORY}",
            file=sys.stderr,
        )


SCALE = PARAMS.scale
MINI = SCALE == "mini"
LAPTOP = SCALE in ("laptop", "own")  # small models of real data
SMALL = SCALE != "paper"  # jobs of a laptop's size


wildcard_constraints:
    corpus="[a-z0-9-]+",
    variant="(/[a-z0-9-]+)?",
    paper="|".join(PAPERS),
    run="[a-z0-9-]+",
    system=r"[a-z0-9-]+(\.(sample|beam-set|greedy|lookahead|reranked|stage[0-9]+))?",
    phase="[a-z0-9-]+",
    seed="[0-9]+",
    table="[a-z0-9-]+",


include: "workflow/rules/common.smk"
include: "workflow/rules/captions.smk"
include: "workflow/rules/backbones.smk"
include: "workflow/rules/data.smk"
include: "workflow/rules/features.smk"
include: "workflow/rules/train.smk"
include: "workflow/rules/tables.smk"
include: "workflow/rules/figures.smk"


localrules:
    all,


rule all:
    default_target: True
    input:
        [results_of(paper) for paper in PAPERS],


for paper_name in PAPERS:
    if workflow.is_rule(paper_name):
        raise WorkflowError(f"papers/{paper_name}: a rule of the workflow is so called; give the paper another name")

    rule:
        name:
            paper_name
        input:
            results_of(paper_name),
        localrule: True


for corpus_name in sorted({corpus for paper in PAPERS for corpus in corpora_of(paper)}):
    if workflow.is_rule(corpus_name.removesuffix("-mini")):
        raise WorkflowError(f"corpora.{corpus_name}: a rule, or a paper, is so called; give the corpus another name")

    rule:
        name:
            corpus_name.removesuffix("-mini")
        input:
            prepared(corpus_name),
        localrule: True


if "hrl" in PAPERS:

    rule copy_table:
        # The first paper's tables, where everybody maps first.
        input:
            f"results/{SCALE}/hrl/{{table}}.csv",
        output:
            "results/{table}.csv",
        log:
            "work/log/copy_table/{table}.log",
        localrule: True
        message:
            "{output} is {input}"
        shell:
            "cp {input} {output} 2> {log}"
