"""Stills of the mini world: one or two actors and one to three things, each in a relation to another.

Coordinates are those of `world`. Figures and things on the ground stand at four places in a row.
"""

from dataclasses import dataclass, replace
from itertools import combinations
from random import Random

from captionrl.datasets.mini.world import ACTORS, COLOURS, GROUND, HEIGHTS, OBJECTS, PLACES, held_out

ROW = (0.17, 0.39, 0.61, 0.83)
NEAR = 0.3  # neighbours in the row are never farther apart, others never nearer
# How far a thing's top surface lies above its centre, and its underside below.
SURFACES = {"box": 0.11, "drum": 0.08, "book": 0.05}
UNDERSIDES = {"ball": 0.09, "box": 0.11, "cup": 0.10, "book": 0.07, "bag": 0.10, "hat": 0.06}
INVERSES = {"held": "hold", "above": "under", "front": "behind", "beside": "beside", "on": "under", "left": "right"}
AT_FIGURES = ("held", "above", "front", "beside")


@dataclass(frozen=True)
class Figure:
    """An actor on the ground; facing +1: to the right, -1: to the left."""

    actor: str
    colour: str
    x: float
    facing: int


@dataclass(frozen=True)
class Thing:
    """An object with its centre at (x, y).

    `where`: "held" by the figure `anchor` (an index), "above" it, in "front" of it, "beside" it, or "on" the thing
    `anchor`. Only what is beside a figure has a place of its own in the row.
    """

    object: str
    colour: str
    where: str
    anchor: int
    x: float
    y: float


@dataclass(frozen=True)
class Still:
    """One picture. No two figures are the same actor, no two things the same object."""

    place: str
    figures: tuple[Figure, ...]
    things: tuple[Thing, ...]
    look: int  # seeds what has no name, as in `world.Scene`


@dataclass(frozen=True)
class Fact:
    """`subject` stands in `relation` to `object`, such as: a kite, above, a man."""

    relation: str
    subject: Figure | Thing
    object: Figure | Thing


def facts(still: Still) -> list[Fact]:
    """All that can be said of how two of them lie to each other, both ways round, left and right as in the picture."""
    found = []
    for thing in still.things:
        if thing.where == "on":
            found.append(Fact("on", thing, still.things[thing.anchor]))
        elif thing.where != "beside":
            found.append(Fact(thing.where, thing, still.figures[thing.anchor]))
    row: list[Figure | Thing] = [*still.figures, *(thing for thing in still.things if thing.where == "beside")]
    for one, other in combinations(row, 2):
        first, second = (one, other) if one.x < other.x else (other, one)
        found.append(Fact("left", first, second))
        if second.x - first.x < NEAR:
            found.append(Fact("beside", one, other))
    found += [Fact(INVERSES[fact.relation], fact.object, fact.subject) for fact in found]
    faced = [fact for fact in found if fact.relation == "beside" and isinstance(fact.subject, Figure)]
    return found + [replace(fact, relation="face") for fact in faced if _faces(fact.subject, fact.object)]


def triples(still: Still) -> set[tuple[str, str, str]]:
    """What is held by, above, in front of or beside whom: (actor, relation, object)."""
    return {
        (fact.object.actor, fact.relation, fact.subject.object)
        for fact in facts(still)
        if fact.relation in AT_FIGURES and isinstance(fact.subject, Thing) and isinstance(fact.object, Figure)
    }


def sample_still(random: Random, *, train: bool) -> Still:
    """A random still; no training still shows a held-out (actor, relation, object) triple, every other one does."""
    place, look = random.choice(PLACES), random.getrandbits(32)
    actors, objects = random.choice((1, 1, 2)), random.choice((1, 2, 2, 3))
    while True:
        still = _arrange(random, place, look, random.sample(ACTORS, actors), random.sample(OBJECTS, objects))
        if still and not _crowded(still) and any(held_out(*triple) for triple in triples(still)) != train:
            return still


def _arrange(random: Random, place: str, look: int, actors: list[str], objects: list[str]) -> Still | None:
    """One try; None where a thing finds no room."""
    row = random.sample([x + random.uniform(-0.02, 0.02) for x in ROW], len(ROW))
    figures = []
    for actor in actors:
        x = row.pop()
        facing = random.choice((1, -1)) if 0.25 < x < 0.75 else (1 if x < 0.5 else -1)  # hands stay in the picture
        figures.append(Figure(actor, random.choice(COLOURS), x, facing))
    things: list[Thing] = []
    for thing in objects:
        bases = [i for i, base in enumerate(things) if base.where == "beside" and base.object in SURFACES]
        where = random.choice((*AT_FIGURES, "held", *(["on"] * 6 if bases and thing in UNDERSIDES else ["beside"])))
        if where == "on":
            anchor = random.choice(bases)
            base = things[anchor]
            x, y = base.x, base.y - SURFACES[base.object] - UNDERSIDES[thing]
        else:
            anchor = random.randrange(len(figures))
            free = [x for x in row if abs(x - figures[anchor].x) < NEAR]
            if where == "beside" and not free:
                return None
            x, y = (free[0], GROUND - 0.06) if where == "beside" else _position(figures[anchor], where)
        row = [place for place in row if place != x]
        things.append(Thing(thing, random.choice(COLOURS), where, anchor, x, y))
    return Still(place, tuple(figures), tuple(things), look)


def _position(figure: Figure, where: str) -> tuple[float, float]:
    height = HEIGHTS[figure.actor]
    return {
        "held": (figure.x + 0.12 * figure.facing, GROUND - 0.5 * height),
        "above": (figure.x, GROUND - height - 0.14),
        "front": (figure.x, GROUND + 0.04),
    }[where]


def _crowded(still: Still) -> bool:
    """Whether a thing hides another, or lies so near to a second figure that it might be that one's."""
    for one, other in combinations(still.things, 2):
        stacked = other.where == "on" and still.things[other.anchor] == one
        if not stacked and max(abs(one.x - other.x), abs(one.y - other.y)) < 0.16:
            return True
    strangers = [
        (thing, figure)
        for thing in still.things
        for index, figure in enumerate(still.figures)
        if thing.where == "on" or thing.anchor != index
    ]
    return any(abs(thing.x - figure.x) < 0.17 for thing, figure in strangers)


def _faces(one: Figure | Thing, other: Figure | Thing) -> bool:
    return isinstance(one, Figure) and (other.x - one.x) * one.facing > 0
