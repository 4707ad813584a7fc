"""Mathematics only: rewards, methods, optima, flows, groups, the diagnosis, and the claims about them.

May import: numpy, scipy, sympy, mpmath, array-api-compat, hypothesis. Must not import: anything else of this project.
"""
