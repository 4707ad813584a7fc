"""Predictions as tidy rows, for tables and figures.

May import: every room of `theory` but claims. Nothing in `theory` imports this room.
"""
