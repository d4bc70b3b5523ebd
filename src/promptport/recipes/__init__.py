"""Recipes: both papers as experiments that anyone can run, and what the papers say."""
