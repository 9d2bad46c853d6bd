"""The first Ctrl-C asks, the second one stops."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading

import numpy as np
import pytest
import soundfile

from asrkit.cli import interrupt
from asrkit.cli.interrupt import SIGNALS, stoppable
from asrkit.ffmpeg import find_ffmpeg


@pytest.mark.parametrize("number", SIGNALS)
def test_the_first_one_asks_and_the_second_one_stops(number, capsys):
    before = [signal.getsignal(one) for one in SIGNALS]
    with stoppable() as stop:
        assert not stop.asked
        signal.raise_signal(number)
        assert stop.asked
        assert capsys.readouterr().err == "asrkit: finishing the current batch; Ctrl-C again stops at once\n"
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(signal.SIGINT)
    assert [signal.getsignal(one) for one in SIGNALS] == before


def test_nothing_is_asked_by_itself():
    with stoppable() as stop:
        pass
    assert not stop.asked


def test_afterwards_it_is_as_before():
    with stoppable():
        pass
    with pytest.raises(KeyboardInterrupt):
        signal.raise_signal(signal.SIGINT)


def test_other_threads_are_left_alone():
    seen = []

    def work():
        with stoppable() as stop:
            seen.append((stop.asked, signal.getsignal(signal.SIGINT)))

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert seen == [(False, signal.getsignal(signal.SIGINT))]


def test_an_ignored_signal_stays_ignored():
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        with stoppable() as stop:
            signal.raise_signal(signal.SIGINT)
        assert not stop.asked
        assert signal.getsignal(signal.SIGINT) is signal.SIG_IGN
    finally:
        signal.signal(signal.SIGINT, before)


def test_in_the_middle_of_another_line(monkeypatch):
    def busy(message):
        raise RuntimeError("reentrant call")

    monkeypatch.setattr(interrupt, "say", busy)
    with stoppable() as stop:
        signal.raise_signal(signal.SIGINT)
    assert stop.asked


def test_a_process_ends_its_batch():
    """From outside, as a terminal does it."""
    code = (
        "import signal, sys\n"
        "from asrkit.cli.interrupt import stoppable\n"
        "with stoppable() as stop:\n"
        "    print('ready', flush=True)\n"
        "    sys.stdin.readline()\n"
        "    print(stop.asked, flush=True)\n"
    )
    if sys.platform == "win32":
        pytest.skip("signals reach whole consoles there")
    with subprocess.Popen([sys.executable, "-c", code], stdin=-1, stdout=-1, stderr=-1, text=True) as process:
        assert process.stdout.readline() == "ready\n"
        process.send_signal(signal.SIGTERM)
        assert process.stderr.readline() == "asrkit: finishing the current batch; Ctrl-C again stops at once\n"
        out, err = process.communicate("go on\n", timeout=60)
    assert (out, err, process.returncode) == ("True\n", "", 0)


@pytest.mark.skipif(sys.platform == "win32" or find_ffmpeg() is None, reason="needs process groups, and ffmpeg")
def test_a_recording_is_read_to_its_end(tmp_path):
    """A terminal sends Ctrl-C to ffmpeg as well, which would end there and then."""
    path = tmp_path / "long.wav"
    soundfile.write(path, np.zeros(3_000_000, np.int16), 16000)
    code = (
        "import sys\n"
        "from asrkit.cli.interrupt import stoppable\n"
        "from asrkit.ffmpeg import FFmpeg, find_ffmpeg\n"
        "with stoppable() as stop:\n"
        "    decoder = FFmpeg(find_ffmpeg(), sys.argv[1])\n"
        "    print('ready', flush=True)\n"
        "    sys.stdin.readline()\n"
        "    print(stop.asked, sum(map(len, decoder.blocks())), decoder.problem)\n"
        "    decoder.close()\n"
    )
    command = [sys.executable, "-c", code, str(path)]
    with subprocess.Popen(command, stdin=-1, stdout=-1, text=True, stderr=-1, start_new_session=True) as process:
        assert process.stdout.readline() == "ready\n"
        os.killpg(process.pid, signal.SIGINT)
        assert "finishing" in process.stderr.readline()
        out, _ = process.communicate("go on\n", timeout=60)
    assert out == "True 3000000 None\n"
