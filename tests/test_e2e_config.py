"""What papers/e2e may say: one clear line for every mistake about captioners with a CNN of their own."""

from pathlib import Path

import pytest

from captionrl.config import load_paper
from captionrl.config.phases import Augmentation
from captionrl.errors import UserError

E2E = Path(__file__).parents[1] / "papers/e2e"


def test_the_papers_own_numbers():
    paper = load_paper(E2E, "paper")
    sizes, step3 = paper.sizes_of("e2e", "msvd"), paper.phase_of("e2e", "msvd")
    assert (sizes.decoder, sizes.projection, sizes.embedding, sizes.attributes, sizes.dropout) == (
        1000,
        500,
        500,
        400,
        0.2,
    )
    assert (paper.corpora["msvd"].max_frames, paper.corpora["msvd"].max_words + 1, paper.beam) == (5, 35, 3)
    assert [paper.phases[name].learning_rate for name in ("xe", "rfc", "rfc-plus", "e2e")] == [1e-4, 1e-6, 1e-6, 1e-6]
    assert (paper.phases["scratch"].learning_rate, paper.phases["scratch"].cnn_rate) == (1e-6, 1)  # "for other methods"
    assert (step3.alpha, step3.per_word) == (0.95, True)
    assert [paper.phases[name].cnn_rate for name in ("xe", "rfc", "rfc-plus", "e2e")] == [0, 0, 0, 1]


def test_what_the_paper_does_not_print_is_as_in_its_authors_code():
    paper = load_paper(E2E, "paper")
    steps = [paper.phases[name] for name in ("xe", "rfc-plus", "e2e")]
    assert [step.epochs for step in steps] == [30, 30, 20]
    assert [step.batch * step.gradient_accumulation_steps for step in steps] == [64, 256, 32]
    assert [(step.clip, step.clip_norm) for step in steps] == [(None, 10), (None, 5), (None, 10)]
    assert [step.samples for step in steps[1:]] == [8, 8]
    assert not any(step.eos_in_reward for step in steps[1:])
    assert paper.corpora["msvd"].min_count == 1


def test_frames_are_varied_in_a_run_of_its_own_alone():
    paper = load_paper(E2E, "paper")
    plain = Augmentation()
    varied = [name for name, phase in paper.phases.items() if phase.augmentation != plain]
    assert varied == ["e2e-augmented"]
    same = paper.phases["e2e-augmented"].model_copy(update={"augmentation": plain})
    assert same == paper.phases["e2e"]


@pytest.mark.parametrize("scale", ["paper", "mini"])
def test_controls_have_the_updates_of_what_they_control(scale):
    paper = load_paper(E2E, scale)
    for corpus in paper.corpora:
        clips = {
            name: (phase := paper.phase_of(name, corpus)).epochs / phase.batch / phase.gradient_accumulation_steps
            for name in paper.phases
        }
        assert clips["xe-continued"] == clips["rfc"] == clips["rfc-plus"]
        assert clips["rfc-plus-continued"] == pytest.approx(clips["e2e"])


@pytest.mark.parametrize(
    ("overrides", "fault"),
    [
        (
            {"runs": {"s2vt": {"backbone": "mini"}}},
            "runs.s2vt: e2e has a CNN and needs frames, which mini on msvd does not give",
        ),
        ({"runs": {"s2vt": {"model": "s2vt", "phases": ["xe"]}}}, "xe cannot train s2vt, only e2e"),
        (
            {"phases": {"xe": {"augmentation": {"flip": True}}}},
            "phases.xe: augmentation: a frozen CNN sees every frame once",
        ),
        ({"phases": {"e2e": {"alpha": 2}}}, "phases.e2e.alpha"),
        ({"phases": {"e2e": {"samples": 0}}}, "phases.e2e.samples"),
        ({"phases": {"e2e": {"crop": 0.1}}}, "phases.e2e.crop: unknown key"),
        (
            {"figures": {"examples": {"table5": {"methods": [{"method": "a", "run": "s2vt"}]}}}},
            "figures.examples.table5.attributes: s2vt is not trained to predict any",
        ),
        ({"runs": {"s2vt": {"from": "e2e"}}}, "is a cycle of runs"),
    ],
)
def test_a_mistake_is_one_line_that_names_the_key(overrides, fault):
    with pytest.raises(UserError) as error:
        load_paper(E2E, "paper", overrides)
    assert fault in str(error.value)
    assert "\n" not in str(error.value)
