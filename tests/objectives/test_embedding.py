"""The ranking loss of pictures and captions, and the ranks that recall is counted from (Shi et al. 2018, eq. 5)."""

import pytest
import torch
from torch.nn.functional import normalize

from captionrl.objectives.embedding import adjacent_loss, ranking_loss, ranks

MARGIN = 0.3


def pairs(items, seed=0):
    """Unit vectors of pictures and captions, float64; pairs of one item share the picture. And which are of one."""
    generator = torch.Generator().manual_seed(seed)
    pictures = torch.randn(max(items) + 1, 4, generator=generator, dtype=torch.float64)[torch.tensor(items)]
    captions = torch.randn(len(items), 4, generator=generator, dtype=torch.float64)
    numbers = torch.tensor(items)
    return normalize(pictures, dim=-1), normalize(captions, dim=-1), numbers[:, None] == numbers


def naive_loss(pictures, captions, same, margin):
    total = 0.0
    for i in range(len(pictures)):
        own = float(pictures[i] @ captions[i])
        for k in range(len(captions)):
            if not same[i, k]:
                total += max(0.0, margin - own + float(pictures[i] @ captions[k]))
                total += max(0.0, margin - own + float(pictures[k] @ captions[i]))
    return total / len(pictures)


@pytest.mark.parametrize("items", [[0, 1, 2, 3, 4], [0, 1, 0, 2, 1, 0], [0, 0, 0]])
@pytest.mark.parametrize("margin", [0.05, 0.3, 1.0])
def test_the_loss_is_the_sum_over_rivals_of_either_kind_for_each_pair(items, margin):
    world = pairs(items)
    assert ranking_loss(*world, margin).item() == pytest.approx(naive_loss(*world, margin), abs=1e-12)


def test_the_loss_of_two_pairs_by_hand():
    pictures = torch.tensor([[1.0, 0.0], [0.0, 1.0]])
    captions = torch.tensor([[0.6, 0.8], [0.0, 1.0]])
    same = torch.eye(2, dtype=torch.bool)
    # Cosines: 0.6 and 1 of the pairs; picture 0 with caption 1: 0; picture 1 with caption 0: 0.8.
    # Pair 0: caption 1 is beaten by 0.6; picture 1 is nearer by 0.2. Pair 1: rivals are behind by 0.2 and 1.
    expected = ((0 + (0.3 + 0.2)) + ((0.3 - 0.2) + 0)) / 2
    assert ranking_loss(pictures, captions, same, MARGIN).item() == pytest.approx(expected)


def test_nothing_is_lost_when_all_margins_are_kept():
    basis = torch.eye(4)
    own = torch.eye(4, dtype=torch.bool)
    assert ranking_loss(basis, basis, own, 1.0) == 0
    assert ranking_loss(basis, basis, own, 1.1).item() == pytest.approx(2 * 3 * 0.1)


def test_eq_5_as_printed_asks_of_the_last_word_alone():
    """Two pairs by hand: the last word takes the first caption away by 0.5, brings the second one nearer by 0.2."""
    pictures = torch.tensor([[1.0, 0.0], [0.0, 1.0]])
    before = torch.tensor([[0.8, 0.6], [0.8, 0.6]])
    after = torch.tensor([[0.3, 0.954], [0.6, 0.8]])
    assert adjacent_loss(pictures, before, after, 0.4).item() == pytest.approx(0.4 * 0.5 / 2)


def test_eq_5_as_printed_is_content_with_one_place_for_everything():
    """Where the ranking loss is twice the margin for every other pair."""
    one = normalize(torch.ones(4, 3), dim=-1).requires_grad_()
    loss = adjacent_loss(one, one, one, 0.5)
    (gradient,) = torch.autograd.grad(loss, one)
    assert loss == 0
    assert not gradient.any()
    assert ranking_loss(one, one, torch.eye(4, dtype=torch.bool), 0.5).item() == pytest.approx(2 * 3 * 0.5)


def test_captions_of_one_picture_are_no_rivals():
    pictures, captions = torch.tensor([[1.0, 0.0]] * 3), torch.tensor([[1.0, 0.0], [0.0, 1.0], [-1.0, 0.0]])
    assert ranking_loss(pictures, captions, torch.ones(3, 3, dtype=torch.bool), MARGIN) == 0


def test_a_step_down_its_gradient_pulls_pairs_together_and_rivals_apart():
    pictures, captions, same = pairs([0, 1])
    cosines = (pictures @ captions.T).requires_grad_()
    identity = torch.eye(2, dtype=torch.float64)
    ranking_loss(cosines, identity, same, 3.0).backward()  # cosines @ identity: what the loss is a function of
    assert (cosines.grad.diagonal() < 0).all()
    assert (cosines.grad[~same] > 0).all()


def test_ranks_by_hand():
    cosines = torch.tensor([[0.9, 0.5, 0.1], [0.9, 0.5, 0.1], [0.9, 0.5, 0.1], [-0.1, -0.3, -0.2]])
    own = torch.tensor([[1, 0, 0], [0, 1, 0], [0, 0, 1], [0, 1, 1]]).bool()
    assert ranks(cosines, own).tolist() == [0, 1, 2, 1]


def test_the_best_of_several_own_ones_counts_and_the_others_are_no_strangers():
    cosines = torch.tensor([[0.9, 0.8, 0.7, 0.6]])
    assert ranks(cosines, torch.tensor([[False, True, True, False]])).tolist() == [1]
    assert ranks(cosines, torch.tensor([[True, True, False, False]])).tolist() == [0]


def test_ties_count_against():
    own = torch.tensor([[False, True, False, False]])
    assert ranks(torch.zeros(1, 4), own).tolist() == [3]
    assert ranks(torch.tensor([[0.5, 0.5, 0.2, 0.7]]), own).tolist() == [2]
