"""How people talk about stills of the mini world, in the manner of COCO: annotators with an eye of their own.

Most begin with the same figure, but they name other things, relations and colours, in other words and orders: a
captioner can learn what is worth a mention, and can say it in many ways. Whatever relation a caption tells is one of
its first noun.
"""

from random import Random

from captionrl.datasets.mini.grammar import ACTOR_NOUNS, OBJECT_NOUNS, PLACE_PHRASES
from captionrl.datasets.mini.stills import Fact, Figure, Still, Thing, facts
from captionrl.datasets.mini.world import PEOPLE

# (third person singular, -ing form), as in `grammar.VERBS`
RELATION_VERBS = {
    "hold": (("holds {}", "holding {}"), ("carries {}", "carrying {}"), ("stands with {}", "standing with {}")),
    "held": (("is held by {}", "held by {}"), ("is carried by {}", "carried by {}")),
    "face": (("looks at {}", "looking at {}"), ("faces {}", "facing {}"), ("watches {}", "watching {}")),
}
PREPOSITIONS = {
    "under": ("under {}", "below {}", "underneath {}"),
    "above": ("above {}", "over {}"),
    "behind": ("behind {}",),
    "front": ("in front of {}",),
    "beside": ("next to {}", "beside {}", "near {}"),
    "left": ("to the left of {}", "left of {}"),
    "right": ("to the right of {}", "right of {}"),
    "on": ("on {}", "on top of {}"),
}
# What figures, things on the ground and things in the air do where they are; an empty -ing form says nothing of it.
STANDING = (("stands", "standing"), ("stands", "standing"), ("waits", "waiting"), ("poses", "posing"), ("is", ""))
LYING = (("lies", "lying"), ("sits", "sitting"), ("is", ""))
FLOATING = (("floats", "floating"), ("hovers", "hovering"), ("is", ""))
# How soon an annotator thinks of a relation.
WEIGHTS = {"hold": 5, "under": 3, "behind": 3, "beside": 3, "on": 5, "above": 3, "front": 3, "held": 2, "face": 1}
GROUPS = (
    (("boy", "girl"), ("two kids", "two children")),
    (("dog", "cat"), ("two animals",)),
    (PEOPLE, ("two people",)),
)
OPENINGS = ("a picture of", "a photo of", "there is")
LENGTHS = (8, 14)  # COCO's captions have 10.4 words


def caption(still: Still, random: Random) -> str:
    """One annotator's sentence, 8 to 14 words, its first letter a capital, with a full stop."""
    while True:
        draw = random.random()
        if draw < 0.12:
            text = _list(still, random)
        elif draw < 0.35 and len(still.figures) > 1:
            text = _tell_both(still, random)
        else:
            text = _tell_one(still, random)
        if LENGTHS[0] <= len(text.split()) <= LENGTHS[1]:
            return text[0].upper() + text[1:] + "."


def _tell_one(still: Still, random: Random) -> str:
    """One figure or thing, what it does, and perhaps where: "a man in red is holding a cup next to a dog"."""
    if random.random() < 0.2:
        subject: Figure | Thing = random.choice(still.things)
    else:
        subject = still.figures[0] if random.random() < 0.75 else still.figures[-1]
    known = [fact for fact in facts(still) if fact.subject == subject]
    first = random.choices(known, [_weight(fact, still) for fact in known])[0]
    said: list[str] = []
    noun = _mention(subject, random, said)
    third, ing = _predicate(first, _mention(first.object, random, said), random)
    rest = [fact for fact in known if fact.object != first.object]
    second = (
        random.choices(rest, [_weight(fact, still) for fact in rest])[0] if rest and random.random() < 0.5 else None
    )
    if second:
        thirds, ings = _predicate(second, _mention(second.object, random, said), random)
        # "holding a cup next to a dog": after any other relation, that would be said of the relation's object.
        joint = " " if first.relation == "hold" and not ings.split()[0].endswith("ing") else " and "
        third, ing = f"{third} and {thirds}", f"{ing}{joint}{ings}"
    draw = random.random()
    if draw < 0.15:
        text = f"{random.choice(OPENINGS)} {noun} {ing}"
    elif draw < 0.45:
        text = f"{noun} {ing}"
    elif draw < 0.75 and third.split()[0] != "is":
        text = f"{noun} is {ing}"
    else:
        text = f"{noun} {third}"
    return _somewhere(text, still, random)


def _tell_both(still: Still, random: Random) -> str:
    """Two figures and what is with them: "a man and a dog are standing in the park with a red ball"."""
    one, other = still.figures if random.random() < 0.7 else still.figures[::-1]
    said: list[str] = []
    groups = [random.choice(words) for members, words in GROUPS if one.actor in members and other.actor in members]
    if groups and random.random() < 0.4:
        noun = groups[0]
    else:
        noun = f"{_mention(one, random, said)} and {_mention(other, random, said)}"
    verb = random.choice(("are standing", "stand", "are waiting", "are", "are posing"))
    near = Fact("beside", one, other) in facts(still)
    apart = random.choice(("next to each other", "side by side")) if near and random.random() < 0.4 else ""
    things = random.sample(still.things, random.choice((0, 1, min(2, len(still.things)))))
    company = "with " + " and ".join(_mention(thing, random, said) for thing in things) if things else ""
    place = random.choice(PLACE_PHRASES[still.place]) if random.random() < 0.7 or verb == "are" else ""
    return " ".join(part for part in (noun, verb, apart, *random.sample((place, company), 2)) if part)


def _list(still: Still, random: Random) -> str:
    """Only what is there: "a kitchen with a man, a dog and a red cup"."""
    chosen: list[Figure | Thing] = [*still.figures, *random.sample(still.things, random.randint(1, len(still.things)))]
    said: list[str] = []
    nouns = [_mention(one, random, said) for one in chosen]
    listed = ", ".join(nouns[:-1]) + f" and {nouns[-1]}"
    draw = random.random()
    if draw < 0.4:
        return f"a {still.place} with {listed}"
    place = random.choice(PLACE_PHRASES[still.place])
    return f"{random.choice(OPENINGS[:2])} {listed} {place}" if draw < 0.7 else f"{listed} {place}"


def _weight(fact: Fact, still: Still) -> float:
    """The thing that was put first, and the other figure, catch the eye."""
    return WEIGHTS.get(fact.relation, 0.7) * (1.0 if fact.object in still.things[1:] else 2.0)


def _predicate(fact: Fact, noun: str, random: Random) -> tuple[str, str]:
    """What is said of the fact's subject: (third person singular, -ing form)."""
    if fact.relation in RELATION_VERBS:
        third, ing = random.choice(RELATION_VERBS[fact.relation])
        return third.format(noun), ing.format(noun)
    where = random.choice(PREPOSITIONS[fact.relation]).format(noun)
    third, ing = random.choice(_postures(fact.subject))
    return f"{third} {where}", f"{ing} {where}".strip()


def _postures(one: Figure | Thing) -> tuple[tuple[str, str], ...]:
    if isinstance(one, Figure):
        return STANDING
    return FLOATING if one.where == "above" else LYING


def _mention(one: Figure | Thing, random: Random, said: list[str]) -> str:
    """A noun with or without its colour; `said` holds the nouns so far: a second kid is another kid."""
    draw = random.random()
    noun = random.choice(ACTOR_NOUNS[one.actor] if isinstance(one, Figure) else OBJECT_NOUNS[one.object])
    article = "another" if noun in said else "an" if noun[0] in "aeiou" else "a"
    said.append(noun)
    if isinstance(one, Thing):
        return f"{article} {one.colour} {noun}" if draw < 0.5 else f"{article} {noun}"
    if draw < 0.5:
        return f"{article} {noun}"
    if draw < 0.85:
        return f"{article} {noun} in {one.colour}"
    garment = "shirt" if one.actor in PEOPLE else "coat"
    return f"{article} {noun} wearing a {one.colour} {garment}"


def _somewhere(text: str, still: Still, random: Random) -> str:
    place = random.choice(PLACE_PHRASES[still.place])
    draw = random.random()
    if draw < 0.1 and not text.startswith(OPENINGS):
        return f"{place} {text}"
    return f"{text} {place}" if draw < 0.55 else text
