"""Cross-entropy (HRL eq. 26), with scheduled sampling (Bengio et al. 2015)."""

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy

from captionrl.decoding.distribution import draw, log_probabilities
from captionrl.models.policy import Features, Policy, TensorBatch, active_rows, shift


def xe_loss(
    policy: Policy,
    features: Features,
    tokens: Tensor,
    sampling_probability: float = 0.0,
    boundaries: Tensor | None = None,
) -> tuple[Tensor, dict[str, float]]:
    """Mean negative log-likelihood, in nats, of the words of `tokens` [B, T] (</s> included, PAD beyond).

    HRL eq. 26, Shi et al. eq. 8, Li and Gong eq. 2, but that each word of the batch weighs alike: they sum or average
    over a caption. Of Stack-Cap summed over its stages (Stack-Cap eq. 9, 10).

    `sampling_probability`: that an input word is drawn from the policy instead of taken from the caption.
    `boundaries` [B, T]: where segments end, in place of HRL's boundary critic's. Raises ValueError together with
    sampling, whose words they are not of.
    """
    if sampling_probability > 0 and boundaries is not None:
        raise ValueError("boundaries are of the caption's words; do not sample them")
    memory = policy.encode(features)
    if sampling_probability > 0:
        predictions, places = _scheduled_sampling(policy, memory, tokens, sampling_probability)
    else:
        hidden, places = policy.teacher_forced_hidden(tokens, memory, boundaries)
        predictions = policy.predictions(hidden)
    target = tokens.flatten()[places]
    stages = [cross_entropy(logits.to(_exact(logits)), target) for logits in predictions]
    loss = torch.stack(stages).sum()  # Stack-Cap eq. 10
    statistics = {f"stage{i}_loss": stage.item() for i, stage in enumerate(stages)} if len(stages) > 1 else {}
    return loss, {"loss": loss.item(), **statistics}


def _exact(logits: Tensor) -> torch.dtype:
    """Of halves, too."""
    return torch.promote_types(logits.dtype, torch.float32)


def _scheduled_sampling(
    policy: Policy, memory: TensorBatch, tokens: Tensor, sampling_probability: float
) -> tuple[list[Tensor], Tensor]:
    """Every prediction's logits [W, V] of the words of `tokens`, and their places [W] as of `teacher_forced_hidden`.

    Each input word after <s> is, with `sampling_probability`, the policy's own draw.
    """
    order, active, places = active_rows(tokens)
    memory = memory.select(order)
    state, own = policy.start(memory), memory.first_words()
    columns: list[list[Tensor]] = []
    for words, number in zip(shift(tokens[order]).unbind(1), active, strict=True):
        if number == 0:
            break
        if number < len(own):
            state, memory, own = state.narrow(number), memory.narrow(number), own[:number]
        if columns:
            words = torch.where(torch.rand(number, device=words.device) < sampling_probability, own, words[:number])
        extras, state = policy.advance(policy.embedding(words), state, memory)
        columns.append(policy.predictions(extras.hidden))
        own = draw(log_probabilities(columns[-1][-1].detach()))
    return [torch.cat(prediction) for prediction in zip(*columns, strict=True)], places
