"""XGBoost for trees on arrays, without the libraries that the rest of its interface is for.

Importing xgboost imports pandas and scikit-learn where they are installed, its plots, and scipy.
Nothing here uses them, and together they take two seconds and a hundred megabytes of every worker.
What the process has loaded already stays as it is, so training has all of it.

Pandas, scikit-learn, and xgboost's plots and scikit-learn interface are marked as absent while
xgboost is imported, and it does without. It does not do without scipy's sparse matrices; those
come when they are first used, which ``Booster.inplace_predict`` on an array never does. To make
a ``DMatrix`` does.
"""

import sys
from importlib import import_module
from types import ModuleType


class _Sparse(ModuleType):
    """``scipy.sparse``, imported when something of it is used."""

    def __getattr__(self, name: str) -> object:
        if name.startswith("__"):  # An import asks, such as for the path of a package.
            raise AttributeError(name)
        _make_way()
        return getattr(import_module("scipy.sparse"), name)


_ABSENT = [name for name in ("pandas", "sklearn") if name not in sys.modules]
if "sklearn" in _ABSENT:
    _ABSENT += ["xgboost.plotting", "xgboost.sklearn"]
_STANDING_IN: dict[str, ModuleType] = {}
if "scipy" not in sys.modules:
    _STANDING_IN |= {"scipy": ModuleType("scipy"), "scipy.sparse": _Sparse("scipy.sparse")}
    vars(_STANDING_IN["scipy"])["sparse"] = _STANDING_IN["scipy.sparse"]
    # An annotation names this one while xgboost is imported.
    vars(_STANDING_IN["scipy.sparse"])["csr_matrix"] = object


def _make_way() -> None:
    for name, module in _STANDING_IN.items():
        if sys.modules.get(name) is module:
            del sys.modules[name]


for _name in _ABSENT:
    sys.modules[_name] = None  # type: ignore[assignment]  # documented: makes an import fail
sys.modules.update(_STANDING_IN)
try:
    import xgboost
finally:
    for _name in _ABSENT:
        del sys.modules[_name]
    _make_way()
    for _module in _STANDING_IN.values():
        vars(_module).pop("csr_matrix", None)  # From now on it is scipy's own.

__all__ = ["xgboost"]
