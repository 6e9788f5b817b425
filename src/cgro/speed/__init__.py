"""How fast a network is attacked, trained and evaluated here: ways, bare passes, peers, and a stored baseline."""

from cgro.speed.baseline import FALL, falls, require_comparable
from cgro.speed.capture import captured, captured_epoch, captured_search, pure_search
from cgro.speed.measure import Measurement, measured, recipe_time
from cgro.speed.passes import PASSES, Passes, counted_cost, floor_seconds
from cgro.speed.peers import common_attack, common_epoch, is_common, torchattacks_peer
from cgro.speed.timing import Clock, Times, alternated, waiter
from cgro.speed.ways import Subject, Way, Ways, ways_of

__all__ = [
    "FALL",
    "PASSES",
    "Clock",
    "Measurement",
    "Passes",
    "Subject",
    "Times",
    "Way",
    "Ways",
    "alternated",
    "captured",
    "captured_epoch",
    "captured_search",
    "common_attack",
    "common_epoch",
    "counted_cost",
    "falls",
    "floor_seconds",
    "is_common",
    "measured",
    "pure_search",
    "recipe_time",
    "require_comparable",
    "torchattacks_peer",
    "waiter",
    "ways_of",
]
