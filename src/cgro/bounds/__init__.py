"""Bounds on ReLU networks over a ball: lowering to affine layers, interval propagation, linear relaxation (CROWN).

layers      affine layers with ReLU between them: evaluate, compose, put side by side
lowering    a torch module as such layers
intervals   bounds of every neuron over a box
crown       a certified lower bound of the margin over a ball

Used by the certificates of `cgro.representation` (Theorem 4.4, Theorem 4.7) and by `cgro.flatness.upper`.
"""

from cgro.bounds.crown import certified_margin, margin_rows
from cgro.bounds.intervals import Interval, Threat, affine_image, enclosing_box, product, propagate_intervals
from cgro.bounds.layers import (
    DENSE_LIMIT,
    Layer,
    compose,
    dense_layer,
    evaluate,
    require_few_entries,
    side_by_side,
    sparse_layer,
    to_sequential,
)
from cgro.bounds.lowering import to_layers

__all__ = [
    "DENSE_LIMIT",
    "Interval",
    "Layer",
    "Threat",
    "affine_image",
    "certified_margin",
    "compose",
    "dense_layer",
    "enclosing_box",
    "evaluate",
    "margin_rows",
    "product",
    "propagate_intervals",
    "require_few_entries",
    "side_by_side",
    "sparse_layer",
    "to_layers",
    "to_sequential",
]
