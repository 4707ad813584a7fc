"""Studies: many training runs of the small model under one protocol, tuned alike, and what they say together.

May import: every room of `llm`, `samples`, `theory`. Nothing in `llm` imports this room.
"""
