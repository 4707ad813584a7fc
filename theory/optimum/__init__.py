"""Where KL-regularised training ends: closed forms, divergences, and who dominates whom at equal budget.

May import: `theory.shaping`, `theory.policies`. Must not import: flows, groups, methods.
"""
