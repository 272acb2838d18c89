"""Requests to stop."""

from __future__ import annotations

import pickle
import signal
import threading

import pytest

from latentpath.core import StoppedError, stop_request, stoppable


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_asks_and_its_repetitions_say_no_more(number, capsys):
    before = [signal.getsignal(each) for each in (signal.SIGINT, signal.SIGTERM)]
    assert stop_request() is None
    with stoppable("the page in hand") as request:
        assert stop_request() is request
        assert not request
        for each in (number, number, signal.SIGTERM):  # a second apart they would end the process
            signal.raise_signal(each)
        assert request
        assert request.number == number
    told = "latentpath: stopping after the page in hand; once more stops at once\n"
    assert capsys.readouterr().err == told
    assert stop_request() is None
    assert before == [signal.getsignal(each) for each in (signal.SIGINT, signal.SIGTERM)]


def test_other_threads_are_never_asked():
    found = []

    def work():
        with stoppable("this") as request:
            found.append((bool(request), stop_request()))

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert found == [(False, None)]


def test_the_error_travels_between_processes():
    error = pickle.loads(pickle.dumps(StoppedError(signal.SIGTERM, "at 3", "go on")))
    assert (error.number, error.exit_code) == (signal.SIGTERM, 143)
    assert str(error) == "stopped at 3, as asked: go on"
