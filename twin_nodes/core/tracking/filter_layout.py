"""Where everything lies in the arrays of the pose filter.

Arrays per history slot: `state` (slots, 6, 30) = position 3, rotation 9 by rows, velocity 3, acceleration 3, tremor 6,
angular velocity 3, angular acceleration 3, for each of five modes and, last, for their mixture; `cov` (slots, 6, 24,
24), position and its kin first, then rotation and its; `sample` (slots, 48) = measured position 3, rotation 9,
covariance 36; `scalar` (slots, 6) = probability of each mode, NIS; `meta` (slots, 4) = stamp [ns], outcome, gated
samples in a row, whether position and rotation are correlated. `order` (slots,) lists the slots by stamp, the free
ones last; `head` (2,) = slots in use, whether older ones were evicted.
"""

ACCEPTED, GATED, DUPLICATE, TOO_OLD, REINITIALISED, INSERTED_LATE, EMPTY, NOT_FINITE = range(8)
# positions in the vector of settings
(DWELL, GATE, MANOEUVRE, MAX_SPEED, MAX_ACCELERATION, MAX_ANGULAR_RATE, MAX_ANGULAR_ACCELERATION, START_SPEED,
 START_ANGULAR_RATE, START_ACCELERATION, START_ANGULAR_ACCELERATION, MAX_GAP_NS, REGAIN, LAG_NS, MARGIN, MARGIN_ANGULAR,
 TREMOR_RATE, TREMOR_DECAY, ACROSS, PATH_SPEED, JERK) = range(21)  # fmt: skip
MODES = 5  # from JERK on: jerk, angular jerk and tremor of each mode
ANGULAR_JERK, TREMOR = JERK + MODES, JERK + 2 * MODES
SETTINGS = JERK + 3 * MODES
MIXTURE = MODES  # the place behind the modes
# first error state of a kind
P, V, A, S, U, PHI, OMEGA, ALPHA = 0, 3, 6, 9, 12, 15, 18, 21
LINEAR = 15
STATES, NOMINAL, SAMPLE, OUT = 24, 30, 48, 60
