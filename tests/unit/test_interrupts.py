"""Ctrl-C while a worker is built."""

import signal
import weakref

import pytest

from service.worker_process import interrupt_waits


class Thing:
    """Something that is collected."""


def test_an_interrupt_in_the_midst_of_a_garbage_collection_is_not_lost() -> None:
    things = [Thing()]
    seen = weakref.ref(things[0], lambda _: signal.raise_signal(signal.SIGINT))

    with pytest.raises(KeyboardInterrupt), interrupt_waits():
        things.clear()

    assert seen() is None


def test_without_an_interrupt_the_handler_is_as_before() -> None:
    before = signal.getsignal(signal.SIGINT)

    with interrupt_waits():
        assert signal.getsignal(signal.SIGINT) is not before

    assert signal.getsignal(signal.SIGINT) is before
