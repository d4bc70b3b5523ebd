"""promptport vector: what to do with task vectors. `cli/panels.py` lists its commands."""
