"""SLL-ME: the entropy of each word's distribution, with a gradient where that is asked for."""

import pytest
import torch
from toy import batch, every_caption, gradients, rollout_of, toy_clips, toy_policy

from captionrl.decoding.rollout import sample
from captionrl.objectives.reinforce import entropy_bonus
from captionrl.text.vocabulary import BOS, EOS, PAD, UNK

CLIPS = toy_clips(*[4, 1, 3] * 5)


def forced_entropy(policy, memory, tokens):
    """The entropies [B, T], by teacher forcing, of the distributions over the words that may be written."""
    mask = tokens != PAD
    logits = policy.teacher_forcing(tokens.masked_fill(~mask, EOS), memory)
    writable = [word for word in range(logits.shape[-1]) if word not in (PAD, BOS, UNK)]
    log_p = logits[..., writable].log_softmax(-1)
    return -(log_p.exp() * log_p).sum(-1) * mask


def test_its_gradient_is_that_of_autograd_through_teacher_forcing(policy):
    torch.manual_seed(0)
    memory = policy.encode(batch(CLIPS))
    rollout = sample(policy, memory, 6, entropy_gradient=True)
    forced = forced_entropy(policy, memory, rollout.tokens)
    torch.testing.assert_close(rollout.entropy, forced)
    assert not rollout.mask.all()
    ours = gradients(entropy_bonus(rollout), policy)
    theirs = gradients(forced.sum() / len(forced), policy)
    torch.testing.assert_close(ours, theirs)
    assert max(gradient.abs().max() for gradient in ours) > 1e-3


def test_nothing_of_it_is_in_the_graph_unless_asked_for(policy):
    memory = policy.encode(batch(CLIPS))
    rollout = sample(policy, memory, 6)
    assert rollout.log_probs.requires_grad
    assert not rollout.entropy.requires_grad


def test_asking_for_it_changes_no_sample(policy):
    memory, rollouts = policy.encode(batch(CLIPS)), []
    for asked in (False, True):
        torch.manual_seed(0)
        rollouts.append(sample(policy, memory, 6, entropy_gradient=asked))
    assert torch.equal(rollouts[0].tokens, rollouts[1].tokens)
    torch.testing.assert_close(rollouts[0].entropy, rollouts[1].entropy.detach())


def test_it_is_summed_over_words_and_averaged_over_captions():
    policy, captions = toy_policy("pooled"), every_caption()
    memory = policy.encode(batch(toy_clips(4))).select(torch.zeros(len(captions), dtype=torch.long))
    rollout = rollout_of(policy, memory, captions)
    torch.testing.assert_close(entropy_bonus(rollout), forced_entropy(policy, memory, captions).sum(1).mean())


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_a_policy_that_is_certain_has_no_entropy_and_a_finite_gradient(dtype):
    """Words of probability 0, by rounding or because they are never written, give neither NaN nor infinity."""
    policy = toy_policy("pooled").to(dtype)
    policy.head[-1].bias.data[4] = 1e4
    rollout = sample(policy, policy.encode(batch([clip.to(dtype) for clip in CLIPS])), 6, entropy_gradient=True)
    assert (rollout.entropy == 0).all()
    assert all(gradient.isfinite().all() for gradient in gradients(entropy_bonus(rollout), policy))
