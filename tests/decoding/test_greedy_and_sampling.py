import pytest
import torch
from toy import MAX_TOKENS, batch, every_caption, toy_clips, word_log_probs

from captionrl.decoding.rollout import greedy, sample
from captionrl.text.vocabulary import BOS, EOS, PAD, UNK

HOW = [greedy, sample]


CLIPS = toy_clips(*[4, 1, 3] * 20)


def some_memory(policy):
    return policy.encode(batch(CLIPS, extra=1))


@pytest.mark.parametrize("how", HOW)
def test_the_mask_covers_a_caption_up_to_and_including_its_end(policy, how):
    torch.manual_seed(0)
    rollout = how(policy, some_memory(policy), 6)
    lengths = []
    for tokens, mask in zip(rollout.tokens.tolist(), rollout.mask.tolist(), strict=True):
        lengths.append(tokens.index(EOS) + 1 if EOS in tokens else len(tokens))
        assert mask == [place < lengths[-1] for place in range(len(tokens))]
        assert tokens[lengths[-1] :] == [PAD] * (len(tokens) - lengths[-1])
    assert rollout.lengths.tolist() == lengths
    assert len(set(lengths)) > 2  # some end, at different words,
    assert (rollout.tokens != EOS).all(1).any()  # and some are cut


def test_entropy_is_that_of_the_distribution_over_the_words_that_may_be_written(policy):
    torch.manual_seed(0)
    rollout = sample(policy, some_memory(policy), 6)
    # teacher_forcing gives no logits beyond the end: a word in every place
    logits = policy.teacher_forcing(rollout.tokens.masked_fill(~rollout.mask, EOS), some_memory(policy))
    p = logits[..., [EOS, 4, 5, 6]].softmax(-1)
    torch.testing.assert_close(rollout.entropy, -(p * p.log()).sum(-1) * rollout.mask)


@pytest.mark.parametrize("how", HOW)
def test_hidden_is_what_the_logits_of_each_word_are_computed_from(policy, how):
    torch.manual_seed(0)
    rollout = how(policy, some_memory(policy), 6)
    logits = policy.teacher_forcing(rollout.tokens, some_memory(policy))
    torch.testing.assert_close(policy.head(rollout.hidden)[rollout.mask], logits[rollout.mask])


@pytest.mark.parametrize("how", HOW)
def test_everything_beyond_a_captions_end_is_zero(policy, how):
    torch.manual_seed(0)
    rollout = how(policy, some_memory(policy), 6)
    assert not rollout.mask.all()
    for tensor in (rollout.tokens, rollout.log_probs, rollout.hidden, *([rollout.entropy] if how is sample else [])):
        assert (tensor[~rollout.mask] == 0).all()


@pytest.mark.parametrize("how", HOW)
def test_the_unwritable_are_never_written_however_likely_the_logits_make_them(policy, how):
    policy.float().head[-1].bias.data[[PAD, BOS, UNK]] += 30
    memory = policy.encode(batch([clip.float() for clip in CLIPS]))
    rollout = how(policy, memory, 6)
    assert not torch.isin(rollout.tokens[rollout.mask], torch.tensor([PAD, BOS, UNK])).any()
    assert rollout.log_probs.isfinite().all()


def test_greedy_takes_the_most_probable_word_at_every_step(policy):
    rollout = greedy(policy, some_memory(policy), 6)
    logits = policy.teacher_forcing(rollout.tokens, some_memory(policy))
    logits[..., [PAD, BOS, UNK]] = -torch.inf
    assert torch.equal(rollout.tokens[rollout.mask], logits.argmax(-1)[rollout.mask])


def test_decoding_stops_when_every_caption_has_ended(policy):
    policy.head[-1].bias.data[EOS] += 100
    for how in HOW:
        assert how(policy, some_memory(policy), 6).tokens.tolist() == [[EOS]] * 60


def test_captions_are_sampled_as_often_as_they_are_probable(policy):
    captions, draws = every_caption(), 20_000
    memory = policy.encode(batch(toy_clips(4)))
    with torch.no_grad():
        rows = torch.zeros(len(captions), dtype=torch.long)
        p = word_log_probs(policy, memory.select(rows), captions).sum(1).exp()
        torch.manual_seed(0)
        written = sample(policy, memory.select(torch.zeros(draws, dtype=torch.long)), MAX_TOKENS).tokens
    counts = (written.unsqueeze(1) == captions).all(-1).sum(0)
    assert counts.sum() == draws
    five_sigma = 5 * (draws * p * (1 - p)).sqrt()
    assert ((counts - draws * p).abs() <= five_sigma.clamp(min=5)).all()  # rare captions are Poisson


def test_sampling_follows_the_global_generator(policy):
    drawn = []
    for seed in (0, 0, 1):
        torch.manual_seed(seed)
        drawn.append(sample(policy, some_memory(policy), 6).tokens.tolist())
    assert drawn[0] == drawn[1] != drawn[2]


def test_given_words_are_written_as_they_stand_and_the_policy_goes_on_from_them(policy):
    memory = some_memory(policy)
    words = torch.tensor([[4, 5, EOS], [6, PAD, PAD], [PAD, PAD, PAD]]).repeat(20, 1)
    torch.manual_seed(0)
    rollout = sample(policy, memory, 6, given=words)
    width = min(3, rollout.tokens.shape[1])
    kept = words[:, :width] != PAD
    assert torch.equal(rollout.tokens[:, :width][kept], words[:, :width][kept])
    assert (rollout.tokens[::3, 3:] == PAD).all()  # a given end ends
    assert len(rollout.tokens[1::3].unique(dim=0)) > 1
    torch.testing.assert_close(rollout.log_probs, word_log_probs(policy, memory, rollout.tokens))
