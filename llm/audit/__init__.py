"""The exact distribution of a model over all answers, samples scored under two models, and one held against the other.

May import: `llm.sampling`, `llm.countdown`, `samples`, `theory`. Must not import: `llm.training`.
"""
