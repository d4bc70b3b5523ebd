"""The merge methods, one file each; importing this room registers them."""

from promptport.merging.methods import dare, mean, orthogonal, select, sum, ties, weighted

__all__ = ["dare", "mean", "orthogonal", "select", "sum", "ties", "weighted"]
