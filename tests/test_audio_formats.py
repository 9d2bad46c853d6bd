"""One signal in many containers, rates, widths and channels: what is read is the signal."""

from __future__ import annotations

import os
import re
import subprocess
import sys

import numpy as np
import pytest
import soundfile
import soxr

from asrkit import audio_files
from asrkit.audio import load, open_audio
from asrkit.audio_files import seconds_of
from asrkit.errors import AudioError, OptionError
from asrkit.ffmpeg import find_ffmpeg

SECONDS = 2.0
SOUND = "it has no audio track"


def signal(rate: int) -> np.ndarray:
    """(S,) float64: three tones under 3 kHz, which every rate from 8 kHz on can hold, in a slow swell."""
    time = np.arange(round(rate * SECONDS)) / rate
    tones = 0.3 * np.sin(2 * np.pi * 310 * time) + 0.15 * np.sin(2 * np.pi * 1170 * time + 1)
    tones += 0.08 * np.sin(2 * np.pi * 2690 * time + 2)
    return tones * np.sin(np.pi * time / SECONDS) ** 2


def channels_of(mono: np.ndarray, channels: int) -> np.ndarray:
    """(S, channels) whose mean is the signal, each of another loudness."""
    weights = np.linspace(0.6, 1.4, channels) if channels > 1 else np.ones(1)
    return mono[:, None] * weights


REFERENCE = signal(16000)


def distance(samples: np.ndarray, reach: int = 0) -> float:
    """Root mean square error against the reference, relative to it, at the best shift of up to ``reach`` samples."""
    inner = slice(2000, len(REFERENCE) - 2000)
    scale = np.sqrt(np.mean(REFERENCE[inner] ** 2))
    padded = np.pad(samples, (reach, reach + len(REFERENCE)))
    shifts = (padded[n : n + len(REFERENCE)] - REFERENCE for n in range(2 * reach + 1))
    return min(float(np.sqrt(np.mean(error[inner] ** 2))) for error in shifts) / scale


FINE, COARSE, ADAPTIVE = 2e-4, 3.5e-2, 5e-2
"""Rounding to 16 bits and more; to 8 bits; what a coder throws away."""

LIBSNDFILE = [
    *(
        ("wav", subtype, rate, 1, FINE)
        for subtype in ("PCM_16", "FLOAT")
        for rate in (8000, 11025, 22050, 44100, 96000)
    ),
    *(("wav", subtype, 48000, 2, FINE) for subtype in ("PCM_24", "PCM_32", "DOUBLE")),
    ("wav", "PCM_U8", 16000, 1, COARSE),
    ("wav", "ULAW", 8000, 1, COARSE),
    ("wav", "ALAW", 8000, 2, COARSE),
    ("wav", "IMA_ADPCM", 16000, 1, ADAPTIVE),
    ("wav", "GSM610", 8000, 1, 0.3),
    *(("wav", "PCM_16", rate, channels, FINE) for rate, channels in ((192000, 1), (16000, 6), (32000, 8), (16000, 16))),
    *(("flac", "PCM_16", rate, channels, FINE) for rate, channels in ((8000, 1), (44100, 2), (48000, 6), (192000, 2))),
    ("flac", "PCM_S8", 16000, 1, COARSE),
    ("flac", "PCM_24", 96000, 2, FINE),
    *(("aiff", subtype, rate, 2, FINE) for subtype, rate in (("PCM_16", 44100), ("PCM_24", 48000), ("FLOAT", 22050))),
    ("aiff", "PCM_S8", 22050, 1, COARSE),
    ("au", "PCM_16", 44100, 2, FINE),
    ("caf", "PCM_24", 48000, 2, FINE),
    ("caf", "ALAC_16", 44100, 2, FINE),
    ("w64", "PCM_16", 48000, 2, FINE),
    ("rf64", "PCM_16", 48000, 2, FINE),
    *(("ogg", "VORBIS", rate, channels, ADAPTIVE) for rate, channels in ((16000, 1), (44100, 2), (48000, 1))),
    *(("opus", "OPUS", rate, channels, ADAPTIVE) for rate, channels in ((16000, 1), (48000, 2))),
    *(("mp3", "MPEG_LAYER_III", rate, channels, ADAPTIVE) for rate, channels in ((16000, 1), (22050, 2), (44100, 2))),
]

FORMATS = {"opus": "OGG"}
"""Names of libsndfile that are not the suffix."""


@pytest.mark.parametrize(("suffix", "subtype", "rate", "channels", "tolerance"), LIBSNDFILE)
def test_libsndfile(tmp_path, monkeypatch, suffix, subtype, rate, channels, tolerance):
    monkeypatch.setattr(audio_files, "find_ffmpeg", lambda: None)
    path = tmp_path / f"talk.{suffix}"
    written = channels_of(signal(rate), channels)
    soundfile.write(path, written, rate, subtype=subtype, format=FORMATS.get(suffix, suffix.upper()))
    audio = load(path, 16000)
    assert (audio.rate, audio.samples.dtype, audio.notices) == (16000, np.float32, ())
    assert audio.duration == pytest.approx(SECONDS, abs=0.08)
    assert distance(audio.samples, reach=2) < tolerance
    chosen = load(path, 16000, channel=channels)
    assert distance(chosen.samples / (1.4 if channels > 1 else 1), reach=2) < tolerance


FFMPEG = [
    ("m4a", ("-c:a", "aac", "-b:a", "192k"), 44100, 2, ADAPTIVE),
    ("m4a", ("-c:a", "alac"), 48000, 1, FINE),
    ("mp4", ("-c:a", "aac", "-b:a", "96k"), 16000, 1, ADAPTIVE),
    ("mov", ("-c:a", "pcm_s16le"), 48000, 2, FINE),
    ("webm", ("-c:a", "libopus", "-b:a", "96k"), 48000, 1, ADAPTIVE),
    ("mkv", ("-c:a", "flac"), 44100, 2, FINE),
    ("mka", ("-c:a", "pcm_s24le"), 96000, 6, FINE),
    ("wma", ("-c:a", "wmav2", "-b:a", "160k"), 44100, 2, 0.1),
    ("aac", ("-c:a", "aac", "-b:a", "192k"), 32000, 2, ADAPTIVE),
    ("ac3", ("-c:a", "ac3", "-b:a", "448k"), 32000, 2, ADAPTIVE),
    ("avi", ("-c:a", "pcm_s16le"), 22050, 1, FINE),
    ("ts", ("-c:a", "mp2", "-b:a", "160k"), 16000, 2, ADAPTIVE),
]
DELAY = 2500
"""Samples that a container without edit lists may begin late, at 16 kHz."""


def encode(source, path, *how):
    """``source`` converted by ffmpeg."""
    command = [find_ffmpeg(), "-v", "error", "-y", "-i", source, *how, path]
    subprocess.run(command, check=True, stdin=subprocess.DEVNULL, timeout=60)


@pytest.fixture
def written(tmp_path):
    """Writes the signal into a container: its path."""

    def written(suffix, how, rate, channels):
        soundfile.write(tmp_path / "source.wav", channels_of(signal(rate), channels), rate, subtype="FLOAT")
        encode(tmp_path / "source.wav", tmp_path / f"talk.{suffix}", *how)
        return tmp_path / f"talk.{suffix}"

    return written


@pytest.mark.parametrize(("suffix", "how", "rate", "channels", "tolerance"), FFMPEG)
@pytest.mark.parametrize("kind", ["path", "bytes"])
def test_ffmpeg(written, suffix, how, rate, channels, tolerance, kind):
    path = written(suffix, how, rate, channels)
    audio = load(path if kind == "path" else path.read_bytes(), 16000)
    assert audio.duration == pytest.approx(SECONDS, abs=0.2)
    assert distance(audio.samples, reach=DELAY if suffix in ("aac", "ac3", "ts", "wma") else 2) < tolerance
    assert audio.notices == ()


def test_ffmpeg_is_absent(written, monkeypatch):
    path = written(*FFMPEG[0][:4])
    monkeypatch.setattr(audio_files, "find_ffmpeg", lambda: None)
    with pytest.raises(AudioError) as caught:
        load(path, 16000)
    assert str(caught.value) == (
        f"{path}: cannot be read as audio: Format not recognised; containers such as m4a, mp4 and webm are read with "
        "ffmpeg: install it, or imageio-ffmpeg with pip"
    )


def test_ffmpeg_of_a_package(monkeypatch):
    monkeypatch.setattr("shutil.which", lambda name: None)
    program = find_ffmpeg()
    assert program is not None
    assert "ffmpeg version" in subprocess.run([program, "-version"], capture_output=True, text=True).stdout
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    assert find_ffmpeg() is None


def test_ffmpeg_that_does_not_start(written, monkeypatch, tmp_path):
    path = written(*FFMPEG[0][:4])
    monkeypatch.setattr(audio_files, "find_ffmpeg", lambda: str(tmp_path / "nothing"))
    with pytest.raises(AudioError, match=r"nothing cannot be started: No such file"):
        load(path, 16000)


def test_a_video_without_sound(tmp_path):
    make = ["-f", "lavfi", "-i", "color=size=32x32:duration=0.2"]
    subprocess.run([find_ffmpeg(), "-v", "error", *make, tmp_path / "mute.mp4"], check=True, timeout=60)
    with pytest.raises(AudioError, match=rf"mute\.mp4: cannot be read as audio: .*; and by ffmpeg: {SOUND}$"):
        load(tmp_path / "mute.mp4", 16000)


def test_a_playlist_opens_nothing_else(written, tmp_path):
    written(*FFMPEG[0][:4])
    for name, content in {
        "list.m3u8": "#EXTM3U\n#EXTINF:2,\ntalk.m4a\n#EXT-X-ENDLIST\n",
        "list.txt": "ffconcat version 1.0\nfile 'talk.m4a'\n",
    }.items():
        (tmp_path / name).write_text(content)
        with pytest.raises(AudioError, match=f"{name}: cannot be read as audio: "):
            load(tmp_path / name, 16000)


def test_a_stream_that_is_left_early_ends_ffmpeg(written):
    path = written("m4a", ("-c:a", "alac"), 48000, 1)
    with open_audio(path, 16000) as stream:
        next(stream.blocks())
        process = stream._decoder._program._process
    assert process.poll() is not None


CUT = [
    ("wav", "PCM_16", "WAV"),
    ("aiff", "PCM_16", "AIFF"),
    ("rf64", "PCM_16", "RF64"),
    ("w64", "PCM_16", "W64"),
    ("au", "PCM_16", "AU"),
    ("flac", "PCM_16", "FLAC"),
    ("opus", "OPUS", "OGG"),
    ("mp3", "MPEG_LAYER_III", "MP3"),
    ("ogg", "VORBIS", "OGG"),
]


@pytest.mark.parametrize(("suffix", "subtype", "container"), CUT)
def test_a_file_that_was_cut_off_says_so(tmp_path, suffix, subtype, container):
    path = tmp_path / f"talk.{suffix}"
    # Noise, which no coder can make small: a cut falls into sound and not into a table at the end.
    noise = np.random.default_rng(1).normal(0, 0.1, 16000 * 6)
    soundfile.write(path, noise, 16000, subtype=subtype, format=container)
    whole = load(path, 16000)
    assert whole.notices == ()
    data = path.read_bytes()
    path.write_bytes(data[: len(data) * 6 // 10])
    audio = load(path, 16000)
    (notice,) = audio.notices
    assert notice.code == "truncated"
    assert re.match(rf"only {audio.duration:.2f} s could be read: ", notice.message)
    assert 2 < audio.duration < 5
    if subtype == "PCM_16":
        assert np.array_equal(audio.samples, whole.samples[: len(audio.samples)])


def test_a_file_of_a_pipe_promises_nothing(tmp_path):
    soundfile.write(tmp_path / "x.wav", signal(16000), 16000)
    how = [find_ffmpeg(), "-v", "error", "-i", tmp_path / "x.wav", "-f", "wav", "pipe:1"]
    data = subprocess.run(how, check=True, capture_output=True, timeout=60).stdout
    audio = load(data, 16000)
    assert audio.notices == ()
    assert len(audio.samples) == len(REFERENCE)


@pytest.mark.parametrize("cut", [0, 4, 12, 43, 44])
def test_a_header_and_nothing_else(tmp_path, cut):
    soundfile.write(tmp_path / "x.wav", signal(16000), 16000)
    data = (tmp_path / "x.wav").read_bytes()[:cut]
    with pytest.raises(AudioError, match=r"^<bytes>: (cannot be read as audio|holds no samples)"):
        load(data, 16000)


@pytest.mark.parametrize("seconds", [1 / 16000, 0.001, 0.01])
def test_shorter_than_a_frame(seconds):
    samples = np.full(round(seconds * 16000), 0.25, np.float32)
    audio = load((samples, 16000), 16000)
    assert audio.samples.tolist() == samples.tolist()
    assert audio.duration == pytest.approx(seconds)


@pytest.mark.parametrize("rate", [16000, 44100, 8000])
def test_blocks_are_what_the_whole_is(tmp_path, rate):
    soundfile.write(tmp_path / "x.flac", channels_of(np.tile(signal(rate), 4), 2), rate)
    with open_audio(tmp_path / "x.flac", 16000) as stream:
        blocks = list(stream.blocks())
    assert len(blocks) > 1
    both, _ = soundfile.read(tmp_path / "x.flac", dtype="float32")
    mono = both.mean(axis=1)
    whole = mono if rate == 16000 else soxr.resample(mono, rate, 16000, quality="HQ")
    assert np.array_equal(np.concatenate(blocks), whole)


@pytest.mark.parametrize("suffix", ["wav", "flac", "mp3", "m4a"])
def test_excerpts(tmp_path, suffix):
    """From an offset on and for so long, in every kind of decoder."""
    rate = 16000
    long = np.concatenate([np.zeros(rate), signal(rate), np.zeros(rate)])
    soundfile.write(tmp_path / "x.wav", long, rate, subtype="FLOAT")
    path = tmp_path / f"x.{suffix}"
    if suffix != "wav":
        encode(tmp_path / "x.wav", path)
    audio = load(path, rate, offset=1.0, duration=SECONDS)
    assert len(audio.samples) == len(REFERENCE)
    assert distance(audio.samples, reach=3) < ADAPTIVE
    assert audio.duration == SECONDS
    assert audio.notices == ()
    assert load(path, rate, offset=1.0).duration == pytest.approx(SECONDS + 1, abs=0.1)
    (notice,) = load(path, rate, offset=2.0, duration=9.0).notices
    assert notice.message.startswith("only 2.0")
    assert "9 s were to be read" in notice.message


def test_an_excerpt_behind_the_end(tmp_path):
    soundfile.write(tmp_path / "x.wav", signal(16000), 16000)
    with pytest.raises(AudioError, match=r"x\.wav: was to be read from 5 s on, its end is at 2\.00 s$"):
        load(tmp_path / "x.wav", 16000, offset=5.0)


def test_an_excerpt_before_the_damage_is_whole(tmp_path):
    soundfile.write(tmp_path / "x.wav", np.tile(signal(16000), 3), 16000)
    data = (tmp_path / "x.wav").read_bytes()
    assert load(data[: len(data) // 2], 16000, duration=1.0).notices == ()


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"channel": 0}, "a channel is a whole number from 1 on, found 0"),
        ({"channel": 1.0}, "a channel is a whole number from 1 on, found 1.0"),
        ({"channel": True}, "a channel is a whole number from 1 on, found True"),
        ({"offset": -1}, "offset is a number of seconds from 0 on, found -1"),
        ({"offset": float("nan")}, "offset is a number of seconds from 0 on, found nan"),
        ({"offset": "1"}, "offset is a number of seconds from 0 on, found '1'"),
        ({"duration": 0}, "duration is a number of seconds above 0, found 0"),
        ({"duration": float("inf")}, "duration is a number of seconds above 0, found inf"),
    ],
)
def test_what_no_recording_has(wrong, message):
    with pytest.raises(OptionError, match=f"^{re.escape(message)}$"):
        load((REFERENCE, 16000), 16000, **wrong)


@pytest.mark.parametrize(("channels", "there"), [(1, "is 1 channel"), (2, "are 2 channels")])
def test_a_channel_that_is_not_there(channels, there):
    with pytest.raises(AudioError, match=rf"^<samples>: channel 3 was asked for, there {there}$"):
        load((channels_of(REFERENCE, channels), 16000), 16000, channel=3)


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no such names")
def test_ffmpeg_and_strange_names(written, tmp_path, monkeypatch):
    path = written("m4a", ("-c:a", "alac"), 48000, 1)
    monkeypatch.chdir(tmp_path)
    for name in ("-i.m4a", "a:b %03d.m4a", "http:x.m4a", "ü'\".m4a"):
        path = path.rename(tmp_path / name)
        assert distance(load(name, 16000).samples, reach=2) < FINE


def test_a_length_is_told_of_files_only(tmp_path, monkeypatch):
    """libsndfile would take - for standard input, and a pipe could not be read again."""
    soundfile.write(tmp_path / "one.wav", np.zeros(16000), 16000)
    assert seconds_of(str(tmp_path / "one.wav"), 0.25) == 0.75
    assert seconds_of(str(tmp_path / "one.wav"), 0.25, 0.5) == 0.5

    def touched(path):
        raise AssertionError(path)

    monkeypatch.setattr(soundfile, "info", touched)
    assert seconds_of("-") is None
    assert seconds_of(str(tmp_path / "two.wav")) is None
    assert seconds_of(os.devnull, 0.0, 2.0) == 2.0


def test_a_copy_for_ffmpeg_that_finds_no_room(written, monkeypatch):
    def full(*_):
        raise OSError(28, "No space left on device")

    content = written("m4a", ["-c:a", "aac"], 16000, 1).read_bytes()
    monkeypatch.setattr(audio_files.shutil, "copyfileobj", full)
    with pytest.raises(AudioError, match=r"^<bytes>: .* a copy for it cannot be written: .*: No space left on device$"):
        load(content, 16000)
