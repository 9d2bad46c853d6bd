"""Synthetic, speech-like clips: gliding harmonics, noise bursts and pauses, from a seed.

They are kept as int16, so that every reader sees exactly the same float32 samples (value / 32768).
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

RATE = 16000

# Name -> length in samples. 2.56 s gives 256 feature frames, a multiple of 8: there the encoder output is one
# frame longer than its valid part. 0.43 s is below the second to which `transcribe()` fills up.
LENGTHS = {"c043": 6880, "c100": 16000, "c256": 40960, "c337": 53920, "c790": 126400}


def speechlike(samples: int, seed: int) -> np.ndarray:
    """One clip of `samples` int16 values at 16 kHz.

    Syllables of 80 to 240 ms follow each other: most are voiced (a gliding fundamental with formant-shaped
    harmonics), some are noise, some are silence. A faint noise floor keeps the logarithm of the mel energies
    finite and busy.
    """
    rng = np.random.default_rng(seed)
    signal = 0.002 * rng.standard_normal(samples)
    start = 0
    while start < samples:
        count = min(int(rng.integers(1280, 3840)), samples - start)
        kind = rng.choice(["voiced", "noise", "pause"], p=[0.65, 0.2, 0.15])
        if kind != "pause":
            sound = _voiced(count, rng) if kind == "voiced" else _noise(count, rng)
            signal[start : start + count] += sound * np.hanning(count) * rng.uniform(0.2, 0.7)
        start += count
    return np.clip(np.round(signal * 20000), -32768, 32767).astype(np.int16)


def _voiced(count: int, rng: np.random.Generator) -> np.ndarray:
    """A harmonic tone whose pitch glides and whose harmonics are weighted by three formants."""
    pitch = np.linspace(rng.uniform(90, 240), rng.uniform(90, 240), count)
    phase = 2 * np.pi * np.cumsum(pitch) / RATE
    formants = rng.uniform([300, 900, 2200], [800, 2200, 3600])
    sound = np.zeros(count)
    for harmonic in range(1, 24):
        frequency = harmonic * pitch.mean()
        weight = np.exp(-(((frequency - formants) / 250.0) ** 2)).sum() + 0.02
        sound += weight * np.sin(harmonic * phase + rng.uniform(0, 2 * np.pi))
    return sound / np.abs(sound).max()


def _noise(count: int, rng: np.random.Generator) -> np.ndarray:
    """White noise, smoothed or differentiated a little so that bursts differ in colour."""
    noise = np.convolve(rng.standard_normal(count + 1), [1.0, rng.uniform(-0.9, 0.9)], mode="same")[:count]
    return 0.4 * noise / np.abs(noise).max()


def make_clips() -> dict[str, np.ndarray]:
    """All clips by name."""
    return {name: speechlike(samples, seed) for seed, (name, samples) in enumerate(LENGTHS.items(), start=1)}


def load_clips(file: Path) -> dict[str, np.ndarray]:
    """The clips stored in `file`, made and stored first if it does not exist."""
    if not file.exists():
        file.parent.mkdir(parents=True, exist_ok=True)
        np.savez_compressed(file, **make_clips())
    with np.load(file) as stored:
        return {name: stored[name] for name in stored.files}


def as_float(clip: np.ndarray) -> np.ndarray:
    """int16 samples as the float32 samples in [-1, 1) that soundfile gives."""
    return clip.astype(np.float32) / np.float32(32768)
