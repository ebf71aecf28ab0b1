"""In processes of their own: what is imported depends on what was imported before."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import xgboost as xgb

ROOT = Path(__file__).parents[2]


def said_by(code: str) -> str:
    command = [sys.executable, "-c", code]
    ran = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    return ran.stdout.strip()


def test_a_worker_loads_no_library_that_it_does_not_use() -> None:
    unused = (
        *("pandas", "sklearn", "scipy", "matplotlib", "xgboost.sklearn", "xgboost.plotting"),
        *("mlflow", "httpx", "sqlalchemy.dialects.postgresql", "tqdm"),
    )
    code = f"""
import sys, service.app, service.launcher
print([name for name in {unused} if name in sys.modules])
"""

    assert said_by(code) == "[]"


def test_a_launcher_of_several_workers_loads_no_web_framework() -> None:
    code = "import sys, service.launcher; print('fastapi' in sys.modules)"

    assert said_by(code) == "False"


def test_arrays_are_scored_without_scipy_and_sparse_matrices_with_it(tmp_path: Path) -> None:
    rows = np.random.default_rng(0).normal(size=(200, 3)).astype(np.float32)
    model = tmp_path / "model.ubj"
    xgb.train({}, xgb.DMatrix(rows, label=rows[:, 0]), 5).save_model(model)
    code = f"""
import sys
import numpy as np
from service.prediction.lean_xgboost import xgboost

booster = xgboost.Booster(model_file={str(model)!r})
rows = np.array([[0, 1, 2], [0, -1, 0]], dtype=np.float32)
scores = booster.inplace_predict(np.where(rows, rows, np.nan))
print("scipy" in sys.modules)

from scipy.sparse import csr_matrix
print(np.array_equal(booster.inplace_predict(csr_matrix(rows)), scores))
"""

    assert said_by(code).split() == ["False", "True"]


def test_where_scikit_learn_was_there_first_xgboost_has_its_interface_for_it() -> None:
    code = """
import sklearn
from service.prediction.lean_xgboost import xgboost
print(issubclass(xgboost.XGBClassifier, sklearn.base.BaseEstimator))
"""

    assert said_by(code) == "True"
