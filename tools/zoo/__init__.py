"""Pretraining of the small backbones that ship with promptport (see `tools/pretrain_zoo.py`)."""
