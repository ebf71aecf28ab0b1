"""The promise and how it is shared out.

Within 30 days, the probability of any false alarm of a model is at most 1 %: 0.72 % for the
sequential route, 0.1 % for the window tests, predictions and latency together, and 0.18 % for
calibration, which has the threshold of the sequential route and a quarter of its ticks.
"""

import math

HORIZON_TICKS = 172_800
"""30 days, the span that the promise is about."""
SEQUENTIAL_BUDGET = 0.0072
LOG_THRESHOLD = math.log(HORIZON_TICKS / SEQUENTIAL_BUDGET)
"""Evidence that raises an alarm, a natural logarithm."""
LOG_CAP = LOG_THRESHOLD + 3.0
"""Evidence is held here, so that an alarm of a week clears as fast as one of an hour."""
LOG_CLEAR = LOG_THRESHOLD - math.log(100)
CLEAR_TICKS = 60
"""An alarm clears after so many ticks in a row below the clearing level."""
RENAME_TICKS = 20
"""For so long after the alarm its kind is looked at again."""
WINDOW_BUDGET = 0.001
_WINDOW_TESTS = 3
WINDOW_LOG_THRESHOLD = math.log(_WINDOW_TESTS * HORIZON_TICKS / WINDOW_BUDGET)
"""Evidence that a window test needs at any one tick.

Each test is an e-value, of mean at most 1 under the null, so at each tick each fires with
probability at most exp(-threshold), and all of them within the horizon with at most the budget.
"""
