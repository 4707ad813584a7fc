"""How the exact policy gradient moves a policy: one prompt, shared strategies, and the path of plain RL.

May import: `theory.shaping`, `theory.policies`, `theory.estimators`. Must not import: groups, diagnosis, claims.
"""
