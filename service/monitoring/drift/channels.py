"""Functions of a bucket in whose mean a change shows: location, spread, skew."""

import numpy as np

from service.monitoring.drift.ticks import Floats

_WINSORISED = 0.001
"""Share of the mass at either end over which a function stays level, so that it is bounded."""
_RANK = 1e-6


def is_logarithmic(bounds: Floats) -> bool:
    """Whether all bounds are positive, so that places are logarithms."""
    return len(bounds) > 0 and bool(bounds[0] > 0)


def middles(bounds: Floats) -> Floats:
    """Give each bucket a place on a scale on which scores and latencies are roughly symmetric.

    Args:
        bounds: Ascending finite upper bounds, shape ``(b - 1,)``.

    Returns:
        Logarithm of the geometric middle, or the bucket's number where a bound is not positive;
        shape ``(b,)``.
    """
    if not is_logarithmic(bounds):
        return np.arange(len(bounds) + 1, dtype=np.float64)
    edges = np.log(bounds)
    step = float(np.median(np.diff(edges))) if len(edges) > 1 else 1.0
    outer = np.concatenate([[edges[0] - step], edges, [edges[-1] + step]])
    return np.asarray((outer[:-1] + outer[1:]) / 2)


def shift_of_place(law: Floats, bounds: Floats, share: float) -> float:
    """How far the first channel moves when every value grows by a share, in standard deviations.

    0 where places are no logarithms.
    """
    place = middles(bounds)
    spread = float(np.sqrt(law @ (place - law @ place) ** 2))
    return float(np.log1p(share)) / spread if is_logarithmic(bounds) and spread > 0 else 0.0


def channel_functions(law: Floats, bounds: Floats, degree: int) -> Floats:
    """Functions of the bucket that tell one kind of change from the others.

    The first is the place itself: location. The second is the quadratic in the place that is
    uncorrelated with the value: a tilt of the law along it leaves the mean as it is and changes the
    spread. The third leaves mean and mean square as they are and changes the shape, and so on.

    Args:
        law: Probability of each bucket, shape ``(b,)``.
        bounds: Ascending finite upper bounds, shape ``(b - 1,)``.
        degree: Of the last.

    Returns:
        Shape ``(b, c)`` with ``c <= degree``: fewer where the law has too few buckets. Each has
        mean 0 and variance 1 under the law.
    """
    place = _winsorised(middles(bounds), law)
    basis = _orthonormal(law, place, degree)
    value = np.exp(place) if is_logarithmic(bounds) else place
    moments = np.stack([value**power for power in range(1, degree)] or [value], axis=1)
    functions = []
    for count in range(1, basis.shape[1] + 1):
        own = basis[:, :count]
        kept = (moments[:, : count - 1] * law[:, None]).T @ own
        # The direction that all kept moments ignore: the last right singular vector.
        direction = np.linalg.svd(kept / np.linalg.norm(kept, axis=1, keepdims=True))[2][-1]
        function = own @ (direction * np.sign(direction[-1]))
        functions.append(function / np.sqrt(law @ function**2))
    return np.stack(functions, axis=1) if functions else np.zeros((len(law), 0))


def _winsorised(place: Floats, law: Floats) -> Floats:
    cumulative = np.cumsum(law)
    last = len(place) - 1
    low = place[min(int(np.searchsorted(cumulative, _WINSORISED)), last)]
    high = place[min(int(np.searchsorted(cumulative, 1 - _WINSORISED)), last)]
    return place.clip(low, high)


def _orthonormal(law: Floats, place: Floats, degree: int) -> Floats:
    mean = float(law @ place)
    spread = float(np.sqrt(law @ (place - mean) ** 2))
    if spread == 0:
        return np.zeros((len(law), 0))
    scaled = (place - mean) / spread
    found: list[Floats] = [np.ones_like(law)]
    for power in range(1, degree + 1):
        function = scaled**power
        length = float(np.sqrt(law @ function**2))
        # Twice is enough (Kahan): once more removes what rounding left.
        for _ in range(2):
            for earlier in found:
                function = function - (law @ (function * earlier)) * earlier
        norm = float(np.sqrt(law @ function**2))
        if norm <= _RANK * length:
            break
        found.append(function / norm)
    return np.stack(found[1:], axis=1) if len(found) > 1 else np.zeros((len(law), 0))
