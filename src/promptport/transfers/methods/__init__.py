"""The transfer methods, one file each; importing this room registers them."""

from promptport.transfers.methods import (
    copy,
    discretize,
    gradient,
    least_squares,
    linear_map,
    mixture,
    omp,
    operator,
    procrustes,
    projector,
    random_rows,
    weighted_sum,
)

__all__ = [
    "copy",
    "discretize",
    "gradient",
    "least_squares",
    "linear_map",
    "mixture",
    "omp",
    "operator",
    "procrustes",
    "projector",
    "random_rows",
    "weighted_sum",
]
