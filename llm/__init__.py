"""Language models: verifiable tasks, sampling, the exact audit, and training by every method through TRL.

May import: `theory`, `samples`, torch and transformers. Must not import: `bandits`,
`figures`. Only checkpoints are written.
"""
