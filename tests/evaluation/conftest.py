import random

import pytest


@pytest.fixture(scope="session")
def corpus() -> tuple[dict[str, list[str]], dict[str, str]]:
    """Raw references and hypotheses of 40 items, with all that may trip a metric: an empty hypothesis, one equal to a
    reference, one without a common word, repeated words, 1 to 6 references, punctuation, METEOR's own separator."""
    draw = random.Random(1)
    words = ["a", "A", "the", "man", "woman", "dog", "cat", "runs", "running", "ran", "over", "quickly", "on", "street"]
    words += ["car", ",", ".", "-", "isn't"]

    def sentence() -> str:
        return " ".join(draw.choices(words, k=draw.randint(1, 14)))

    references = {f"video{i}": [sentence() for _ in range(draw.randint(1, 6))] for i in range(40)}
    hypotheses = {id: sentence() for id in references}
    hypotheses |= {"video3": "", "video4": references["video4"][0], "video5": "zyx wvu", "video6": "the the the the"}
    hypotheses |= {"video7": "...", "video8": "a man ||| a dog"}
    references["video9"][0] = "a ||| man"
    return references, hypotheses
