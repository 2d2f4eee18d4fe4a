"""A captioner with its CNN in it: what each step teaches, and that memory is saved without changing a gradient."""

from itertools import count
from unittest import mock

import pytest
import torch
from safetensors.torch import load_file
from tiny import CORPUS, SEEING, tiny_paper
from torch.nn.functional import logsigmoid

from captionrl.config import overlay
from captionrl.datasets.attributes import Attributes
from captionrl.datasets.prepared import load_captions
from captionrl.decoding import rollout as decoding
from captionrl.errors import UserError
from captionrl.features.store import FeatureStore
from captionrl.features.weights import find_weights
from captionrl.models import Features, build_module
from captionrl.objectives.multitask import attribute_loss, multi_sample_loss, multitask_loss
from captionrl.objectives.reinforce import policy_gradient_loss
from captionrl.text.vocabulary import Vocabulary
from captionrl.training.checkpoint import load_module
from captionrl.training.data import Data, clips_of
from captionrl.training.learners import multitask as learners
from captionrl.training.learners.multitask import MultitaskLearner, MultitaskXELearner
from captionrl.training.loop import Training

CPU = torch.device("cpu")
DECODER = ("project.", "visual.", "language.", "embedding.", "head.")


@pytest.fixture
def learner(world):
    """A learner of `first`'s steps with `changes` of the phase, its captioner without dropout or with some."""

    def learner(step="step3", seed=1, drops=0, **changes):
        cnn = world.cnn()
        paper = tiny_paper(overlay(SEEING, {"sizes": {"dropout": drops}, "phases": {step: changes}}))
        vocabulary, store = Vocabulary.load(world.captions / "vocabulary.json"), FeatureStore(cnn["features"])
        torch.manual_seed(seed)
        policy = build_module("e2e", store.dim, len(vocabulary), paper.sizes_of("first", CORPUS), "mini-frames")
        policy.load_cnn(cnn["weights"])
        data = Data(
            load_captions(world.captions), vocabulary, 6, CPU, clips_of(store, 5, CPU),
            attributes=Attributes.load(cnn["attributes"]),
        )  # fmt: skip
        phase = paper.phase_of(step, CORPUS)
        kind = MultitaskLearner if phase.objective == "multitask" else MultitaskXELearner
        return kind(policy, data, phase, seed=1)

    return learner


def gradient(learner, epoch=0, index=0):
    """By name, of a batch's loss; None of what it says nothing about."""
    learner.module.train()
    learner.module.zero_grad()
    torch.manual_seed(5)
    loss, _ = learner.loss(epoch, index)
    loss.backward()
    return {name: parameter.grad for name, parameter in learner.policy.named_parameters()}


def named(gradients, *prefix_mask):
    return {name: value for name, value in gradients.items() if name.startswith(prefix_mask)}


def moved(gradients):
    return any(value is not None and value.abs().max() > 0 for value in gradients.values())


def test_the_cnn_changes_in_step_3_and_only_there(world, tmp_path, monkeypatch):
    better = count()  # so that the last weights are kept
    monkeypatch.setattr(learners.CaptionLearner, "validate", lambda self: {self.metric: float(next(better))})
    cnn = world.cnn()
    before = {f"cnn.trunk.{name}": value for name, value in load_file(cnn["weights"]).items()}
    before = {name: value for name, value in before.items() if "heads" not in name}
    found, start = {}, None
    for step in ("step1", "step2", "step3"):
        given = {**cnn, "weights": None, "start": start} if start else cnn
        start = world.train("first", step, tmp_path / f"{step}.safetensors", SEEING, **given)
        found[step] = load_file(start)
    for name, value in before.items():
        assert found["step1"][name].equal(value)
        assert found["step2"][name].equal(value)
        if "running" in name or "tracked" in name:  # batch normalisation's statistics stay in step 3, too
            assert found["step3"][name].equal(value)
    changed = [name for name, value in before.items() if not found["step3"][name].equal(value)]
    assert len(changed) > 20
    assert "cnn.trunk.stem.0.weight" in changed
    assert not found["step1"]["head.1.weight"].equal(found["step2"]["head.1.weight"])
    assert found["step1"]["attribute_head.weight"].equal(found["step2"]["attribute_head.weight"])
    assert not found["step2"]["attribute_head.weight"].equal(found["step3"]["attribute_head.weight"])
    module, metadata = load_module(start)
    assert (metadata.backbone, metadata.features, metadata.model) == ("mini-frames", 128, "e2e")
    assert not module.training


def test_any_step_may_keep_its_start(world, tmp_path, monkeypatch):
    """Also where attributes are taught: what they are predicted with takes no part in captions."""
    worse = count(0, -1)
    monkeypatch.setattr(learners.CaptionLearner, "validate", lambda self: {self.metric: float(next(worse))})
    overrides = overlay(SEEING, {"runs": {"first": {"phases": ["step3"]}}})
    out = world.train("first", "step3", tmp_path / "a.safetensors", overrides, **world.cnn())
    metadata = load_module(out)[1]
    assert (metadata.best_update, metadata.val_score) == (0, 0)


@pytest.mark.parametrize("step", ["step1", "step3"])
def test_with_alpha_1_attributes_get_no_gradient(learner, step):
    found = gradient(learner(step, alpha=1, cnn_rate=1))
    assert all(value is None for value in named(found, "attribute_head.").values())
    assert moved(named(found, "cnn."))
    assert all(moved(named(found, part)) for part in DECODER)


@pytest.mark.parametrize("step", ["step1", "step3"])
def test_with_alpha_0_the_decoder_gets_no_gradient(learner, step):
    found = gradient(learner(step, alpha=0, cnn_rate=1))
    assert all(value is None for value in named(found, *DECODER).values())
    assert moved(named(found, "cnn."))
    assert moved(named(found, "attribute_head."))
    assert all(value is None for value in named(found, "project.").values())  # the branch begins at the CNN's features


@pytest.mark.parametrize("step", ["step1", "step3"])
def test_a_frozen_cnn_gets_no_gradient(learner, step):
    found = gradient(learner(step, alpha=0.5, cnn_rate=0, augmentation={"crop": 0, "flip": False}))
    assert all(value is None for value in named(found, "cnn.").values())
    assert moved(named(found, "attribute_head."))


def test_the_loss_of_both_tasks_is_eq_8(learner):
    parts = {alpha: gradient(learner(alpha=alpha)) for alpha in (0, 0.3, 1)}
    for name, value in parts[0.3].items():
        zero = torch.zeros_like(value)
        captions, attributes = (parts[alpha][name] for alpha in (1, 0))
        captions, attributes = (zero if part is None else part for part in (captions, attributes))
        assert torch.allclose(value, 0.3 * captions + 0.7 * attributes, atol=1e-6, rtol=1e-4)


def test_the_loss_of_m_samples_is_the_mean_of_m_losses_of_one(learner):
    many = learner(samples=3, alpha=1, augmentation={"crop": 0, "flip": False})
    many.module.train()
    items, tokens = many.pairs.batch(0, 0)
    seen = many.policy.visual_features(many.clips.batch(items))
    torch.manual_seed(3)
    baseline = torch.arange(len(items)) / 10  # an untrained policy's greedy captions all have a reward of 0
    with (
        mock.patch.object(learners, "sample", side_effect=decoding.sample) as sampled,
        mock.patch.object(many, "greedy_rewards", return_value=baseline),
    ):
        loss, _ = many.caption_loss(seen, items, tokens)
        torch.manual_seed(3)
        memory = sampled.call_args.args[1]
        rollout = decoding.sample(many.policy, memory, many.max_tokens)
    losses = []
    for m in range(3):
        mine = rollout.select(torch.arange(m, 3 * len(items), 3))
        reward = many.rewards(mine, items, seen).total
        losses.append(policy_gradient_loss(mine, ((reward - baseline) / mine.lengths).unsqueeze(1)))
    assert len({round(one.item(), 6) for one in losses}) == 3
    assert loss.item() == pytest.approx(torch.stack(losses).mean().item(), abs=1e-6)


@pytest.mark.parametrize("per_word", [True, False])
def test_the_log_probability_of_a_caption_is_the_mean_over_its_words(per_word):
    """Two clips of two samples; eq. 7 with eq. 2 by hand, and its gradient of each word's log-probability."""
    log_probs = torch.tensor([[-1.0, -2.0, -3.0], [-4.0, 0.0, 0.0], [-0.5, -0.25, 0.0], [-2.0, -2.0, -5.0]])
    mask = torch.tensor([[1, 1, 1], [1, 0, 0], [1, 1, 0], [1, 1, 1]]).bool()
    log_probs.requires_grad_()
    rollout = decoding.Rollout(mask.long(), mask, log_probs, decoding.Extras(log_probs.unsqueeze(-1)), None)
    rewards, greedy = torch.tensor([3.0, 1.0, 0.5, 2.0]), torch.tensor([1.0, 1.5])
    advantages, words = [2.0, 0.0, -1.0, 0.5], ([3, 1, 2, 3] if per_word else [1, 1, 1, 1])
    sums = [-6.0, -4.0, -0.75, -9.0]
    expected = -sum(a * total / n for a, total, n in zip(advantages, sums, words, strict=True)) / 4
    loss = multi_sample_loss(rollout, rewards, greedy, per_word=per_word)
    loss.backward()
    assert loss.item() == pytest.approx(expected)
    for row, (advantage, number) in enumerate(zip(advantages, words, strict=True)):
        assert log_probs.grad[row].tolist() == pytest.approx(
            [-advantage / number / 4 * on for on in mask[row].tolist()]
        )


@pytest.mark.parametrize("per_word", [True, False])
def test_a_phase_says_whether_captions_weigh_per_word(learner, per_word):
    one = learner(**({} if per_word else {"per_word": False}))
    items, tokens = one.pairs.batch(0, 0)
    with mock.patch.object(learners, "multi_sample_loss", side_effect=multi_sample_loss) as loss:
        one.caption_loss(one.policy.visual_features(one.clips.batch(items)), items, tokens)
    assert loss.call_args.kwargs == {"per_word": per_word}


def test_dropout_is_on_the_outputs_of_both_lstms_alone(learner):
    """One linear layer follows the second one."""
    policy = learner(drops=0.5).policy
    dropped = {name: part.p for name, part in policy.named_modules() if isinstance(part, torch.nn.Dropout) and part.p}
    assert dropped == {"seen": 0.5, "head.0": 0.5}
    assert [type(part) for part in policy.head] == [torch.nn.Dropout, torch.nn.Linear]
    assert (policy.head[1].in_features, policy.attribute_head.in_features) == (policy.visual.hidden_size, 128)
    read = []
    policy.language.register_forward_pre_hook(lambda _, inputs: read.append(inputs[0].data))
    policy.train()
    clips = Features(torch.randn(2, 3, 128), torch.ones(2, 3, dtype=torch.bool))
    state = policy.encode(clips)
    width = policy.visual.hidden_size
    assert (
        0.2 < (read[0][:, :width] == 0).float().mean() < 0.8
    )  # what the second LSTM reads of the first, frame by frame
    stepped = policy.step(torch.tensor([1, 1]), state, state).state
    policy.eval()
    whole = policy.step(torch.tensor([1, 1]), state, state).state
    assert stepped.hidden1.equal(whole.hidden1)  # the state itself is not dropped
    assert not stepped.hidden2.equal(whole.hidden2)


@pytest.mark.parametrize("on", [False, True])
def test_dropout_of_the_phase_is_that_of_captions_alone(learner, on):
    one = learner(drops=0.5, dropout=on, augmentation={"crop": 0, "flip": False})
    items, tokens = one.pairs.batch(0, 0)
    modes, drops = [], [part for part in one.policy.modules() if isinstance(part, torch.nn.Dropout)]
    one.policy.head.register_forward_hook(lambda *_: modes.append({part.training for part in drops}))
    one.module.train()
    with mock.patch.object(one, "greedy_rewards", return_value=torch.zeros(len(items))):
        one.caption_loss(one.policy.visual_features(one.clips.batch(items)), items, tokens)
    assert {*map(tuple, modes)} == {(on,)}
    assert all(part.training for part in drops)


def test_the_greedy_training_reward_is_of_what_the_cnn_makes_of_clips(learner):
    """For rewards that read it: they never see frames."""
    one, seen = learner(reward="BLEU-1"), []
    score = one.reward.score

    def recorded(batch):
        seen.append((batch.items, batch.clips.frames.shape[2:]))
        return score(batch)

    one.module.eval()
    with torch.no_grad(), mock.patch.object(one.reward, "score", recorded):
        reward = one.validate()["train_reward"]
        captions = one.greedy(one.training_items)
    assert seen == [(one.training_items, (128,))]
    assert reward == pytest.approx(
        one.rewards(captions, one.training_items, one.features(["clip0"])).total.mean().item()
    )


def test_recomputing_activations_changes_no_gradient(learner):
    settings = {"augmentation": {"crop": 0.2, "flip": True}, "alpha": 0.5}
    kept, recomputed = (gradient(learner(frames_at_once=number, **settings)) for number in (None, 3))
    for name, value in kept.items():
        assert torch.allclose(value, recomputed[name], atol=1e-6, rtol=1e-4), name


def test_accumulated_gradients_are_those_of_the_whole_batch(learner, tmp_path):
    """Of attributes, a mean over clips, where parts are of one size."""
    weights = []
    for index, (batch, parts) in enumerate(((8, 1), (4, 2), (2, 4))):
        fresh = learner(
            "step1", alpha=0, cnn_rate=1, batch=batch, gradient_accumulation_steps=parts, learning_rate=0.001
        )
        (tmp_path / str(index)).mkdir()
        training = Training(fresh, fresh.end_to_end, tmp_path / str(index), seed=1)
        assert training.updates == pytest.approx(44 / (batch * parts), abs=0.5)
        for _ in range(2):
            training.step(log_every=10)
        weights.append(torch.cat([value.flatten() for value in fresh.module.parameters()]))
    for other in weights[1:]:
        assert torch.allclose(weights[0], other, atol=2e-5)


def test_step_3_begins_as_good_as_step_2_ended(learner):
    """The frozen CNN's features are those that the same CNN sees when it may learn, at validation."""
    frozen, learning = learner("step2"), learner("step3")
    frozen.module.eval()
    learning.module.eval()
    with torch.no_grad():
        assert frozen.validate() == learning.validate()
        items = frozen.validation_items[:3]
        seen = learning.policy.visual_features(learning.clips.batch(items))
        assert torch.allclose(frozen.clips.batch(items).frames, seen.frames, atol=1e-5)
        assert frozen.clips.batch(items).mask.equal(seen.mask)


def test_features_in_a_batch_are_those_of_the_clip_alone(learner):
    policy, clips = (one := learner()).policy.eval(), one.clips
    batch = clips.batch(["clip0", "clip1", "clip2"])
    assert not batch.mask.all()
    seen = policy.visual_features(batch)
    assert (seen.frames[~seen.mask] == 0).all()
    for row in range(3):
        length = int(batch.mask[row].sum())
        alone = policy.visual_features(batch.map(lambda tensor, row=row, length=length: tensor[row : row + 1, :length]))
        assert torch.allclose(seen.frames[row, :length], alone.frames[0], atol=1e-5)


def test_reading_ahead_gives_the_same_frames(world):
    store = FeatureStore(world.cnn()["features"])
    plain, ahead = clips_of(store, 3, CPU), clips_of(store, 3, CPU)
    ahead.prefetch(["clip0", "clip1", "clip2"])
    for items in (["clip0", "clip3"], ["clip2"], ["clip0", "clip1"]):
        expected, found = plain.batch(items), ahead.batch(items)
        assert found.frames.dtype == torch.uint8
        assert found.frames.equal(expected.frames)
        assert found.mask.equal(expected.mask)
    assert not ahead._coming


def test_without_visual_input_there_is_one_black_frame(world):
    store = FeatureStore(world.cnn()["features"])
    batch = clips_of(store, 5, CPU, visual_input=False).batch(["clip0", "clip1"])
    assert batch.frames.shape == (2, 1, 64, 64, 3)
    assert not batch.frames.any()


def test_the_attribute_loss_by_hand():
    logits, present = torch.tensor([[2.0, -1.0], [0.5, 3.0]]), torch.tensor([[True, False], [False, True]])
    right = torch.where(present, logits, -logits)
    assert attribute_loss(logits, present).item() == pytest.approx(-logsigmoid(right).mean().item())
    captions, attributes = torch.tensor(2.0), torch.tensor(5.0)
    assert multitask_loss(captions, attributes, 0.95).item() == pytest.approx(0.95 * 2 + 0.05 * 5)
    assert multitask_loss(captions, None, 1).item() == 2
    assert multitask_loss(None, attributes, 0).item() == 5


def test_attributes_alone_choose_their_checkpoint(learner):
    """By the geometric mean of the probabilities of what is true of validation clips; captions are scored beside it."""
    one = learner("step1", alpha=0, cnn_rate=1)
    one.module.eval()
    with torch.no_grad():
        scores = one.validate()
        logits = torch.cat([one.policy.attributes(one.clips.batch([item])) for item in one.validation_items])
    present = torch.tensor([one.present[item] for item in one.validation_items])
    right = torch.where(present, logits, -logits)
    assert one.metric == "val_attributes"
    assert scores.keys() == {"val_cider", "val_attributes"}
    assert scores["val_attributes"] == pytest.approx(100 * logsigmoid(right).mean().exp().item(), rel=1e-4)
    assert learner("step1", alpha=0.5).metric == "val_cider"


def test_what_a_phase_cannot_do_without_is_named(world, tmp_path):
    overrides = overlay(SEEING, {"runs": {"first": {"phases": ["step3"]}}})
    with pytest.raises(UserError, match="without --attributes"):
        world.train("first", "step3", tmp_path / "a.safetensors", overrides, **world.cnn() | {"attributes": None})


def test_without_a_file_the_cnn_has_the_packages_weights(world, tmp_path):
    brief = overlay(SEEING, {"phases": {"step1": {"epochs": 0.1}}})  # which leaves the CNN as it is
    checkpoint = world.train("first", "step1", tmp_path / "a.safetensors", brief, **world.cnn() | {"weights": None})
    found, shipped = load_file(checkpoint), load_file(find_weights("mini", None))
    assert torch.equal(found["cnn.trunk.stem.0.weight"], shipped["stem.0.weight"])


def test_a_cnn_of_timm_is_trained_and_its_frames_are_of_its_size(tmp_path):
    from captionrl.features.frame_sampler import frame_sampler
    from captionrl.features.libraries import timm

    name = "timm:test_resnet-frames"
    sampler = frame_sampler(name, 3)
    assert (sampler.dim, sampler.resize.size) == (timm.create_model("test_resnet", num_classes=0).num_features, 160)
    module = build_module("e2e", sampler.dim, 20, tiny_paper(SEEING).sizes_of("first", CORPUS), name)
    torch.save(timm.create_model("test_resnet").state_dict(), tmp_path / "w.pth")
    before = module.cnn.trunk.state_dict()["conv1.0.weight"].clone()
    module.load_cnn(tmp_path / "w.pth")
    assert not module.cnn.trunk.state_dict()["conv1.0.weight"].equal(before)
    clip = torch.randint(0, 256, (1, 2, 160, 160, 3), dtype=torch.uint8)
    features = module.visual_features(Features(clip, torch.ones(1, 2, dtype=torch.bool)))
    assert features.frames.shape == (1, 2, sampler.dim)
    features.frames.sum().backward()
    assert all(weight.grad is not None for weight in module.cnn.trunk.parameters())


def test_weights_of_another_network_are_refused(world, tmp_path):
    (tmp_path / "weights.safetensors").write_bytes(b"no weights")
    cnn = world.cnn() | {"weights": tmp_path / "weights.safetensors"}
    with pytest.raises(UserError, match=r"weights.safetensors: not a whole safetensors file"):
        world.train("first", "step1", tmp_path / "a.safetensors", SEEING, **cnn)


def test_more_attributes_than_the_branch_has_places_for_are_refused(world, tmp_path):
    overrides = overlay(SEEING, {"sizes": {"attributes": 3}, "runs": {"first": {"phases": ["step3"]}}})
    with pytest.raises(UserError, match=r"attributes.tsv: 7 attributes, but sizes.attributes is 3; .*--max-attributes"):
        world.train("first", "step3", tmp_path / "a.safetensors", overrides, **world.cnn())


def test_features_of_another_backbone_than_the_runs_are_refused(world, tmp_path):
    cnn = world.cnn() | {"features": world.features}
    with pytest.raises(UserError, match=r"features of mini, not mini-frames"):
        world.train("first", "step1", tmp_path / "a.safetensors", SEEING, **cnn)
    with pytest.raises(UserError, match=r"features of mini-frames, not mini"):
        world.train("xe-baseline", "xe", tmp_path / "a.safetensors", features=world.cnn()["features"])
