"""Papers on one corpus may prepare its captions each in its own way."""

import json
import re

ONE_SEED = "seeds=[1]"


def options_of(plan, command):
    """Every shell line of a command that has captions, as its folder and the line."""
    return {re.search(r"(?:--captions|--out) (\S+)", line)[1]: line for line in lines_of(plan, command)}


def lines_of(plan, command):
    return [" ".join(words) for words in plan.commands[command]]


def test_each_paper_has_the_vocabulary_that_it_says(project):
    plan = project.plan("--printshellcmds", "sle", "stackcap", config=("scale=paper", ONE_SEED))
    prepared = options_of(plan, "corpus")
    assert prepared.keys() == {"work/coco/captions/plain", "work/coco/captions/karpathy", "work/tgif/captions"}
    assert "--min-count 5 --counted train --no-punctuation" in prepared["work/coco/captions/plain"]
    assert "--min-count 6 --counted all --no-punctuation" in prepared["work/coco/captions/karpathy"]
    for command in ("train", "predict", "evaluate"):
        for line in lines_of(plan, command):
            if "/tgif/" not in line:
                own = "karpathy" if "stackcap" in line else "plain"
                assert f"--captions work/coco/captions/{own} " in line
    of_coco = [line for line in lines_of(plan, "features") if "tgif" not in line]
    assert all("--captions work/coco/captions/karpathy " in line for line in of_coco)  # any will do
    tables = lines_of(plan, "table")
    assert {re.search(r"--metadata (\S+)", line)[1] for line in tables if "stackcap/" in line} == {
        "work/coco/captions/karpathy/metadata.json"
    }


def test_segments_and_attributes_are_of_a_papers_own_captions(project):
    config = "overrides=" + json.dumps({"hrl": {"corpora": {"msrvtt": {"captions": "mine"}}}}, separators=(",", ":"))
    plan = project.plan("--printshellcmds", "results/mini/hrl/table1.csv", config=(ONE_SEED, config))
    (line,) = lines_of(plan, "segment")
    assert "--captions work/msrvtt-mini/captions/mine " in line
    assert "--out work/msrvtt-mini/segments/mine/grammar.parquet" in line


def test_papers_that_use_the_same_captions_must_agree(project):
    config = "overrides=" + json.dumps({"hrl": {"corpora": {"msrvtt": {"min_count": 4}}}}, separators=(",", ":"))
    status, output = project.snakemake("-n", "results/paper/hrl/table1.csv", config=("scale=paper", config))
    assert status != 0
    assert "papers/*/*.yaml: corpora.msrvtt: captions: {" in output
    assert "'hrl': '--min-count 4 --counted train'" in output
    assert "give one of them a name of its own, captions: NAME" in output
