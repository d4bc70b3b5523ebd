"""promptport library: what to do with prompts of many tasks. `cli/panels.py` lists its commands."""
