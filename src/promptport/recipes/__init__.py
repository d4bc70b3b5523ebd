"""Recipes: files that describe experiments, their runs, and the reports of these."""
