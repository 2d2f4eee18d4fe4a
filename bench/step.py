"""A training step of the paper-size attention captioner, cross-entropy and REINFORCE, against a plain loop."""

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext

import plain
import torch
from timing import Row, in_turns, pretty, report
from torch import Tensor
from torch.testing import assert_close
from world import DEVICE, GPU, VOCABULARY, Batch

from captionrl.decoding.rollout import greedy, sample
from captionrl.objectives.reinforce import policy_gradient_loss
from captionrl.objectives.xe import xe_loss
from captionrl.rewards import CiderD

MOST = 30  # tokens a caption


class Steps:
    """The same updates by this package and by the plain loop, self-critical where they reinforce."""

    def __init__(self, batch: Batch, clock: Callable[[str], AbstractContextManager] = lambda part: nullcontext()):
        self.policy, self.features, self.tokens, self.ends = batch.policy, batch.features, batch.tokens, batch.ends
        self.optimiser = torch.optim.Adadelta(self.policy.parameters())
        self.items = list(batch.references)
        self.cider = CiderD.from_captions(batch.references, vocabulary=VOCABULARY)
        self.clock = clock

    def ours_xe(self) -> None:
        self.update(xe_loss(self.policy, self.features, self.tokens)[0])

    def half_xe(self) -> None:
        with torch.autocast(DEVICE.type, torch.bfloat16):
            loss, _ = xe_loss(self.policy, self.features, self.tokens)
        self.update(loss)

    def plain_xe(self) -> None:
        self.update(plain.xe_loss(self.policy, self.features, self.tokens))

    def half_rl(self) -> None:
        with torch.autocast(DEVICE.type, torch.bfloat16):
            loss = self.reinforce()
        self.update(loss)

    def ours_rl(self) -> None:
        self.update(self.reinforce())

    def reinforce(self) -> Tensor:
        policy, most = self.policy, max(MOST, self.tokens.shape[1])
        rollout = sample(policy, policy.encode(self.features), most)
        policy.eval()
        with torch.no_grad():
            base = greedy(policy, policy.encode(self.features), most)
        policy.train()
        reward, baseline = (self.reward(each.tokens, each.lengths) for each in (rollout, base))
        return policy_gradient_loss(rollout, (reward - baseline).unsqueeze(1))

    def plain_rl(self) -> None:
        policy = self.policy
        words, log_probs = plain.roll_out(policy, policy.encode(self.features), self.ends, greedy=False)
        policy.eval()
        with torch.no_grad():
            base, _ = plain.roll_out(policy, policy.encode(self.features), self.ends, greedy=True)
        policy.train()
        advantage = self.reward(words, self.ends + 1) - self.reward(base, self.ends + 1)
        self.update(-(advantage.unsqueeze(1) * log_probs).sum(1).mean())

    def reward(self, tokens: Tensor, lengths: Tensor) -> Tensor:
        with self.clock("reward"):
            return self.cider.score(tokens, lengths, self.items).to(DEVICE, torch.float32)

    def update(self, loss: Tensor) -> None:
        self.optimiser.zero_grad(set_to_none=True)
        with self.clock("backward"):
            loss.backward()
        with self.clock("optimiser"):
            self.optimiser.step()
        if GPU:
            torch.cuda.synchronize()

    def check(self) -> None:
        """Equal losses and gradients, before anything is timed; of rollouts, those of the captions both write."""
        policy, features = self.policy.eval(), self.features
        self.equal(xe_loss(policy, features, self.tokens)[0], plain.xe_loss(policy, features, self.tokens))
        ours = greedy(policy, policy.encode(features), max(MOST, self.tokens.shape[1]))
        words, log_probs = plain.roll_out(policy, policy.encode(features), self.ends, greedy=True)
        assert ours.tokens.tolist() == words.tolist()
        weight = torch.linspace(-1, 1, len(words), device=DEVICE).unsqueeze(1)
        self.equal(policy_gradient_loss(ours, weight), -(weight * log_probs).sum(1).mean())
        policy.train()

    def equal(self, *losses: Tensor) -> None:
        assert_close(*(loss.detach() for loss in losses), rtol=1e-5, atol=1e-5)
        for pair in zip(*(torch.autograd.grad(loss, list(self.policy.parameters())) for loss in losses), strict=True):
            assert_close(*pair, rtol=1e-5, atol=1e-5)


def measure(least: float, scale: str) -> list[Row]:
    steps = Steps(Batch.make(scale, 64))
    steps.check()
    xe, their_xe, rl, their_rl = in_turns(steps.ours_xe, steps.plain_xe, steps.ours_rl, steps.plain_rl, least=least)
    (reward,) = in_turns(lambda: [steps.reward(steps.tokens, steps.ends + 1) for _ in range(2)], least=least / 10)
    faster_xe, faster_rl, most, share = (2.0, 2.0, 2.0, 0.05) if GPU else (1.3, 1.5, 1.8, 0.01)
    return [
        Row("XE step", pretty(xe), pretty(their_xe), their_xe / xe, f"≥ {faster_xe} x", their_xe / xe >= faster_xe),
        Row("RL step", pretty(rl), pretty(their_rl), their_rl / rl, f"≥ {faster_rl} x", their_rl / rl >= faster_rl),
        Row("RL step : XE step", pretty(rl), pretty(xe), rl / xe, f"≤ {most} x", rl / xe <= most),
        Row("rewards : RL step", pretty(reward), pretty(rl), reward / rl, f"< {share} x", reward / rl < share),
        *growth(scale, least),
        *halves(steps, least),
    ]


def halves(steps: Steps, least: float) -> list[Row]:
    """`precision: bfloat16` against float32."""
    rows = []
    for what, calls in (("XE", (steps.half_xe, steps.ours_xe)), ("RL", (steps.half_rl, steps.ours_rl))):
        half, full = in_turns(*calls, least=least / 4)
        rows.append(
            Row(f"{what} step in bfloat16, against float32", pretty(half), pretty(full), full / half, "-", None)
        )
    return rows


def growth(scale: str, least: float) -> list[Row]:
    """Captions of 60 words against captions of 15."""
    rows = []
    short, long = (Steps(Batch.make(scale, 64, words)) for words in (15, 60))
    for what, calls in (("XE", (short.ours_xe, long.ours_xe)), ("RL", (short.ours_rl, long.ours_rl))):
        base, grown = in_turns(*calls, least=least / 4)
        what = f"{what} step, 60 words a caption against 15"
        rows.append(Row(what, pretty(grown), pretty(base), grown / base, "≤ 4 x: linear", grown / base <= 4))
    return rows


if __name__ == "__main__":
    report(measure, __doc__)
