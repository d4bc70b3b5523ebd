"""Prompts that answer requests: many prompts in one batch, and an HTTP server.

The HTTP side imports no torch; the model lives in worker processes (`worker.py`).
"""
