from __future__ import annotations

import io
import os
import re
import sys
import threading
from pathlib import Path

import numpy as np
import pytest
import soundfile

from asrkit.audio import load
from asrkit.audio_files import describe
from asrkit.errors import AudioError


def sine(rate, seconds=1.0, frequency=440.0, level=0.5):
    """(S,) float64."""
    return level * np.sin(2 * np.pi * frequency * np.arange(round(rate * seconds)) / rate)


def wave_bytes(samples, rate, **how):
    file = io.BytesIO()
    soundfile.write(file, samples, rate, format="WAV", **how)
    return file.getvalue()


STEP = {"PCM_U8": 2**-7, "PCM_16": 2**-15, "PCM_24": 2**-23, "PCM_32": 2**-24, "FLOAT": 2**-24, "DOUBLE": 2**-24}


@pytest.mark.parametrize(
    ("suffix", "subtype", "tolerance"),
    [
        *(("wav", subtype, step) for subtype, step in STEP.items()),
        ("wav", "ULAW", 0.02),
        ("flac", "PCM_16", 2**-15),
        ("flac", "PCM_24", 2**-23),
        ("ogg", "VORBIS", 0.05),
    ],
)
@pytest.mark.parametrize("kind", [str, lambda path: path], ids=["str", "Path"])
def test_files(tmp_path, suffix, subtype, tolerance, kind):
    path = tmp_path / f"ton ü.{suffix}"
    expected = sine(16000)
    soundfile.write(path, expected, 16000, subtype=subtype)
    audio = load(kind(path), 16000)
    assert audio.samples.dtype == np.float32
    assert audio.samples.shape == expected.shape
    assert np.abs(audio.samples - expected).max() <= tolerance
    assert (audio.rate, audio.name, audio.duration) == (16000, str(path), 1.0)


@pytest.mark.parametrize("channels", [1, 2, 6])
def test_channels_are_averaged(tmp_path, channels):
    both = np.stack([sine(16000, level=0.1 * (n + 1)) for n in range(channels)], axis=1)
    soundfile.write(tmp_path / "x.wav", both, 16000, subtype="FLOAT")
    for source in (tmp_path / "x.wav", (both, 16000)):
        np.testing.assert_allclose(load(source, 16000).samples, both.mean(axis=1), atol=1e-7)


def test_loud_channels_do_not_clip():
    opposite = np.stack([np.full(10, 0.9), np.full(10, 0.9)], axis=1)
    assert load((opposite, 16000), 16000).samples == pytest.approx(np.full(10, 0.9))


@pytest.mark.parametrize("rate", [8000, 11025, 22050, 44100, 48000])
@pytest.mark.parametrize("frequency", [100.0, 1000.0, 3400.0])
def test_resampling_a_sine_gives_the_sine(rate, frequency):
    audio = load((sine(rate, frequency=frequency), rate), 16000)
    assert audio.samples.dtype == np.float32
    assert audio.samples.flags.c_contiguous
    assert audio.duration == 1.0
    assert abs(len(audio.samples) - 16000) <= 1
    inner = slice(1000, 15000)  # at the edges there is no signal to interpolate
    np.testing.assert_allclose(audio.samples[inner], sine(16000, frequency=frequency)[inner], atol=1e-4)


@pytest.mark.parametrize("frequency", [9000.0, 12000.0, 20000.0])
def test_resampling_leaves_nothing_above_the_band(frequency):
    audio = load((sine(48000, frequency=frequency), 48000), 16000)
    assert np.abs(audio.samples[1000:15000]).max() < 1e-3


def test_duration_is_the_originals():
    assert load((np.zeros(11025 * 3, np.float32), 44100), 16000).duration == 0.75


@pytest.mark.parametrize("wrap", [bytes, bytearray, memoryview, io.BytesIO])
def test_bytes_and_file_objects(wrap):
    expected = sine(16000)
    audio = load(wrap(wave_bytes(expected, 16000, subtype="FLOAT")), 16000)
    np.testing.assert_allclose(audio.samples, expected, atol=1e-7)
    assert audio.name == ("<file>" if wrap is io.BytesIO else "<bytes>")


def test_a_stream_that_cannot_seek():
    class Stream:
        def __init__(self, data):
            self.read = io.BytesIO(data).read

    expected = sine(16000)
    audio = load(Stream(wave_bytes(expected, 16000, subtype="FLOAT")), 16000)
    np.testing.assert_allclose(audio.samples, expected, atol=1e-7)


def test_open_file_keeps_its_name(tmp_path):
    path = tmp_path / "x.wav"
    path.write_bytes(wave_bytes(sine(16000), 16000))
    with path.open("rb") as file:
        assert load(file, 16000).name == str(path)


@pytest.mark.parametrize(
    ("dtype", "scale"),
    [
        ("int8", 2**7),
        ("int16", 2**15),
        ("int32", 2**31),
        ("float16", 1),
        ("float32", 1),
        ("float64", 1),
        (">i2", 2**15),
    ],
)
def test_samples(dtype, scale):
    values = np.array([-1, -0.5, 0, 0.25, 0.5])
    audio = load(((values * scale).astype(dtype), 16000), 16000)
    assert audio.samples.dtype == np.float32
    assert audio.samples.tolist() == values.tolist()
    assert audio.name == "<samples>"


@pytest.mark.parametrize("shape", [(100, 1), (100, 3)])
def test_integer_samples_in_channels(shape):
    audio = load((np.full(shape, 2**14, np.int16), np.int64(16000)), 16000)
    assert audio.samples.tolist() == [0.5] * 100


def test_lists_are_samples_too():
    assert load(([0.5, -0.5], 16000), 16000).samples.tolist() == [0.5, -0.5]


def test_the_callers_samples_are_left_alone():
    samples = sine(8000).astype(np.float32)
    samples.flags.writeable = False
    load((samples, 8000), 16000)
    load((samples, 16000), 16000)


GOOD = np.zeros(100, np.float32)
NOTHING = "cannot be read as audio: Format not recognised; and by ffmpeg: Invalid data found when processing input"
SHAPES = "samples have the shape (S,) or (S, channels) with 1 to 64 channels"


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("no/such/ö.wav", "no/such/ö.wav: there is no such file"),
        (b"", "<bytes>: cannot be read as audio: it is empty"),
        (b"RIFF, or so it says" * 10, f"<bytes>: {NOTHING}"),
        (io.BytesIO(b"nothing"), f"<file>: {NOTHING}"),
        ((GOOD[:0], 16000), "<samples>: holds no samples"),
        ((np.zeros((0, 2)), 16000), "<samples>: holds no samples"),
        ((np.array([0, np.nan]), 16000), "<samples>: holds NaN or infinite samples; it is damaged"),
        ((np.array([0, -np.inf]), 8000), "<samples>: holds NaN or infinite samples; it is damaged"),
        ((GOOD,), "<samples>: samples come as (array, rate), found a tuple of 1"),
        ((GOOD, 16000, 2), "<samples>: samples come as (array, rate), found a tuple of 3"),
        ((GOOD, 0), "<samples>: the rate must be a whole number of Hz above 0, found 0"),
        ((GOOD, -8000), "<samples>: the rate must be a whole number of Hz above 0, found -8000"),
        ((GOOD, 16000.5), "<samples>: the rate must be a whole number of Hz above 0, found 16000.5"),
        ((16000, GOOD), "<samples>: samples come as (array, rate), found (int, ndarray)"),
        ((GOOD, True), "<samples>: the rate must be a whole number of Hz above 0, found True"),
        ((GOOD, None), "<samples>: the rate must be a whole number of Hz above 0, found None"),
        *(
            ((np.zeros(shape), 16000), f"<samples>: {SHAPES}, found {shape}")
            for shape in ((), (1, 2, 3), (5, 0), (2, 65), (2, 16000))
        ),
        *(
            ((GOOD, rate), f"<samples>: rates from 100 to 10000000 Hz can be resampled, found {rate}")
            for rate in (1, 99, 10_000_001, 10**12)
        ),
        ((GOOD.astype(np.uint8), 16000), "<samples>: samples are signed integers or floats, found uint8"),
        ((GOOD.astype(complex), 16000), "<samples>: samples are signed integers or floats, found complex128"),
        ((GOOD > 0, 16000), "<samples>: samples are signed integers or floats, found bool"),
        ((np.array(["a"]), 16000), "<samples>: samples are signed integers or floats, found <U1"),
        (3, "audio must be a path, bytes, a file object, (samples, rate), or a list of these, not int"),
        (None, "audio must be a path, bytes, a file object, (samples, rate), or a list of these, not NoneType"),
    ],
)
def test_errors(source, message):
    with pytest.raises(AudioError, match=f"^{re.escape(message)}$"):
        load(source, 16000)


def test_a_wav_file_without_samples(tmp_path):
    soundfile.write(tmp_path / "x.wav", GOOD[:0], 16000)
    with pytest.raises(AudioError, match=r"x\.wav: holds no samples$"):
        load(tmp_path / "x.wav", 16000)


def test_a_wav_file_with_nan():
    with pytest.raises(AudioError, match=r"^<bytes>: holds NaN or infinite samples; it is damaged$"):
        load(wave_bytes(np.array([0.0, np.nan, 0.0]), 16000, subtype="FLOAT"), 16000)


def test_a_directory(tmp_path):
    with pytest.raises(AudioError, match=f"^{re.escape(str(tmp_path))}: is a directory, not a recording$"):
        load(tmp_path, 16000)


@pytest.mark.parametrize("content", ["", "just text\n"])
def test_a_file_that_is_no_recording(tmp_path, content):
    path = tmp_path / "x.wav"
    path.write_text(content)
    with pytest.raises(AudioError, match=f"^{re.escape(str(path))}: cannot be read as audio: .*[^.]$"):
        load(path, 16000)


def test_a_text_file_object(tmp_path):
    path = tmp_path / "x.txt"
    path.write_text("text")
    with path.open() as file, pytest.raises(AudioError, match=r"x\.txt: cannot be read as audio: "):
        load(file, 16000)


def test_a_name_that_no_file_can_have():
    with pytest.raises(AudioError, match=r"^a\x00b: cannot be read: "):
        load("a\x00b", 16000)


def test_a_file_object_that_breaks():
    class Broken(io.BytesIO):
        def read(self, *_):
            raise OSError(5, "Input/output error")

        readinto = read

    with pytest.raises(AudioError, match=r"^<file>: cannot be read as audio: "):
        load(Broken(wave_bytes(GOOD, 16000)), 16000)


@pytest.mark.parametrize("source", [b"x", "a.wav", (GOOD, 16000), io.BytesIO()])
def test_errors_and_results_share_their_names(source):
    assert describe(source) in ("<bytes>", "a.wav", "<samples>", "<file>")


def test_ragged_samples():
    with pytest.raises(AudioError, match=r"^<samples>: samples have the shape \(S,\) or \(S, channels\): "):
        load(([[0.1, 0.2], [0.3]], 16000), 16000)


@pytest.mark.parametrize("channels", [1, 64])
def test_as_many_channels_as_there_may_be(channels):
    assert load((np.full((10, channels), 0.5), 16000), 16000).samples.tolist() == [0.5] * 10


@pytest.mark.parametrize("rate", [100, 10_000_000])
def test_rates_at_the_limits(rate):
    assert load((np.zeros(rate, np.float32), rate), 16000).duration == 1.0


def test_a_file_with_a_rate_nobody_resamples(tmp_path):
    (tmp_path / "x.wav").write_bytes(wave_bytes(GOOD, 50))
    with pytest.raises(AudioError, match=r"x\.wav: rates from 100 to 10000000 Hz can be resampled, found 50$"):
        load(tmp_path / "x.wav", 16000)


def test_a_name_that_is_too_long(tmp_path):
    path = str(tmp_path / ("x" * 5000))
    with pytest.raises(AudioError, match=f"^{re.escape(path)}: cannot be read: File name too long$"):
        load(path, 16000)


def test_a_file_that_may_not_be_read(tmp_path, monkeypatch):
    # Whoever runs the tests may be allowed everything, so the refusal is made up.
    def refuse(*_, **__):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("builtins.open", refuse)
    with pytest.raises(AudioError, match=r"x\.wav: cannot be read: Permission denied$"):
        load(tmp_path / "x.wav", 16000)


def test_a_file_below_a_file(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(AudioError, match=r"x\.wav: cannot be read: Not a directory$"):
        load(tmp_path / "file" / "x.wav", 16000)


@pytest.mark.skipif(sys.platform != "linux", reason="file names are UTF-8 elsewhere")
@pytest.mark.parametrize("kind", [str, Path])
def test_a_name_that_is_no_utf8(tmp_path, kind):
    path = os.fsdecode(os.fsencode(tmp_path) + b"/caf\xe9.wav")
    Path(path).write_bytes(wave_bytes(sine(16000), 16000, subtype="FLOAT"))
    audio = load(kind(path), 16000)
    assert audio.name == f"{tmp_path}/caf\\udce9.wav"
    assert len(audio.samples) == 16000
    Path(path).unlink()
    with pytest.raises(AudioError, match=r"caf\\udce9\.wav: there is no such file$"):
        load(kind(path), 16000)


def test_a_pipe_is_read(tmp_path):
    pipe, data = tmp_path / "pipe.wav", wave_bytes(sine(16000), 16000, subtype="FLOAT")
    os.mkfifo(pipe)
    writer = threading.Thread(target=pipe.write_bytes, args=(data,))
    writer.start()
    audio = load(pipe, 16000)
    writer.join()
    np.testing.assert_allclose(audio.samples, sine(16000), atol=1e-7)


def test_a_rate_may_be_a_whole_float():
    assert load((GOOD, 16000.0), 16000).rate == 16000
