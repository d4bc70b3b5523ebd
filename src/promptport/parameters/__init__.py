"""Parameters: what tuning starts from, and what it moves."""

from promptport.parameters.origins import OriginSpec, make_origin

__all__ = ["OriginSpec", "make_origin"]
