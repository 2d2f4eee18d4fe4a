"""A phase of YAML: one of this package's, by its objective, or one of a user's own learner."""

from typing import Annotated, Any

from pydantic import (
    Discriminator,
    Field,
    PlainValidator,
    SerializeAsAny,
    Tag,
    ValidationError,
    WithJsonSchema,
)

from captionrl.config.base import complaint, own_settings
from captionrl.config.phases import (
    ActorCriticPhase,
    BoundaryPhase,
    EmbeddingPhase,
    ExplorationPhase,
    HRLPhase,
    MultitaskPhase,
    MultitaskXEPhase,
    Phase,
    ReinforcePhase,
    StagewisePhase,
    ValuePhase,
    XEPhase,
)
from captionrl.dotted import DOTTED, is_dotted
from captionrl.errors import UserError

PackagePhase = Annotated[
    XEPhase
    | BoundaryPhase
    | ReinforcePhase
    | ExplorationPhase
    | StagewisePhase
    | EmbeddingPhase
    | ValuePhase
    | ActorCriticPhase
    | MultitaskXEPhase
    | MultitaskPhase
    | HRLPhase,
    Field(discriminator="objective"),
]


def _own_phase(raw: dict[str, Any]) -> Phase:
    """A phase whose objective is a user's learner, which may have a class `Phase` of its own."""
    try:
        kind = own_settings(raw["objective"], "Phase", Phase)
    except UserError as error:
        raise ValueError(f"objective: {error}") from None
    try:
        return kind.model_validate(raw)
    except ValidationError as error:
        raise ValueError(complaint(error, kind)) from None


def _whose(phase: Any) -> str:
    objective = phase.get("objective") if isinstance(phase, dict) else getattr(phase, "objective", None)
    return "own" if isinstance(objective, str) and is_dotted(objective) else "package"


OWN_PHASE = {
    "description": "A phase of a learner of your own: the keys of all phases, and those of its class Phase.",
    "type": "object",
    "properties": {"objective": {"type": "string", "pattern": f"^{DOTTED}$"}},
    "required": ["objective"],
}
OwnPhase = Annotated[SerializeAsAny[Phase], PlainValidator(_own_phase), WithJsonSchema(OWN_PHASE)]
AnyPhase = Annotated[Annotated[PackagePhase, Tag("package")] | Annotated[OwnPhase, Tag("own")], Discriminator(_whose)]
