"""The promise and how it is shared out.

Within 30 days of ticks, the probability that any feature of a model is falsely said to have
drifted is at most 1 %, under the null that :mod:`service.monitoring.feature_drift.course` states.
"""

import math

from service.monitoring.drift.budget import HORIZON_TICKS

BUDGET = 0.01
FEATURES = 6
"""User, ad, device, placement, hour and day of week; each has the same share of the budget."""
LOG_THRESHOLD = math.log(HORIZON_TICKS * FEATURES / BUDGET)
"""Evidence that raises an alarm of one feature, a natural logarithm."""
LOG_CAP = LOG_THRESHOLD + 3.0
"""Evidence is held here, so that an alarm of a week clears as fast as one of an hour."""
LOG_CLEAR = LOG_THRESHOLD - math.log(100)
CLEAR_TICKS = 60
"""An alarm clears after so many ticks in a row below the clearing level."""
