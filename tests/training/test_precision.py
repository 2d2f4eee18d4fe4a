"""bfloat16 is near float32: losses, gradients and rollouts, for every captioner."""

import pytest
import torch
from toy import batch, gradients, rollout_of, toy_clips, toy_policy

from captionrl.objectives.reinforce import policy_gradient_loss
from captionrl.objectives.xe import xe_loss
from captionrl.text.vocabulary import EOS, PAD
from captionrl.training.checkpoint import load_checkpoint

CLIPS = [clip.float() for clip in toy_clips(4, 1, 3)]
CAPTIONS = torch.tensor([[4, 5, 6, 4, EOS], [6, EOS, PAD, PAD, PAD], [5, 4, 4, EOS, PAD]])


def cross_entropy(policy):
    return xe_loss(policy, batch(CLIPS), CAPTIONS)[0]


def reinforce(policy):
    rollout = rollout_of(policy, policy.encode(batch(CLIPS)), CAPTIONS)
    returns = torch.tensor([[1.0], [-2.0], [3.0]])
    return policy_gradient_loss(rollout, returns)


@pytest.mark.parametrize("objective", [cross_entropy, reinforce])
def test_losses_are_within_three_hundredths_and_gradients_point_the_same_way(policy, objective):
    policy = policy.float()
    found = []
    for half in (False, True):
        with torch.autocast("cpu", torch.bfloat16, enabled=half):
            loss = objective(policy)
        flat = torch.cat([gradient.flatten() for gradient in gradients(loss, policy)])
        found.append((loss.detach(), flat))
        assert loss.dtype == found[-1][1].dtype == torch.float32
    (loss, gradient), (rough_loss, rough_gradient) = found
    torch.testing.assert_close(rough_loss, loss, rtol=3e-2, atol=0)
    assert torch.cosine_similarity(gradient, rough_gradient, 0) > 0.99
    assert not torch.equal(gradient, rough_gradient)


def test_the_embedding_and_the_value_network_read_captions_in_float32():
    policy = toy_policy("actor-critic").float()
    exact = policy.similarity(batch(CLIPS), CAPTIONS), policy.value(batch(CLIPS), CAPTIONS)
    with torch.autocast("cpu", torch.bfloat16):
        rough = policy.similarity(batch(CLIPS), CAPTIONS), policy.value(batch(CLIPS), CAPTIONS)
    for found, expected in zip(rough, exact, strict=True):
        torch.testing.assert_close(found.float(), expected, rtol=0.05, atol=0.05)


def test_a_phase_is_trained_in_it_and_takes_no_other_precisions_state(world, tmp_path):
    whole = world.train("xe-baseline", "xe", tmp_path / "whole.safetensors")
    half = world.train("xe-baseline", "xe", tmp_path / "half.safetensors", precision="bfloat16")
    assert len(list((tmp_path / "state").iterdir())) == 2
    (weights, metadata), (others, other_card) = load_checkpoint(whole), load_checkpoint(half)
    assert {tensor.dtype for tensor in others.state_dict().values()} == {torch.float32}
    assert not torch.equal(weights.embedding[0].weight, others.embedding[0].weight)
    assert other_card.val_score > 0.5 * metadata.val_score
