"""How people talk about the mini world: many annotators, each with words and an eye of their own.

Two people seldom mention the same things, as in the real corpora: that is what leaves a consensus metric, and a
captioner trained on it, something to find.
"""

from random import Random

from captionrl.datasets.mini.world import PEOPLE, Event, Scene

ACTOR_NOUNS = {
    "man": ("man", "man", "man", "guy", "person"),
    "woman": ("woman", "woman", "woman", "lady", "person"),
    "boy": ("boy", "boy", "boy", "kid", "child"),
    "girl": ("girl", "girl", "girl", "kid", "child"),
    "dog": ("dog", "dog", "dog", "puppy", "animal"),
    "cat": ("cat", "cat", "cat", "kitten", "animal"),
    "robot": ("robot", "robot", "robot", "machine"),
}
PRONOUNS = {"man": "he", "boy": "he", "woman": "she", "girl": "she"}
OBJECT_NOUNS = {
    "ball": ("ball",),
    "box": ("box", "box", "crate"),
    "cup": ("cup", "cup", "mug"),
    "book": ("book",),
    "kite": ("kite",),
    "drum": ("drum",),
    "bag": ("bag", "bag", "backpack"),
    "hat": ("hat", "hat", "cap"),
}
# (third person singular, -ing form) of each paraphrase; {} is the object
VERBS = {
    "carry": (("carries {}", "carrying {}"), ("walks with {}", "walking with {}"), ("brings {}", "bringing {}")),
    "push": (("pushes {}", "pushing {}"), ("shoves {}", "shoving {}"), ("moves {} forward", "moving {} forward")),
    "pull": (("pulls {}", "pulling {}"), ("drags {}", "dragging {}"), ("drags {} along", "dragging {} along")),
    "kick": (("kicks {}", "kicking {}"), ("kicks {} away", "kicking {} away"), ("hits {}", "hitting {}")),
    "throw": (("throws {}", "throwing {}"), ("throws {} away", "throwing {} away"), ("tosses {}", "tossing {}")),
    "catch": (
        ("catches {}", "catching {}"),
        ("catches {} in the air", "catching {} in the air"),
        ("grabs {}", "grabbing {}"),
    ),
    "pick up": (("picks up {}", "picking up {}"), ("lifts {}", "lifting {}"), ("raises {} up", "raising {} up")),
    "put down": (("puts down {}", "putting down {}"), ("lowers {}", "lowering {}"), ("drops {}", "dropping {}")),
    "jump over": (("jumps over {}", "jumping over {}"), ("leaps over {}", "leaping over {}")),
    "juggle": (("juggles {}", "juggling {}"), ("bounces {}", "bouncing {}"), ("plays with {}", "playing with {}")),
}
PLACE_PHRASES = {
    "kitchen": ("in the kitchen", "in a kitchen", "inside a kitchen"),
    "beach": ("on the beach", "at the beach", "by the sea"),
    "park": ("in the park", "in a park", "under a tree"),
    "street": ("on the street", "on a street", "in the city"),
    "bedroom": ("in the bedroom", "in a bedroom", "beside a bed"),
    "stage": ("on stage", "on a stage", "in a theater"),
}
MANNER_WORDS = {"quickly": ("quickly", "fast"), "slowly": ("slowly", "carefully")}


def caption(scene: Scene, random: Random) -> str:
    """One annotator's short caption of the first event, in the manner of MSR-VTT: about nine words."""
    event = scene.events[0]
    third, ing = random.choice(VERBS[event.action])
    verb = f"is {ing}" if random.random() < 0.6 else third
    words = [_actor(scene, random), verb.format(_object(event, random))]
    if random.random() < 0.3 and event.manner:
        words.append(random.choice(MANNER_WORDS[event.manner]))
    if random.random() < 0.45:
        words.append(random.choice(PLACE_PHRASES[scene.place]))
    return " ".join(words)


def description(scene: Scene, random: Random) -> str:
    """One annotator's detailed description of all events in order, in the manner of Charades: about 24 words."""
    subject = "A person" if random.random() < 0.25 else _actor(scene, random).capitalize()
    pronoun = random.choice((PRONOUNS[scene.actor], "the person", "they"))
    place = random.choice(PLACE_PHRASES[scene.place])
    text = f"{subject} is standing {place}" if random.random() < 0.3 else ""
    for index, event in enumerate(scene.events):
        third, ing = random.choice(VERBS[event.action])
        thing = _object(event, random)
        if index == 0 and not text:
            text = f"{subject} {f'is {ing}' if random.random() < 0.5 else third}".format(thing) + f" {place}"
        elif index == 0:
            text += f" and {ing}".format(thing)
        else:
            plural = pronoun == "they"
            verb = f"{'start' if plural else 'starts'} {ing}" if plural or random.random() < 0.3 else third
            joint = random.choice((". {} then {}", ". After that {} {}", ", then {} {}", " and then {} {}"))
            joined = joint.format(pronoun, verb.format(thing))
            text += ". " + joined[2].upper() + joined[3:] if joined.startswith(". ") else joined
        if event.manner and random.random() < 0.3:
            text += " " + random.choice(MANNER_WORDS[event.manner])
    return text + "."


def script(scene: Scene, random: Random) -> str:
    """The script that the clip's actor was given: terse, a nameless person."""
    parts = [random.choice(VERBS[event.action])[0].format(_object(event, random)) for event in scene.events]
    place = random.choice(PLACE_PHRASES[scene.place])
    return f"A person {place} {parts[0]}, " + ", ".join([*parts[1:-1], f"and then {parts[-1]}"]) + "."


def _actor(scene: Scene, random: Random) -> str:
    noun = random.choice(ACTOR_NOUNS[scene.actor])
    article = "an" if noun[0] in "aeiou" else "a"
    draw = random.random()
    if draw < 0.5:
        return f"{article} {noun}"
    if draw < 0.85:
        return f"{article} {noun} in {scene.colour}"
    garment = "shirt" if scene.actor in PEOPLE else "coat"
    return f"{article} {noun} wearing a {scene.colour} {garment}"


def _object(event: Event, random: Random) -> str:
    noun = random.choice(OBJECT_NOUNS[event.object])
    draw = random.random()
    if draw < 0.5:
        return f"a {event.object_colour} {noun}"
    return f"a {noun}" if draw < 0.85 else f"the {noun}"
