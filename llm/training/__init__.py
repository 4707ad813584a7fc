"""Training: the small model's warm start, and any method through TRL, checked before and resumed after.

May import: every room of `llm`, `theory`. Nothing in `llm` imports this room.
"""
