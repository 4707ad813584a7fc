"""Tolerances of the tests, each with its reason."""

FLOAT64 = 1e-10  # relative; float64 arithmetic of a few hundred operations keeps 1e-13 or better
MONTE_CARLO_Z = (
    5.0  # |z| with the standard error of the sample itself: one false alarm in 1.7 million comparisons
)
