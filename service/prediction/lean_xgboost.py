"""XGBoost without pandas and scikit-learn.

Importing xgboost imports both where they are installed, for parts of its interface that nothing
here uses; that takes two seconds and a hundred megabytes of every worker. While they are marked as
absent, xgboost does without.
"""

import sys

_HEAVY = [name for name in ("pandas", "sklearn") if name not in sys.modules]

for _name in _HEAVY:
    sys.modules[_name] = None  # type: ignore[assignment]  # documented: makes an import fail
try:
    import xgboost
finally:
    for _name in _HEAVY:
        del sys.modules[_name]

__all__ = ["xgboost"]
