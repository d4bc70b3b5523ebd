"""Parameters: what tuning starts from, and what it moves."""

from promptport.parameters.origins import OriginSpec, make_origin, origin_prompt

__all__ = ["OriginSpec", "make_origin", "origin_prompt"]
