import os
import signal
import threading

import pytest

from downslope.training.interrupt import SIGNALS, interrupts


def handlers():
    return [signal.getsignal(number) for number in SIGNALS]


@pytest.mark.parametrize("number", SIGNALS)
def test_the_first_is_noted_and_the_second_acts(number):
    heard = []
    before = signal.signal(number, lambda *_: heard.append("theirs"))
    try:
        with interrupts() as interrupted:
            assert not interrupted()
            os.kill(os.getpid(), number)
            assert interrupted()
            assert heard == []
            os.kill(os.getpid(), number)
            assert heard == ["theirs"]
        os.kill(os.getpid(), number)
        assert heard == ["theirs", "theirs"]
    finally:
        signal.signal(number, before)


def test_handlers_are_restored():
    before = handlers()
    with interrupts():
        assert all(now != then for now, then in zip(handlers(), before, strict=True))
    assert handlers() == before


def test_handlers_are_restored_after_an_error():
    before = handlers()
    with pytest.raises(ZeroDivisionError), interrupts():
        raise ZeroDivisionError
    assert handlers() == before


def test_a_second_ctrl_c_stops_at_once():
    before = handlers()
    with interrupts() as interrupted:
        signal.raise_signal(signal.SIGINT)
        assert interrupted()
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(signal.SIGINT)
    assert handlers() == before


def test_they_nest():
    before = handlers()
    with interrupts() as outer, interrupts() as inner:
        signal.raise_signal(signal.SIGTERM)
        assert (inner(), outer()) == (True, False)
        signal.raise_signal(signal.SIGTERM)
        assert outer()
    assert handlers() == before


def test_outside_the_main_thread_nothing_is_caught():
    seen = []

    def work():
        with interrupts() as interrupted:
            seen.append((handlers() == before, interrupted()))

    before = handlers()
    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert seen == [(True, False)]
