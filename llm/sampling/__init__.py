"""Models opened, sampled and scored: what `evaluate`, the audit and the trainer share.

May import: `llm.tasks`, `theory`, torch, transformers. Must not import: `llm.audit`, `llm.training`.
"""
