"""Log-mel features against a plain float64 reading of NeMo's definition."""

from __future__ import annotations

import cmath
import math

import attrs
import numpy as np
import pytest

from asrkit.config import Config
from asrkit.errors import AudioError, CheckpointError
from asrkit.frontends.mel import LogMel, MelConfig
from asrkit.testing import check_frontend
from asrkit.testing.conformance_host import noise

SMALL = MelConfig(rate=1000, hop=10, window=24, fft=32)
BINS = 6


def filters(config, bins=BINS):
    """Overlapping triangles; the frontend takes any filters that a checkpoint brings."""
    centres = np.linspace(0, config.fft // 2, bins + 2)
    slots = np.arange(config.fft // 2 + 1)
    return np.maximum(1 - np.abs(slots - centres[1:-1, None]) / (centres[1] - centres[0]), 0).astype(np.float32)


def window(config):
    return np.array(
        [0.5 - 0.5 * math.cos(2 * math.pi * k / (config.window - 1)) for k in range(config.window)], np.float32
    )


def frontend(config=SMALL):
    return LogMel(config, filters(config), window(config))


def expected(x, config):
    """Features (T, F) and the valid frames of one clip: step by step, in float64."""
    x = [float(value) for value in x]
    y = [x[t] - config.preemphasis * x[t - 1] if t else x[t] for t in range(len(x))]
    half, hop, count = config.fft // 2, config.hop, len(x)

    def sample(t):
        if 0 <= t < count:
            return y[t]
        if config.edges == "reflect" and count > half:
            return y[-t] if t < 0 else y[2 * (count - 1) - t]
        return 0.0

    valid = count // hop + (config.edges == "reflect")
    weights = np.zeros(config.fft)
    offset = (config.fft - config.window) // 2
    weights[offset : offset + config.window] = window(config)
    slots = np.arange(config.fft)
    turns = np.exp(-2j * cmath.pi * np.outer(slots[: half + 1], slots) / config.fft)
    rows = []
    for frame in range(1 + count // hop):
        segment = np.array([sample(frame * hop - half + k) for k in range(config.fft)])
        magnitude = np.abs(turns @ (segment * weights))
        rows.append(np.log(filters(config).astype(np.float64) @ magnitude**2 + config.log_guard))
    features = np.array(rows)
    if config.normalize:
        for column in features[:valid].T:
            deviation = math.sqrt(sum((column - column.mean()) ** 2) / (valid - 1)) if valid > 1 else 0.0
            column[:] = (column - column.mean()) / (deviation + 1e-5)
    features[valid:] = 0
    return features, valid


def clip(samples, seed=0):
    return noise(samples / 1000, 1000, seed) if samples else np.zeros(0, np.float32)


CONFIGS = {
    "now": SMALL,
    "before 2.5": attrs.evolve(SMALL, edges="reflect"),
    "plain": attrs.evolve(SMALL, normalize=False, preemphasis=0.0),
    "padded": attrs.evolve(SMALL, pad_to=16),
    "padded before 2.5": attrs.evolve(SMALL, pad_to=8, edges="reflect"),
    "guard": attrs.evolve(SMALL, normalize=False, log_guard=1e-2),
    "full size": MelConfig(rate=16000),
}


@pytest.mark.parametrize("config", CONFIGS.values(), ids=CONFIGS)
@pytest.mark.parametrize("samples", [20, 25, 40, 337, 1000])
def test_features(config, samples):
    samples *= config.hop // 10
    x = clip(samples)
    found = frontend(config)([x])
    values, valid = expected(x, config)
    assert found.values.dtype == np.float32
    assert found.lengths.tolist() == [valid]
    spare = -len(values) % config.pad_to if config.pad_to else 0
    assert found.values.shape == (1, len(values) + spare, BINS)
    np.testing.assert_allclose(found.values[0, : len(values)], values, atol=2e-4)
    assert not found.values[0, len(values) :].any()


@pytest.mark.parametrize("edges", ["zeros", "reflect"])
@pytest.mark.parametrize("frames", [1023, 1024, 1025, 2100])
def test_long_clips_are_made_in_blocks(edges, frames):
    config = attrs.evolve(SMALL, edges=edges)
    x = clip(frames * 10 + 3)
    values, _ = expected(x, config)
    np.testing.assert_allclose(frontend(config)([x]).values[0], values, atol=2e-4)


@pytest.mark.parametrize(
    ("samples", "edges", "valid", "width"),
    [
        (0, "zeros", 0, 1),
        (1, "zeros", 0, 1),
        (9, "zeros", 0, 1),
        (10, "zeros", 1, 2),
        (19, "zeros", 1, 2),
        (100, "zeros", 10, 11),
        (101, "zeros", 10, 11),
        (9, "reflect", 1, 1),
        (10, "reflect", 2, 2),
        (100, "reflect", 11, 11),
    ],
)
def test_widths(samples, edges, valid, width):
    mel = frontend(attrs.evolve(SMALL, edges=edges))
    found = mel([clip(samples)])
    assert found.values.shape == (1, width, BINS)
    assert mel.frames(samples) == width
    assert found.lengths.tolist() == [valid]
    assert np.isfinite(found.values).all()
    assert not found.values[0, valid:].any()


def test_one_frame_has_no_deviation():
    found = frontend()([clip(10)])
    assert found.values[0].tolist() == [[0.0] * BINS] * 2


def test_short_clips_are_mirrored_only_where_they_can_be():
    config = attrs.evolve(SMALL, edges="reflect", normalize=False)
    for samples in (16, 17, 18):
        values, _ = expected(clip(samples), config)
        np.testing.assert_allclose(frontend(config)([clip(samples)]).values[0], values, atol=2e-4)


def test_silence():
    config = attrs.evolve(SMALL, normalize=False)
    found = frontend(config)([np.zeros(100, np.float32)])
    np.testing.assert_allclose(found.values[0, :10], math.log(2.0**-24), rtol=1e-6)
    assert not frontend()([np.zeros(100, np.float32)]).values.any()


@pytest.mark.parametrize("edges", ["zeros", "reflect"])
def test_a_batch_is_its_rows_alone(edges):
    mel = frontend(attrs.evolve(SMALL, edges=edges))
    clips = [clip(samples, seed) for seed, samples in enumerate((503, 10, 0, 1200, 7))]
    together = mel(clips)
    for n, x in enumerate(clips):
        alone = mel([x])
        width = alone.values.shape[1]
        assert np.array_equal(together.values[n, :width], alone.values[0])
        assert not together.values[n, width:].any()
        assert together.lengths[n] == alone.lengths[0]


@pytest.mark.parametrize("config", CONFIGS.values(), ids=CONFIGS)
def test_conforms(config):
    check_frontend(frontend(config))


def test_waveforms_of_other_kinds():
    x = clip(100)
    assert np.array_equal(frontend()([x.astype(np.float64)]).values, frontend()([x]).values)
    x.flags.writeable = False
    frontend()([x])


def test_hop_and_lead():
    mel = frontend()
    assert (mel.rate, mel.hop, mel.lead(5)) == (1000, 0.01, 0)


PREPROCESSOR = {
    "sample_rate": 16000,
    "normalize": "per_feature",
    "window_size": 0.025,
    "window_stride": 0.01,
    "window": "hann",
    "features": 128,
    "n_fft": 512,
    "log": True,
    "frame_splicing": 1,
    "dither": 1e-5,
    "pad_to": 0,
    "pad_value": 0.0,
}


def test_published_configuration():
    assert MelConfig.read(Config(PREPROCESSOR)) == MelConfig()


def test_defaults_are_nemos():
    assert MelConfig.read(Config({})) == MelConfig(window=320, fft=512, pad_to=16)
    wide = MelConfig(window=640, fft=1024, pad_to=16, edges="reflect")
    assert MelConfig.read(Config({"window_size": 0.04}), "reflect") == wide


@pytest.mark.parametrize(
    ("key", "value", "field", "read"),
    [
        ("normalize", "NA", "normalize", False),
        ("preemph", 0.9, "preemphasis", 0.9),
        ("log_zero_guard_value", 1e-10, "log_guard", 1e-10),
        ("mag_power", 2, "rate", 16000),
        ("window_stride", 0.02, "hop", 320),
        # NeMo takes these names for the dtype's smallest normal number and its epsilon, and null for "not at all".
        ("log_zero_guard_value", "tiny", "log_guard", float(np.finfo(np.float32).tiny)),
        ("log_zero_guard_value", "eps", "log_guard", float(np.finfo(np.float32).eps)),
        ("preemph", None, "preemphasis", 0.0),
        ("normalize", None, "normalize", False),
        # Seconds that are no whole number of samples are cut off: 160.8 and 399.84.
        ("window_stride", 0.01005, "hop", 160),
        ("window_size", 0.02499, "window", 399),
        ("n_window_size", 320, "window", 320),
        ("n_window_stride", 80, "hop", 80),
        ("n_window_stride", None, "hop", 160),
        ("pad_to", 8, "pad_to", 8),
        ("pad_to", None, "pad_to", 16),
    ],
)
def test_settings(key, value, field, read):
    assert getattr(MelConfig.read(Config(PREPROCESSOR | {key: value})), field) == read


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("window", "hamming"),
        ("log", False),
        ("log_zero_guard_type", "clamp"),
        ("log_zero_guard_value", "huge"),
        ("mag_power", 1.0),
        ("frame_splicing", 2),
        ("exact_pad", True),
        ("normalize", "all_features"),
        ("pad_value", -1.0),
        ("sample_rate", "16k"),
        ("sample_rate", 0),
        ("window_stride", 0),
        ("window_stride", 0.00006),
        ("window_stride", -0.01),
        ("window_size", math.nan),
        ("n_window_size", 0),
        ("n_window_stride", 0),
        ("n_fft", 256),
        ("log_zero_guard_value", 0),
        ("log_zero_guard_value", -1e-5),
        ("log_zero_guard_value", math.inf),
        ("preemph", math.nan),
        ("pad_to", -1),
    ],
)
def test_settings_that_change_features_are_refused(key, value):
    with pytest.raises(CheckpointError, match=rf"^model: its configuration has .* at '{key}', asrkit can run"):
        MelConfig.read(Config(PREPROCESSOR | {key: value}, "model"))


@pytest.mark.parametrize(("samples", "width"), [(0, 16), (149, 16), (150, 16), (159, 16), (160, 32), (320, 48)])
def test_padded_widths(samples, width):
    mel = frontend(attrs.evolve(SMALL, pad_to=16))
    assert mel.frames(samples) == width
    found = mel([clip(samples)])
    assert found.values.shape == (1, width, BINS)
    assert found.lengths.tolist() == [samples // 10]


def test_the_stride_of_one_sample_is_enough():
    assert MelConfig.read(Config({"window_stride": 1 / 16000})).hop == 1


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("level", [1e30, 3.4e38])
@pytest.mark.parametrize("config", CONFIGS.values(), ids=CONFIGS)
def test_samples_too_large_to_compute_with(config, level):
    x = np.float32(level) * np.where(np.arange(100 * config.hop) % 2, 1, -1).astype(np.float32)
    with pytest.raises(AudioError, match=r"^samples are too large to compute with; full scale is 1$"):
        frontend(config)([clip(50), x])
