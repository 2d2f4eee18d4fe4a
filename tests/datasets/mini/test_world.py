"""What the mini world holds and how it moves."""

import itertools
from dataclasses import replace
from random import Random

import numpy as np
import pytest

from captionrl.datasets.mini.draw import PAINT, render
from captionrl.datasets.mini.world import (
    ACTIONS,
    ACTORS,
    COLOURS,
    HEIGHTS,
    LABELS,
    MANNERS,
    OBJECTS,
    PLACES,
    Event,
    Scene,
    frame_labels,
    held_out,
    pose_at,
    sample_scene,
)


def scene(action, *, actor="man", thing="ball", manner="slowly", facing=1, colour="red", object_colour="blue"):
    event = Event(action, thing, object_colour, manner, facing, start=0.0, end=4.0)
    return Scene(actor, colour, "park", (event,), look=1)


def triples(scenes):
    return {(scene.actor, event.action, event.object) for scene in scenes for event in scene.events}


@pytest.mark.parametrize("events", [1, 3])
def test_training_never_shows_a_held_out_triple_and_test_only_such(events):
    def sample(train):
        random = Random(1)
        return [
            sample_scene(random, train=train, actors=ACTORS, events=events, seconds=4.0) for _ in range(300 // events)
        ]

    assert not any(held_out(*triple) for triple in triples(sample(train=True)))
    assert all(held_out(*triple) for triple in triples(sample(train=False)))


def test_a_quarter_of_the_triples_is_held_out_but_none_of_their_parts():
    every = list(itertools.product(ACTORS, ACTIONS, OBJECTS))
    kept = [triple for triple in every if held_out(*triple)]
    assert 0.2 < len(kept) / len(every) < 0.3
    for pair in itertools.combinations(range(3), 2):  # what a test clip combines has been seen, two by two
        seen = {tuple(triple[i] for i in pair) for triple in every if triple not in kept}
        assert {tuple(triple[i] for i in pair) for triple in kept} <= seen


def test_events_follow_each_other_without_a_repeat():
    random = Random(2)
    for _ in range(50):
        events = sample_scene(random, train=True, actors=ACTORS, events=3, seconds=3.0).events
        assert events[0].start == 0
        assert all(one.end == other.start for one, other in itertools.pairwise(events))
        assert all(2.25 <= event.end - event.start <= 3.76 for event in events)
        assert len({event.action for event in events}) == len({event.object for event in events}) == 3


@pytest.mark.parametrize("manner", MANNERS)
@pytest.mark.parametrize(("forth", "back"), [("throw", "catch"), ("pick up", "put down")])
def test_opposites_are_each_other_backwards_in_time(forth, back, manner):
    for facing, actor in itertools.product((1, -1), ACTORS):
        one = scene(forth, actor=actor, manner=manner, facing=facing)
        other = scene(back, actor=actor, manner=manner, facing=facing)
        moving = 4.0 * MANNERS[manner]
        positions = [pose_at(one, share * moving) for share in np.linspace(0, 1, 21)]
        reversed_ = [pose_at(other, (1 - share) * moving) for share in np.linspace(0, 1, 21)]
        for pose, backwards in zip(positions, reversed_, strict=True):
            assert vars(pose) == pytest.approx(vars(backwards))
        assert positions[0] != positions[-1]


@pytest.mark.parametrize("action", ACTIONS)
def test_every_action_moves_and_its_manner_is_its_speed(action):
    times = np.linspace(0, 3.99, 40)
    still = {}
    for manner in MANNERS:
        poses = [pose_at(scene(action, manner=manner), time) for time in times]
        still[manner] = sum(one == other for one, other in itertools.pairwise(poses))
    assert still["quickly"] > still[""] > still["slowly"]
    assert len(times) - 1 - still["quickly"] > 10


@pytest.mark.parametrize("action", ACTIONS)
def test_facing_is_a_mirror(action):
    for time in (0.0, 1.3, 3.9):
        right, left = (pose_at(scene(action, facing=facing), time) for facing in (1, -1))
        assert (right.actor_x, right.object_x) == pytest.approx((1 - left.actor_x, 1 - left.object_x))
        assert (right.actor_y, right.object_y) == (left.actor_y, left.object_y)


@pytest.mark.parametrize("action", ACTIONS)
def test_actor_and_object_stay_in_the_picture(action):
    for actor, manner, facing in itertools.product(ACTORS, MANNERS, (1, -1)):
        for time in np.linspace(0, 4, 41):
            pose = pose_at(scene(action, actor=actor, manner=manner, facing=facing), time)
            assert all(0.05 <= x <= 0.95 for x in (pose.actor_x, pose.object_x, pose.object_y))
            assert pose.actor_y <= 0.95
            assert pose.actor_y - HEIGHTS[actor] >= -0.02  # a leaping man may lose his topmost pixel


@pytest.mark.parametrize("action", ACTIONS)
def test_the_colours_of_actor_and_object_are_always_to_be_seen(action):
    for number, thing in enumerate(OBJECTS):
        one = scene(action, actor=ACTORS[number % len(ACTORS)], thing=thing, facing=(-1) ** number)
        for time in (0.0, 1.5, 3.99):
            picture = np.asarray(render(one, time), dtype=int)
            painted = np.asarray(
                render(replace(one, events=(replace(one.events[0], object_colour="yellow"),)), time), dtype=int
            )
            assert (picture != painted).any(-1).sum() > 100
            dressed = np.asarray(render(replace(one, colour="green"), time), dtype=int)
            assert (picture != dressed).any(-1).sum() > 10  # least: a boy behind a book


def test_what_captions_name_looks_different():
    base = scene("carry")
    event = base.events[0]
    variants = [replace(base, actor=actor) for actor in ACTORS]
    variants += [replace(base, colour=colour) for colour in COLOURS[1:]]
    variants += [replace(base, place=place) for place in PLACES if place != base.place]
    variants += [replace(base, events=(replace(event, object=thing),)) for thing in OBJECTS[1:]]
    variants += [replace(base, events=(replace(event, object_colour=c),)) for c in COLOURS if c != "blue"]
    pictures = {render(variant, 1.0).tobytes() for variant in variants}
    assert len(pictures) == len(variants)
    assert set(PAINT) == set(COLOURS)


def test_labels_name_what_is_in_the_frame():
    random = Random(3)
    for _ in range(100):
        one = sample_scene(random, train=True, actors=ACTORS, events=2, seconds=3.0)
        time = random.uniform(0, one.seconds)
        labels = frame_labels(one, time)
        assert labels.keys() == LABELS.keys()
        assert all(0 <= label < LABELS[head] for head, label in labels.items())
        event = one.event_at(time)
        assert event.start <= time < event.end
        assert ACTORS[labels["actor"]] == one.actor
        assert COLOURS[labels["colour"]] == one.colour
        assert PLACES[labels["place"]] == one.place
        assert OBJECTS[labels["object"]] == event.object
        assert COLOURS[labels["object_colour"]] == event.object_colour


def test_position_labels_use_all_their_classes():
    random = Random(4)
    seen = {head: set() for head in LABELS}
    for _ in range(600):
        one = sample_scene(random, train=True, actors=ACTORS, events=1, seconds=4.0)
        for head, label in frame_labels(one, random.uniform(0, one.seconds)).items():
            seen[head].add(label)
    for head in ("actor_x", "actor_y", "object_x", "object_y"):
        assert len(seen[head]) >= 3, head
