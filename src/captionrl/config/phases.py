"""The phases of training, and the settings of each."""

from typing import Annotated, Literal

from pydantic import Field, PositiveInt, model_validator

from captionrl.config.base import NotNegative, Positive, Share, Strict
from captionrl.config.rewards import Weights

Optimiser = Literal["adadelta", "adam", "adamw"]
Schedule = Literal["constant", "linear", "cosine", "plateau", "step"]


class ScheduledSampling(Strict):
    """The probability that an input word is the model's own sample, over epochs (Bengio et al. 2015)."""

    initial: Share = 0  # before it grows
    start: NotNegative = 0  # epoch from which it grows
    per_epoch: Share = 0
    max_probability: Share = 1

    @property
    def draws(self) -> bool:
        """Whether the probability is ever above 0."""
        return self.max_probability > 0 and (self.initial > 0 or self.per_epoch > 0)


class Step(Strict):
    """The learning rate is multiplied by `factor` after every `every` epochs."""

    factor: Annotated[float, Field(gt=0, lt=1)]
    every: Positive


class Phase(Strict):
    """What all phases of training share. An epoch is a pass over all training captions."""

    objective: str  # one of OBJECTIVES of config/methods.py, or a learner of your own, MODULE:NAME
    epochs: Positive
    validate_every: Positive = 1  # epochs
    early_stopping: PositiveInt | None = None  # validations without a new best after which the phase ends
    batch: PositiveInt = 64
    gradient_accumulation_steps: PositiveInt = 1  # batches an update; its gradient is their mean
    optimiser: Optimiser
    weight_decay: NotNegative = 0  # adamw: of matrices and kernels, not of biases, scales of norms and embeddings
    learning_rate: Positive
    warmup: NotNegative = 0  # first epochs, over which the rate grows linearly from 0, whatever the schedule
    lr_schedule: Schedule = "constant"  # linear, cosine: to zero at the phase's end
    lr_patience: PositiveInt | None = None  # plateau: validations without a new best before the rate is halved
    lr_step: Step | None = None  # step: by what, and how often
    clip: Positive | None = None  # every gradient into [-clip, clip]
    clip_norm: Positive | None = None  # the norm of all gradients together, at most; after `clip`

    @property
    def trains_value_network(self) -> bool:
        """Whether what it trains can predict rewards afterwards."""
        return False

    @model_validator(mode="after")
    def _check_optimiser(self) -> "Phase":
        for schedule, key in (("plateau", "lr_patience"), ("step", "lr_step")):
            if self.lr_schedule == schedule and getattr(self, key) is None:
                raise ValueError(f"{key}: is missing; lr_schedule: {schedule} needs it")
        if self.weight_decay and self.optimiser != "adamw":
            raise ValueError("weight_decay: only adamw has it; set optimiser: adamw, or take it out")
        return self


class XEPhase(Phase):
    objective: Literal["xe"]
    scheduled_sampling: ScheduledSampling = ScheduledSampling()
    boundaries: Literal["predicted", "truth"] = "predicted"  # HRL: the boundaries of teacher forcing

    @model_validator(mode="after")
    def _check_boundaries(self) -> "XEPhase":
        if self.boundaries == "truth" and self.scheduled_sampling.draws:
            raise ValueError(
                "boundaries: truth is of the training caption's words; set scheduled_sampling.max_probability to 0"
            )
        return self


class BoundaryPhase(Phase):
    """The boundary critic learns where segments end (HRL eq. 9, 10)."""

    objective: Literal["boundaries"]


class RewardPhase(Phase):
    """What all phases with a reward of captions share."""

    reward: Weights = Field(default="CIDEr-D", validate_default=True)
    eos_in_reward: bool  # whether </s> is a token of reward and references
    punctuation_in_reward: bool = False
    clip_weights: str | None = None  # CLIPScore: the weights of the open_clip model whose image tower gave the features

    @model_validator(mode="after")
    def _check_clip_weights(self) -> "RewardPhase":
        if ("CLIPScore" in self.weights) != (self.clip_weights is not None):
            raise ValueError("clip_weights: CLIPScore, and no other reward, needs them; give both or neither")
        return self

    @property
    def weights(self) -> dict[str, float]:
        """The weight of each reward in their sum."""
        return dict(self.reward)


class PolicyPhase(RewardPhase):
    """What all ways of reinforcement of a policy share: how it writes the captions that it learns from."""

    # Whether dropout is on while captions are written whose log-probabilities are reinforced. Off, the policy that
    # improves is the one that is used at test time.
    dropout: bool = False
    # The logits of the policy that the phase starts from are divided by it, once. Its greedy captions stay; below 1 its
    # samples begin nearer to them, and no updates go into making them so.
    start_temperature: Positive = 1.0


class ReinforcePhase(PolicyPhase):
    objective: Literal["reinforce"]
    baseline: Literal["linear", "greedy", "leave-one-out", "none"]
    baseline_rate: Positive = 1.0  # linear: the baseline's share of the learning rate
    baseline_warmup: Annotated[int, Field(ge=0)] = 0  # linear: first updates, in which the baseline alone learns
    samples: PositiveInt = 1  # captions of each item of a batch
    entropy: NotNegative = 0  # weight of the policy's entropy, summed over a caption's words (SLE section 5.2, SLL-ME)

    @model_validator(mode="after")
    def _check_baseline(self) -> "ReinforcePhase":
        if self.baseline == "leave-one-out" and self.samples == 1:
            raise ValueError("baseline: leave-one-out is the mean reward of an item's other samples; set samples: 2")
        if self.baseline != "linear" and (self.baseline_rate != 1 or self.baseline_warmup):
            raise ValueError(
                "baseline_rate, baseline_warmup: only baseline: linear learns; set that, or leave them out"
            )
        return self


class ExplorationPhase(PolicyPhase):
    """Several samples an item, rewarded for what they say and for how they differ (SLE eq. 8 to 16)."""

    objective: Literal["sle"]
    alpha: Share  # weight of precision; 1 - alpha is that of diversity (eq. 8)
    samples: Annotated[int, Field(ge=2)]  # s, of each item of a batch
    diversity_baseline: Literal["mean", "leave-one-out"]  # section 4.3 has the mean, which has a bias
    reward_scale: Positive | None = None  # the reward that is 1 in eq. 2; none: its maximum, 10 of CIDEr-D

    @model_validator(mode="after")
    def _check_baseline(self) -> "ExplorationPhase":
        if self.diversity_baseline == "mean" and self.samples == 2:
            raise ValueError("diversity_baseline: mean leaves nothing of two samples; set leave-one-out, or samples: 3")
        return self


class StagewisePhase(PolicyPhase):
    """Rewards of every fine stage, relative to its own greedy caption and to the stage before (Stack-Cap eq. 11-15)."""

    objective: Literal["stagewise"]
    # What a stage's reward is relative to: its own greedy caption, the sample of the stage before, or each (eq. 15).
    relative_to: Literal["both", "greedy", "stage-before"] = "both"


class EmbeddingPhase(Phase):
    """Pictures and captions learn to find each other in one space (Shi et al. eq. 5)."""

    objective: Literal["embedding"]
    loss: Literal["ranking", "adjacent"] = "ranking"  # adjacent: eq. 5 as printed, which knows no other captions
    # gamma. ranking: how much nearer a picture's own caption should be than others', in cosine; adjacent: a factor.
    margin: Positive


class ValuePhase(RewardPhase):
    """The value network learns what captions of the policy, which stays as it is, will earn (Shi et al. eq. 9)."""

    objective: Literal["value"]
    # Whether the value network's embedding begins as that of the reward, or goes on as it is; null: it begins so, but
    # never in the place of one that was trained.
    from_embedding: bool | None = None

    @property
    def trains_value_network(self) -> bool:
        return True


class ActorCriticPhase(PolicyPhase):
    """Policy and value network learn from the same captions (Shi et al. eq. 10 to 12)."""

    objective: Literal["actor-critic"]
    baseline: Literal["value", "none"]
    steps: PositiveInt | None  # words after which a target trusts the value network; 1: TD(0), null: never, eq. 10
    # Words at a caption's end, </s> among them, that the policy writes in the first epoch, and so many more in each
    # further one; those before are a training caption's, learned by cross-entropy (Ren et al. 2017). None: all are its.
    # Both are one pass through the policy: `dropout` is of the given words, too.
    curriculum: Positive | None = None

    @property
    def trains_value_network(self) -> bool:
        return True

    @model_validator(mode="after")
    def _check_baseline(self) -> "ActorCriticPhase":
        if self.baseline == "none" and self.steps is not None:
            raise ValueError("baseline: none leaves the value network out of it; set steps to null")
        return self


class HRLPhase(PolicyPhase):
    """Worker and manager learn in turns, each from the change of the reward that its words bring (HRL section 3.3)."""

    objective: Literal["hrl"]
    discount: Share  # gamma of eq. 24 and 25: per word for the worker, per segment for the manager
    worker_updates: Annotated[int, Field(ge=0)]  # updates of the worker before the manager's turn; the worker begins
    manager_updates: Annotated[int, Field(ge=0)]  # updates of the manager before it is the worker's turn again
    manager_rate: Positive = 1.0  # the manager's share of the learning rate
    samples: PositiveInt = 1  # captions of each clip of a batch in the worker's updates
    # The worker's: a regression on its state, or the mean return, from the same word on, of a clip's other samples.
    baseline: Literal["linear", "leave-one-out"] = "linear"
    baseline_rate: Positive = 1.0  # the linear baselines' share of the learning rate
    # The worker's first updates, and likewise the manager's, in which its linear baseline learns alone.
    baseline_warmup: Annotated[int, Field(ge=0)] = 0
    noise: NotNegative  # standard deviation of the manager's exploration at first (eq. 23) ...
    noise_end: NotNegative  # ... and at the end; linear in between
    # In what it is measured; goals: in the standard deviation of the first goals over a batch's clips, mean over their
    # dimensions; absolute: in 1.
    noise_scale: Literal["absolute", "goals"] = "goals"
    gradients_cross_segments: bool  # whether a goal also answers for the words of later segments
    # The worker's updates: whether it also learns by what its states do to the goals; false: they are given (eq. 14).
    gradients_through_manager: bool = True

    @model_validator(mode="after")
    def _check_accumulation(self) -> "HRLPhase":
        if self.gradient_accumulation_steps > 1:
            raise ValueError("gradient_accumulation_steps: worker and manager take turns batch by batch; set it to 1")
        return self

    @model_validator(mode="after")
    def _check_turns(self) -> "HRLPhase":
        if self.worker_updates == self.manager_updates == 0:
            raise ValueError("worker_updates, manager_updates: with both 0 nobody learns; set one of them to 1 or more")
        return self

    @model_validator(mode="after")
    def _check_baseline(self) -> "HRLPhase":
        if self.baseline == "leave-one-out" and self.samples == 1:
            raise ValueError("baseline: leave-one-out is the mean return of a clip's other samples; set samples: 2")
        return self


class Augmentation(Strict):
    """How frames are varied, all of a clip alike, each time that a CNN learns from them."""

    crop: Annotated[float, Field(ge=0, lt=1)] = 0  # the most that is cut off of either side, as a share
    flip: bool = False  # whether half of the clips are mirrored


class EndToEndPhase(Phase):
    """Of a captioner with a CNN in it: alpha * L_captions + (1 - alpha) * L_attributes (Li and Gong eq. 8)."""

    alpha: Share = 1  # weight of the captions' loss; the rest is the attributes'; 0: attributes choose the checkpoint
    cnn_rate: NotNegative = 0  # the CNN's share of the learning rate; 0: it is frozen
    attributes_rate: Positive = 1  # likewise that of the layer that predicts attributes
    augmentation: Augmentation = Augmentation()  # of what a CNN that learns sees
    # Activation checkpointing: so many frames' activations in memory at a time, all others computed again when they
    # are needed; null: all are kept.
    frames_at_once: PositiveInt | None = None

    @model_validator(mode="after")
    def _check_augmentation(self) -> "EndToEndPhase":
        if self.cnn_rate == 0 and self.augmentation != Augmentation():
            raise ValueError("augmentation: a frozen CNN sees every frame once; leave it out, or give cnn_rate")
        return self


class MultitaskXEPhase(EndToEndPhase):
    """Captions by cross-entropy (Li and Gong eq. 2): step 1, and the ablations without reinforcement."""

    objective: Literal["multitask-xe"]


class MultitaskPhase(EndToEndPhase, PolicyPhase):
    """Captions by REINFORCE with a greedy baseline (Li and Gong eq. 7): steps 2 and 3."""

    objective: Literal["multitask"]
    samples: PositiveInt  # M of eq. 7, captions of each clip; 1: REINFORCE, more: REINFORCE+
    per_word: bool = True  # log p of a caption is the mean over its words (eq. 2); false: their sum


class BackbonePhase(Phase):
    """The mini backbone's training on attribute labels of rendered frames; an epoch is a pass over these frames."""

    objective: Literal["attributes"] = "attributes"
    epochs: Positive = 5
    batch: PositiveInt = 32
    optimiser: Optimiser = "adam"
    learning_rate: Positive = 3e-3
    lr_schedule: Schedule = "linear"
