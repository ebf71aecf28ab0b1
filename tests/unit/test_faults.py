import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.prediction.faults import FaultInjector, InvalidFaultsError, parse_faults


def failures(text: str, requests: int, *, now: float = 0.0) -> int:
    injector = FaultInjector(parse_faults(text), started=0.0)
    return sum(injector.fails("m", now) for _ in range(requests))


@given(st.integers(1, 100), st.integers(1, 20))
def test_exactly_the_share_fails(percent: int, hundreds: int) -> None:
    assert failures(f"m:error={percent / 100}", 100 * hundreds) == percent * hundreds


def test_other_models_are_well() -> None:
    injector = FaultInjector(parse_faults("m:error=1,latency_ms=300"), started=0.0)

    assert not injector.fails("other", 0.0)
    assert injector.delay_seconds({"other"}, 0.0) == 0
    assert injector.delay_seconds({"other", "m"}, 0.0) == 0.3


def test_a_fault_begins_and_ends_when_told() -> None:
    text = "m:error=1,latency_ms=5,after_s=10,for_s=20"
    injector = FaultInjector(parse_faults(text), started=100.0)

    assert [failures(text, 1, now=t) for t in (9.9, 10, 29.9, 30)] == [0, 1, 1, 0]
    assert [injector.delay_seconds({"m"}, t) for t in (109, 110, 130)] == [0, 0.005, 0]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("m", "not like"),
        ("m:", "not like"),
        (":error=1", "not like"),
        ("m:errors=1", "'errors' is not a fault"),
        ("m:error=2", "share from 0 to 1"),
        ("m:error=-1", "0 or more"),
        ("m:error=nan", "0 or more"),
        ("m:latency_ms=inf", "0 or more"),
        ("m:latency_ms=", "0 or more"),
    ],
)
def test_a_malformed_text_is_refused(text: str, said: str) -> None:
    with pytest.raises(InvalidFaultsError, match=said):
        parse_faults(text)


def test_nothing_is_no_fault() -> None:
    assert parse_faults("") == {}
