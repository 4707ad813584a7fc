"""Tolerances of the tests, each with its reason."""

FLOAT64 = 1e-10  # relative; float64 arithmetic of a few hundred operations keeps 1e-13 or better
MONTE_CARLO_Z = 5.0  # |z| with the standard error of the sample itself: one false alarm in 1.7 million comparisons
ADVANTAGE64 = 1e-12  # one group of at most 24 numbers of size 1: a few dozen float64 operations
ADVANTAGE32 = 1e-5  # the same in float32, whose rounding unit is 6e-8
FROM_RATIONALS = 1e-11  # float64 expectations over 8 to 1,024 binomial terms against exact sums
PRINTED_DIGITS = 5.001e-6  # five printed decimals
PRINTED_BALANCE = 5.001e-6  # 2.6e-4 is printed with two digits
EXACT_POWER = 1000.0  # a mutant of a symbolic or enumerated claim errs by this many tolerances (float size at least)
SAMPLED_POWER = 10.0  # a mutant of a numeric or searched claim errs by this many tolerances
PATH_LIMIT = 1e-3  # what the power laws of the shared-strategy flow leave to be moved at t = 1e8
PRINTED_THREE = 5.001e-4  # three printed decimals
TABLED = 6e-4  # the same of numbers that another epsilon was used for
SECOND_ORDER = 1e-3  # the size of the second order of an expansion that is compared with its first order
ROOT = 1e-9  # a logit of at most 500 found by root search to a relative 1e-14 in another variable
FINITE_DIFFERENCE = 1e-6  # central differences of step 1e-5 or 1e-6: step squared, or rounding over the step
ROUND_OFF = 1e-12  # slack of an inequality that holds exactly, for terms of size 1
LARGE_LOG = 1e-9  # log-probabilities of up to 1e5 nats: their rounding unit is 1e-11
INTEGRATOR = 1e-8  # LSODA at a relative tolerance of 1e-10 per step against RK4 with steps of .01, errors near 1e-9
DIFFERENCE = 1e-6  # central differences: steps of 1e-4 leave 1e-8 of curvature and 1e-12 of rounding
PATH_TIME = 1e-9  # times on the vanilla path: quadrature and interpolation leave 1e-11
PATH_END = 1e-4  # what the slower answers still hold of t (1 - Q) at the late times that are checked
BROKEN = 1e-6  # by how much a bound is overstepped, relative, to see an order break
DIFFERENCE_STEP = 1e-5  # relative change of a smooth function between orders 1e-6 apart, a slope of at most 10
DIFFERS = 1e-3  # two probabilities this far apart are different policies
SEPARATED = 1e-8  # which puts at least this (a hundredth of its square) between them in every divergence
PRINTED_TWO = 0.051  # relative: two significant digits, of which 1.05 shown as 1.1 or 1.0 is the worst
COVERAGE_OF_400 = 0.035  # of a nominal 95%: 3.2 standard errors of 400 data sets
PADDED = 1e-4  # relative: a completion scored in float32 within a batch, or alone
TRAINED = 1e-6  # float32 numbers of a tiny language model, of size 1 to 10, by two ways of computing them
FLOAT32_SUM = 2e-5  # nats; up to 30 log-probabilities from float32 logits of size 10, whose rounding unit is 1e-6
FLOAT32_MASS = 1e-5  # relative; a probability from float32 log-probabilities of 10 nats
OTHER_MASS = 0.1  # relative; what a wrong way to score an answer changes at least
BRIDGE = 1e-6  # two float32 updates of logits of size 1 against float64; measured below 5e-7
INSIDE_A_STEP = 1e-2  # relative; a time read off a line between the ends of one step of an integrator
SPLIT = 1e-6  # relative; float32 sums over 40 completions in another order
FLOAT32_GRADIENT = 1e-4  # relative; sums of 1e5 float32 products, some of which cancel
SMALL_STEP = (
    2e-2  # relative; central differences of float32 log-probabilities over changes of a few hundredths of a nat
)
