"""The decoder protocol as checks of a captioner: what training and decoding rely on.

`captionrl check-model MODULE:NAME` runs them on a model of your own, the tests of this package on each of its models. A
check takes a policy that is exact (float64, in evaluation mode) and reads toy clips and words, few enough that every
caption can be enumerated; it raises AssertionError. docs/architecture.md, "Contracts", says what each is about.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from copy import deepcopy
from itertools import product
from pathlib import Path
from traceback import extract_tb
from typing import Any

import torch
from pydantic import ValidationError
from torch import Tensor
from torch.nn.functional import pad
from torch.testing import assert_close

from captionrl.config import complaint, model_spec
from captionrl.decoding.beam import beam_search
from captionrl.decoding.distribution import log_probabilities
from captionrl.decoding.rollout import Rollout, greedy, sample
from captionrl.errors import UserError
from captionrl.models import Features, Policy, TensorBatch, build_module
from captionrl.models.policy import shift
from captionrl.objectives.xe import xe_loss
from captionrl.text.vocabulary import EOS, PAD, UNK

FEATURE = 6  # width of a frame's feature
VOCABULARY = 7  # the four specials and three words
MAX_TOKENS = 3  # so there are 40 captions: 13 that end, and 27 cut off before their </s>
CAPTIONS = torch.tensor([[4, 5, 6, 4, EOS], [6, EOS, PAD, PAD, PAD], [5, UNK, 4, EOS, PAD]])  # of three clips
LENGTHS = (4, 1, 3)  # frames of these clips


def toy_clips(*lengths: int, seed: int = 1) -> list[Tensor]:
    """Clips of so many frames [N, D]."""
    generator = torch.Generator().manual_seed(seed)
    return [torch.randn(length, FEATURE, generator=generator, dtype=torch.float64) for length in lengths]


def batch(clips: Sequence[Tensor], extra: int = 0, filler: float = 0.0) -> Features:
    """Clips as one batch, padded with `filler` to `extra` frames more than the longest of them has."""
    longest = max(map(len, clips)) + extra
    frames = torch.stack([pad(clip, (0, 0, 0, longest - len(clip)), value=filler) for clip in clips])
    mask = torch.stack([torch.arange(longest) < len(clip) for clip in clips])
    return Features(frames, mask)


def every_caption(max_tokens: int = MAX_TOKENS, vocabulary: int = VOCABULARY) -> Tensor:
    """All captions that can be written in `max_tokens` tokens [C, T]: ended by </s>, or cut."""
    words, captions = range(UNK + 1, vocabulary), []
    for length in range(max_tokens):
        captions += [[*caption, EOS] for caption in product(words, repeat=length)]
    captions += [list(caption) for caption in product(words, repeat=max_tokens)]
    return torch.tensor([caption + [PAD] * (max_tokens - len(caption)) for caption in captions])


def word_log_probs(policy: Policy, memory: TensorBatch, tokens: Tensor) -> Tensor:
    """Teacher-forced log-probabilities [B, T] of the words of `tokens`, zero on padding."""
    log_p = log_probabilities(policy.teacher_forcing(tokens, memory))
    return log_p.gather(-1, tokens.unsqueeze(-1)).squeeze(-1).masked_fill(tokens == PAD, 0)


def gradients(scalar: Tensor, policy: Policy) -> tuple[Tensor, ...]:
    """Of every parameter that learns; zero of those that `scalar` says nothing about. The graph stays."""
    learning = [parameter for parameter in policy.parameters() if parameter.requires_grad]
    return torch.autograd.grad(scalar, learning, retain_graph=True, materialize_grads=True)


def records_are_of_tensors_that_rows_select(policy: Policy) -> None:
    """Memory, state and extras: frozen dataclasses derived from TensorBatch, tensors with a leading batch axis."""
    memory = policy.encode(batch(toy_clips(*LENGTHS)))
    start = policy.start(memory)
    step = policy.step(memory.first_words(), start, memory)
    rows = torch.tensor([2, 0, 2])
    records = {"memory": memory, "first state": start, "state": step.state, "extras": step.extras}
    for name, record in records.items():
        for value in _leaves(record):
            what = f"shape {list(value.shape)}" if isinstance(value, Tensor) else type(value).__name__
            _require(isinstance(value, Tensor) and value.shape[:1] == (3,), f"{name} of 3 rows has a value of {what}")
        for value, chosen in zip(_leaves(record), _leaves(record.select(rows)), strict=True):
            _require(torch.equal(chosen, value[rows]), f"{name}.select does not take these rows")


def extras_keep_their_shape(policy: Policy) -> None:
    """What steps show is stacked over a caption's words, so every step shows the same, in the same shape."""
    memory = policy.encode(batch(toy_clips(*LENGTHS)))
    state, steps = policy.start(memory), []
    for words in (memory.first_words(), torch.tensor([4, 5, 6]), torch.tensor([5, 5, 4])):
        step = policy.step(words, state, memory)
        state = step.state
        steps.append(step.extras)
    for time, step_extras in enumerate(steps):
        for whole, part in zip(_leaves(type(steps[0]).stack(steps)), _leaves(step_extras), strict=True):
            _require(torch.equal(whole[:, time], part), f"extras of step {time} are stacked wrongly")


def rows_may_be_reordered(policy: Policy) -> None:
    """A step of selected rows, as beam search has them, equals the selected rows of a step."""
    memory, rows, words = policy.encode(batch(toy_clips(*LENGTHS))), torch.tensor([2, 0, 2]), torch.tensor([4, 5, 6])
    before = policy.step(memory.first_words(), policy.start(memory), memory).state
    after = policy.step(words, before, memory)
    chosen = policy.step(words[rows], before.select(rows), memory.select(rows))
    assert_close(chosen.logits, after.logits[rows])
    assert_close(_leaves(chosen.state), _leaves(after.state.select(rows)))


def stepping_equals_teacher_forcing(policy: Policy) -> None:
    """Word by word or all at once, in float64 and in float32."""
    for dtype, tolerance in ((torch.float64, 1e-10), (torch.float32, 1e-5)):
        exact = deepcopy(policy).to(dtype)
        memory = exact.encode(batch([clip.to(dtype) for clip in toy_clips(*LENGTHS)]))
        state, columns = exact.start(memory), []
        for words in shift(CAPTIONS).unbind(1):
            logits, state, _ = exact.step(words, state, memory)
            columns.append(logits)
        mask = CAPTIONS != PAD
        forced = exact.teacher_forcing(CAPTIONS, memory)
        _require(forced.shape == (*CAPTIONS.shape, VOCABULARY), "teacher forcing gives no logits [B, T, V]")
        assert_close(forced[mask], torch.stack(columns, 1)[mask], atol=tolerance, rtol=tolerance)


@torch.no_grad()
def padding_and_companions_change_nothing(policy: Policy) -> None:
    """Logits, greedy captions and beams of a clip are those that it has alone, whatever is in padded frames."""
    clips = toy_clips(*LENGTHS)
    for features in (batch(clips), batch(clips, extra=3), batch(clips, extra=2, filler=1e6)):
        memory = policy.encode(features)
        forced, written = policy.teacher_forcing(CAPTIONS, memory), greedy(policy, memory, 6)
        beams, scores = beam_search(policy, memory, 6, 3)
        for row, clip in enumerate(clips):
            alone = policy.encode(batch([clip]))
            assert_close(forced[row], policy.teacher_forcing(CAPTIONS[row : row + 1], alone)[0], atol=1e-9, rtol=0)
            _require_same_captions(written.tokens[row], greedy(policy, alone, 6).tokens[0], "greedy")
            own_beams, own_scores = beam_search(policy, alone, 6, 3)
            _require_same_captions(beams[row], own_beams[0], "beam search's")
            assert_close(scores[row], own_scores[0], atol=1e-9, rtol=0)


def padded_frames_are_not_read(policy: Policy) -> None:
    """No gradient reaches them."""
    features = batch(toy_clips(*LENGTHS), extra=1, filler=7.0)
    frames = features.frames.requires_grad_()
    policy.teacher_forcing(CAPTIONS, policy.encode(features)).square().sum().backward()
    if frames.grad is None:
        raise AssertionError("no frame has a gradient")
    _require((frames.grad[~features.mask] == 0).all(), "padded frames have a gradient")


def evaluation_is_deterministic(policy: Policy) -> None:
    """In evaluation mode nothing is random."""
    features = batch(toy_clips(*LENGTHS))
    first, second = (policy.teacher_forcing(CAPTIONS, policy.encode(features)) for _ in range(2))
    _require(torch.equal(first, second), "the same clips have other logits the second time")


def every_word_of_a_batch_counts_as_it_does_alone(policy: Policy) -> None:
    """Cross-entropy of a batch and its gradients, with padded captions, by teacher forcing and by stepping."""
    clips, counts = toy_clips(*LENGTHS), (CAPTIONS != PAD).sum(1)
    alone = [
        xe_loss(policy, batch([clip]), caption[:count].unsqueeze(0))[0]
        for clip, caption, count in zip(clips, CAPTIONS, counts, strict=True)
    ]
    weighted = torch.stack(alone) @ counts.to(torch.float64) / counts.sum()
    for sampling_probability in (0.0, 1e-12):  # the latter steps, and takes the caption's words all the same
        padded = pad(CAPTIONS, (0, 4), value=PAD)
        together, _ = xe_loss(policy, batch(clips, extra=3, filler=1e3), padded, sampling_probability)
        assert_close(together, weighted)
        assert_close(gradients(together, policy), gradients(weighted, policy))


def rollouts_have_the_probabilities_of_teacher_forcing(policy: Policy) -> None:
    """Greedy and sampled captions, which leave the batch as they end: log-probabilities and their gradients."""
    clips = toy_clips(*LENGTHS * 4)
    for how in (greedy, sample):
        torch.manual_seed(0)
        rollout: Rollout = how(policy, policy.encode(batch(clips, extra=1)), 6)
        forced = word_log_probs(policy, policy.encode(batch(clips)), rollout.tokens)
        assert_close(rollout.log_probs, forced)
        weights = torch.randn(forced.shape, dtype=forced.dtype)
        ours, theirs = ((weights * log_probs).sum() for log_probs in (rollout.log_probs, forced))
        assert_close(gradients(ours, policy), gradients(theirs, policy))


@torch.no_grad()
def a_beam_that_is_wide_enough_equals_exhaustive_search(policy: Policy) -> None:
    """Captions that end and captions cut at `MAX_TOKENS` compete on their log-probability alone."""
    clips, captions = toy_clips(*LENGTHS * 4), every_caption()
    memory = policy.encode(batch(clips))
    tokens, scores = beam_search(policy, memory, MAX_TOKENS, len(captions))
    for row in range(len(clips)):
        own = memory.select(torch.full((len(captions),), row))
        best, order = word_log_probs(policy, own, captions).sum(1).sort(descending=True)
        assert_close(scores[row], best)
        _require(torch.equal(tokens[row], captions[order]), "beam search finds other captions")


CHECKS: tuple[Callable[[Policy], None], ...] = (
    records_are_of_tensors_that_rows_select,
    extras_keep_their_shape,
    rows_may_be_reordered,
    stepping_equals_teacher_forcing,
    padding_and_companions_change_nothing,
    padded_frames_are_not_read,
    evaluation_is_deterministic,
    every_word_of_a_batch_counts_as_it_does_alone,
    rollouts_have_the_probabilities_of_teacher_forcing,
    a_beam_that_is_wide_enough_equals_exhaustive_search,
)


def check_model(model: str, sizes: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """(what is checked, what is wrong with it, or nothing) of a captioner: a run's `model:`, with these sizes.

    Raises UserError where the model cannot be loaded or the sizes are wrong.
    """
    policy, other = (toy_model(model, sizes, seed) for seed in (1, 2))

    def weights_are_all_that_a_checkpoint_needs(policy: Policy) -> None:
        other.load_state_dict(policy.state_dict())
        features = batch(toy_clips(*LENGTHS))
        logits = [each.teacher_forcing(CAPTIONS, each.encode(features)) for each in (policy, other)]
        _require(torch.equal(*logits), "another model with the same weights has other logits")

    for check in (*CHECKS, weights_are_all_that_a_checkpoint_needs):
        try:
            check(policy)
            fault = ""
        except Exception as error:  # a user's code may raise anything
            fault = " ".join(f"{type(error).__name__} at {_place(error)}: {error}".split())
        yield check.__name__.replace("_", " "), fault


def toy_model(model: str, sizes: Mapping[str, Any], seed: int) -> Policy:
    """A captioner that reads toy clips and words, exact; all its weights random, also those that start as constants."""
    try:
        spec = model_spec(model)
    except KeyError:
        raise UserError(f"{model}: no model is called so; give the MODULE:NAME of one of yours") from None
    try:
        own = spec.sizes.model_validate(sizes)
    except ValidationError as error:
        raise UserError(complaint(error, spec.sizes, "--sizes")) from None
    torch.manual_seed(seed)
    policy = build_module(model, FEATURE, VOCABULARY, own)
    if not isinstance(policy, Policy):
        raise UserError(f"{model}: writes no captions; give a captioner")
    with torch.no_grad():
        for weight in policy.parameters():
            inputs = weight[0].numel() if weight.dim() > 1 else 10
            weight.add_(torch.randn_like(weight) / inputs**0.5)
    return policy.double().eval()


def _leaves(record: TensorBatch) -> list[Any]:
    """All tensors in a record."""
    found: list[Any] = []
    record.map(lambda value: found.append(value) or value)  # type: ignore[func-returns-value]
    return found


def _require(condition: bool | Tensor, what: str) -> None:
    if not condition:
        raise AssertionError(what)


def _require_same_captions(one: Tensor, other: Tensor, how: str) -> None:
    """Of a batch [..., T], whose longest caption may be another clip's, and of a clip alone [..., U]."""
    longest = max(one.shape[-1], other.shape[-1])
    one, other = (pad(tokens, (0, longest - tokens.shape[-1]), value=PAD) for tokens in (one, other))
    _require(torch.equal(one, other), f"{how} captions of a clip are others in a batch than alone")


def _place(error: Exception) -> str:
    """The last line of the current folder's code that an error went through, or else of all code."""
    frames = extract_tb(error.__traceback__)
    own = [frame for frame in frames if Path(frame.filename).is_relative_to(Path.cwd())]
    last = (own or frames)[-1]
    return f"{last.filename}:{last.lineno}"
