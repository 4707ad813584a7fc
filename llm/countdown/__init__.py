"""Countdown: problems, all of their solutions, and a verifier that evaluates nothing.

May import: `llm.tasks`, numpy. Must not import: torch, other rooms of `llm`.
"""
