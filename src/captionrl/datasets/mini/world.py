"""What the mini world holds and how it moves: actors, objects, places, and ten actions in time.

Coordinates are fractions of the picture: x to the right, y downwards, the ground at y = GROUND.
"""

import hashlib
import math
from dataclasses import dataclass
from random import Random

COLOURS = ("red", "blue", "green", "yellow", "purple", "white")
ACTORS = ("man", "woman", "boy", "girl", "dog", "cat", "robot")
PEOPLE = ("man", "woman", "boy", "girl")
OBJECTS = ("ball", "box", "cup", "book", "kite", "drum", "bag", "hat")
PLACES = ("kitchen", "beach", "park", "street", "bedroom", "stage")
ACTIONS = ("carry", "push", "pull", "kick", "throw", "catch", "pick up", "put down", "jump over", "juggle")
MANNERS = {"quickly": 0.4, "": 0.7, "slowly": 1.0}  # share of an event's time that the movement takes

GROUND = 0.82
HEIGHTS = {"man": 0.46, "woman": 0.44, "boy": 0.32, "girl": 0.31, "dog": 0.22, "cat": 0.19, "robot": 0.40}


@dataclass(frozen=True)
class Event:
    """One action on one object, from `start` to `end` seconds."""

    action: str
    object: str
    object_colour: str
    manner: str
    facing: int  # +1: to the right, -1: to the left
    start: float
    end: float


@dataclass(frozen=True)
class Scene:
    """One clip: who, where, and what happens, one event after the other."""

    actor: str
    colour: str
    place: str
    events: tuple[Event, ...]
    look: int  # seeds what has no name: the light, the backdrop's details

    @property
    def seconds(self) -> float:
        return self.events[-1].end

    def event_at(self, time: float) -> Event:
        return next((event for event in self.events if time < event.end), self.events[-1])


@dataclass(frozen=True)
class Pose:
    """Where actor (feet) and object (centre) are at one instant."""

    actor_x: float
    actor_y: float
    object_x: float
    object_y: float


def pose_at(scene: Scene, time: float) -> Pose:
    """The positions at `time` seconds."""
    event = scene.event_at(time)
    share = (time - event.start) / (event.end - event.start)
    u = min(1.0, max(0.0, share / MANNERS[event.manner]))
    height = HEIGHTS[scene.actor]
    hand, floor, aloft = GROUND - 0.5 * height, GROUND - 0.06, GROUND - height - 0.14
    match event.action:
        case "carry":
            x, y, ox, oy = 0.15 + 0.6 * u, GROUND, 0.27 + 0.6 * u, hand
        case "push":
            x, y, ox, oy = 0.12 + 0.55 * u, GROUND, 0.28 + 0.55 * u, floor
        case "pull":
            x, y, ox, oy = 0.33 + 0.55 * u, GROUND, 0.17 + 0.55 * u, floor
        case "kick":  # walk up to it, then off it goes
            x, y = 0.12 + 0.26 * min(1.0, u / 0.4), GROUND
            ox, oy = 0.5 + 0.43 * max(0.0, (u - 0.4) / 0.6), floor
        case "throw" | "catch":  # one is the other, backwards in time
            flight = max(0.0, ((u if event.action == "throw" else 1 - u) - 0.2) / 0.8)
            x, y = 0.2, GROUND
            ox, oy = 0.32 + 0.6 * flight, hand - 1.4 * flight * (1 - flight) + (floor - hand) * flight**2
        case "pick up" | "put down":
            lift = u if event.action == "pick up" else 1 - u
            x, y, ox, oy = 0.5, GROUND, 0.62, floor + (aloft - floor) * lift
        case "jump over":
            x, y = 0.12 + 0.74 * u, GROUND - 1.5 * u * (1 - u)
            ox, oy = 0.5, floor
        case "juggle":
            x, y, ox = 0.45, GROUND, 0.57
            oy = hand + (aloft - 0.1 - hand) * abs(math.sin(3 * math.pi * u))
        case _:
            raise ValueError(f"no such action: {event.action}")
    if event.facing < 0:
        x, ox = 1 - x, 1 - ox
    return Pose(x, y, ox, oy)


def held_out(actor: str, action: str, thing: str, share: float = 0.25) -> bool:
    """Whether (actor, action, object) is kept for validation and test; a fixed property of the triple."""
    digest = hashlib.sha256(f"{actor}|{action}|{thing}".encode()).digest()
    return int.from_bytes(digest[:4], "big") < share * 2**32


def sample_scene(random: Random, *, train: bool, actors: tuple[str, ...], events: int, seconds: float) -> Scene:
    """A random scene of `events` events of about `seconds` each.

    No event of a training scene has a held-out (actor, action, object) triple; every event of another one has.
    """
    actor = random.choice(actors)
    timeline: list[Event] = []
    used: set[str] = set()
    while len(timeline) < events:
        action, thing = random.choice(ACTIONS), random.choice(OBJECTS)
        if held_out(actor, action, thing) == train or action in used or thing in used:
            continue
        used |= {action, thing}
        start = timeline[-1].end if timeline else 0.0
        timeline.append(
            Event(
                action=action,
                object=thing,
                object_colour=random.choice(COLOURS),
                manner=random.choice(tuple(MANNERS)),
                facing=random.choice((1, -1)),
                start=start,
                end=start + round(seconds * random.uniform(0.75, 1.25), 2),
            )
        )
    return Scene(actor, random.choice(COLOURS), random.choice(PLACES), tuple(timeline), random.getrandbits(32))


def frame_labels(scene: Scene, time: float) -> dict[str, int]:
    """What a backbone is taught to see in the frame at `time`: one class index per attribute of `LABELS`."""
    event, pose = scene.event_at(time), pose_at(scene, time)
    return {
        "actor": ACTORS.index(scene.actor),
        "colour": COLOURS.index(scene.colour),
        "object": OBJECTS.index(event.object),
        "object_colour": COLOURS.index(event.object_colour),
        "place": PLACES.index(scene.place),
        "actor_x": _bin(pose.actor_x, 8),
        "actor_y": _bin((pose.actor_y - 0.4) / 0.45, 4),
        "object_x": _bin(pose.object_x, 8),
        "object_y": _bin(pose.object_y, 8),
    }


LABELS = {
    "actor": len(ACTORS),
    "colour": len(COLOURS),
    "object": len(OBJECTS),
    "object_colour": len(COLOURS),
    "place": len(PLACES),
    "actor_x": 8,
    "actor_y": 4,
    "object_x": 8,
    "object_y": 8,
}


def _bin(value: float, bins: int) -> int:
    return min(bins - 1, max(0, int(value * bins)))
