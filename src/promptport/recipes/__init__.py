"""Recipes: an experiment in a file, run as cells on one machine or a cluster, and reported."""
