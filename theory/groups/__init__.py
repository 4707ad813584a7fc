"""What finite groups add: who is sampled, what a method expects of a group, the noise of a step, and its exact mean.

May import: `theory.methods`, `theory.flow`, `theory.policies`. Must not import: diagnosis, claims.
"""
