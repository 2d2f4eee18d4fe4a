"""Stills of several things: what is said to be the case is so in the picture, and can be seen there."""

import itertools
from dataclasses import replace
from random import Random

import numpy as np
import pytest

from captionrl.datasets.mini.draw import SIDE, render_still, write_still
from captionrl.datasets.mini.stills import AT_FIGURES, INVERSES, Fact, Figure, Thing, facts, sample_still, triples
from captionrl.datasets.mini.world import ACTORS, GROUND, HEIGHTS, OBJECTS, held_out


def sample(count, train=True, seed=1):
    random = Random(seed)
    return [sample_still(random, train=train) for _ in range(count)]


STILLS = sample(400) + sample(200, train=False)


def grounded(one):
    return isinstance(one, Figure) or one.y == GROUND - 0.06


def shown(fact):
    """Whether the coordinates alone bear out what `fact` says."""
    one, other = fact.subject, fact.object
    match fact.relation:
        case "hold" | "under" | "behind":
            inverse = {"hold": "held", "under": "above", "behind": "front"}[fact.relation]
            return shown(Fact(inverse, other, one))
        case "right":
            return shown(Fact("left", other, one))
        case "held":  # at half height, at arm's length, on the side that the actor faces
            middle = GROUND - HEIGHTS[other.actor] / 2
            return (one.x - other.x) * other.facing == pytest.approx(0.12) and one.y == pytest.approx(middle)
        case "above" if isinstance(other, Figure):
            return one.x == other.x and one.y < GROUND - HEIGHTS[other.actor] - 0.1
        case "above" | "on":
            return one.x == other.x and 0.1 < other.y - one.y < 0.25
        case "front":
            return one.x == other.x and GROUND < one.y < 0.9
        case "beside":
            return grounded(one) and grounded(other) and 0.17 < abs(one.x - other.x) < 0.3
        case "left":
            return grounded(one) and grounded(other) and one.x + 0.17 < other.x
        case "face":
            return shown(Fact("beside", one, other)) and (other.x > one.x) == (one.facing > 0)
    raise ValueError(fact.relation)


def test_every_fact_is_so_in_the_picture():
    found = [fact for still in STILLS for fact in facts(still)]
    assert not [fact for fact in found if not shown(fact)]
    assert {fact.relation for fact in found} == {*INVERSES, *INVERSES.values(), "face"}


def test_nothing_that_the_picture_shows_is_missing_from_the_facts():
    for still in STILLS:
        known = set(facts(still))
        for one, other in itertools.permutations((*still.figures, *still.things), 2):
            for relation in ("beside", "left"):
                fact = Fact(relation, one, other)
                assert shown(fact) == (fact in known)


def test_facts_are_told_both_ways_round():
    for still in STILLS:
        known = set(facts(still))
        for relation, inverse in INVERSES.items():
            turned = {Fact(inverse, fact.object, fact.subject) for fact in known if fact.relation == relation}
            assert turned <= known


def test_training_never_shows_a_held_out_triple_and_test_always_does():
    assert not any(held_out(*triple) for still in sample(300) for triple in triples(still))
    assert all(any(held_out(*triple) for triple in triples(still)) for still in sample(300, train=False))


def test_triples_are_what_the_coordinates_say():
    for still in STILLS:
        seen = {
            (figure.actor, relation, thing.object)
            for figure, thing in itertools.product(still.figures, still.things)
            for relation in AT_FIGURES
            if shown(Fact(relation, thing, figure))
        }
        assert triples(still) == seen


def test_what_a_test_still_combines_has_been_seen_in_training_two_by_two():
    trained = {triple for still in sample(1300) for triple in triples(still)}
    tested = {triple for still in sample(300, train=False) for triple in triples(still) if held_out(*triple)}
    assert len(tested) > 40
    for pair in itertools.combinations(range(3), 2):
        assert {tuple(t[i] for i in pair) for t in tested} <= {tuple(t[i] for i in pair) for t in trained}


def test_scenes_are_of_all_sizes_and_hold_nothing_twice():
    sizes = {(len(still.figures), len(still.things)) for still in STILLS}
    assert sizes == set(itertools.product((1, 2), (1, 2, 3)))
    for still in STILLS:
        assert len({figure.actor for figure in still.figures}) == len(still.figures)
        assert len({thing.object for thing in still.things}) == len(still.things)
    assert {figure.actor for still in STILLS for figure in still.figures} == set(ACTORS)
    assert {thing.object for still in STILLS for thing in still.things} == set(OBJECTS)
    share = [thing.where for still in STILLS for thing in still.things]
    assert all(share.count(where) > 0.03 * len(share) for where in (*AT_FIGURES, "on"))


def test_the_colour_of_everything_is_to_be_seen():
    def changed(still, other):
        return (np.asarray(render_still(still)) != np.asarray(render_still(other))).any(-1).sum()

    for still in STILLS[::4]:
        for index, one in enumerate(still.figures):
            dressed = replace(one, colour="blue" if one.colour == "red" else "red")
            figures = tuple(dressed if i == index else other for i, other in enumerate(still.figures))
            assert changed(still, replace(still, figures=figures)) > 10, still  # least: a boy behind a book
        for index, one in enumerate(still.things):
            painted = replace(one, colour="blue" if one.colour == "red" else "red")
            things = tuple(painted if i == index else other for i, other in enumerate(still.things))
            assert changed(still, replace(still, things=things)) > 50, still


def test_a_still_looks_like_a_frame_of_a_clip():
    still = STILLS[0]
    assert render_still(still).size == (SIDE, SIDE)
    assert len({render_still(other).tobytes() for other in STILLS[:50]}) == 50
    for still in STILLS:
        assert all(0.1 < one.x < 0.9 for one in still.figures)
        assert all(0.05 <= one.x <= 0.95 and 0.05 <= one.y <= 0.9 for one in still.things if isinstance(one, Thing))


def test_equal_stills_give_equal_files(tmp_path):
    for name in ("one.jpg", "two.jpg"):
        write_still(STILLS[3], tmp_path / name)
    assert (tmp_path / "one.jpg").read_bytes() == (tmp_path / "two.jpg").read_bytes()
    assert [path.name for path in sorted(tmp_path.iterdir())] == ["one.jpg", "two.jpg"]
