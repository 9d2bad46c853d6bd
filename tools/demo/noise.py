"""Noise, reverberation and clips without speech."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from scipy.signal import fftconvolve, lfilter

RATE = 16000
Generator = Callable[[np.random.Generator, int], np.ndarray]


def white(rng: np.random.Generator, count: int) -> np.ndarray:
    """White noise."""
    return rng.standard_normal(count, dtype=np.float32)


def coloured(rng: np.random.Generator, count: int) -> np.ndarray:
    """Noise through a random resonance: rumble, rush or hiss."""
    radius, angle = rng.uniform(0.5, 0.99), rng.uniform(0.0, 2.8)
    feedback = [1.0, -2 * radius * np.cos(angle), radius * radius]
    return lfilter([1.0], feedback, white(rng, count)).astype(np.float32)


def tones(rng: np.random.Generator, count: int) -> np.ndarray:
    """One to four steady tones."""
    time = np.arange(count, dtype=np.float32) / RATE
    frequencies = rng.uniform(80, 5000, rng.integers(1, 5))
    return np.sum([np.sin(2 * np.pi * (f * time + rng.random())) for f in frequencies], axis=0).astype(np.float32)


def bursts(rng: np.random.Generator, count: int) -> np.ndarray:
    """Coloured noise or tones that come and go, at about the pace of syllables."""
    source = coloured(rng, count) if rng.random() < 0.6 else tones(rng, count)
    edges = np.cumsum(rng.uniform(0.04, 0.5, 2 + count // 600))
    gate = (np.searchsorted(edges, np.arange(count) / RATE) % 2).astype(np.float32)
    return source * lfilter([0.01], [1.0, -0.99], gate).astype(np.float32)


def hum(rng: np.random.Generator, count: int) -> np.ndarray:
    """Mains hum with harmonics."""
    time = np.arange(count, dtype=np.float32) / RATE
    base = rng.choice([50.0, 60.0]) * rng.uniform(0.99, 1.01)
    parts = [np.sin(2 * np.pi * base * n * time) * rng.random() / n for n in range(1, 12)]
    return np.sum(parts, axis=0).astype(np.float32) + 0.02 * white(rng, count)


def clicks(rng: np.random.Generator, count: int) -> np.ndarray:
    """Sparse clicks that ring for a moment."""
    pulses = np.zeros(count, np.float32)
    pulses[rng.integers(0, count, rng.integers(1, 4 + count // 4000))] = 1.0
    radius, angle = rng.uniform(0.8, 0.99), rng.uniform(0.1, 2.5)
    return lfilter([1.0], [1.0, -2 * radius * np.cos(angle), radius * radius], pulses).astype(np.float32)


def silence(rng: np.random.Generator, count: int) -> np.ndarray:
    """Nothing, or next to nothing."""
    return white(rng, count) * (0.0 if rng.random() < 0.5 else 1e-3)


def beeps(rng: np.random.Generator, count: int) -> np.ndarray:
    """A tone that is switched on and off, each time at one of a few pitches."""
    pitches = rng.uniform(200, 4000, rng.integers(1, 5))
    out, at = np.zeros(count, np.float32), 0
    while at < count:
        time = np.arange(min(int(rng.uniform(0.05, 0.6) * RATE), count - at)) / RATE
        out[at : at + len(time)] = np.sin(2 * np.pi * rng.choice(pitches) * time)
        at += len(time) + int(rng.uniform(0.0, 0.5) * RATE)
    return out


def wandering(rng: np.random.Generator, count: int) -> np.ndarray:
    """A tone with harmonics whose pitch wanders at random."""
    knots = rng.uniform(90, 2500, 2 + count // int(rng.uniform(1500, 16000)))
    pitch = np.interp(np.linspace(0, len(knots) - 1, count), np.arange(len(knots)), knots)
    phase = 2 * np.pi * np.cumsum(pitch) / RATE
    return sum(np.sin(n * phase) * rng.random() / n for n in range(1, 1 + rng.integers(1, 6))).astype(np.float32)


def motor(rng: np.random.Generator, count: int) -> np.ndarray:
    """Pulses at a changing rate through a resonance."""
    speed = np.interp(np.arange(count) / RATE, np.arange(0, 17, 1.0), rng.uniform(15, 200, 17))
    pulses = (np.diff(np.floor(np.cumsum(speed) / RATE), prepend=0) > 0).astype(np.float32)
    radius, angle = rng.uniform(0.7, 0.98), rng.uniform(0.1, 2.0)
    return lfilter([1.0], [1.0, -2 * radius * np.cos(angle), radius * radius], pulses).astype(np.float32)


def wind(rng: np.random.Generator, count: int) -> np.ndarray:
    """Coloured noise whose loudness wanders at random."""
    knots = rng.random(2 + count // int(rng.uniform(1000, 12000))) ** 2
    loudness = np.interp(np.linspace(0, len(knots) - 1, count), np.arange(len(knots)), knots)
    return (coloured(rng, count) * loudness).astype(np.float32)


def notes(rng: np.random.Generator, count: int) -> np.ndarray:
    """A melody of notes with harmonics that fade."""
    out, length = np.zeros(count, np.float32), int(rng.uniform(0.08, 0.5) * RATE)
    for start in range(0, count, length):
        time = np.arange(min(length * 2, count - start)) / RATE
        pitch = 110 * 2 ** (rng.integers(0, 40) / 12)
        tone = sum(np.sin(2 * np.pi * pitch * n * time) / n**2 for n in range(1, 5))
        out[start : start + len(time)] += (tone * np.exp(-rng.uniform(1, 12) * time)).astype(np.float32)
    return out


def sweep(rng: np.random.Generator, count: int) -> np.ndarray:
    """A tone that glides up or down, again and again."""
    low, high, period = rng.uniform(100, 800), rng.uniform(1000, 6000), rng.uniform(0.5, 4.0)
    phase = (np.arange(count) / RATE % period) / period
    return np.sin(2 * np.pi * np.cumsum(low + (high - low) * phase) / RATE).astype(np.float32)


def siren(rng: np.random.Generator, count: int) -> np.ndarray:
    """A tone whose pitch swings."""
    time = np.arange(count) / RATE
    pitch = rng.uniform(400, 1500) * (1 + 0.4 * np.sin(2 * np.pi * rng.uniform(0.3, 6) * time))
    return np.sin(2 * np.pi * np.cumsum(pitch) / RATE).astype(np.float32)


def rain(rng: np.random.Generator, count: int) -> np.ndarray:
    """Thousands of tiny drops."""
    drops = np.where(rng.random(count) < rng.uniform(0.002, 0.03), rng.exponential(1.0, count), 0.0)
    return lfilter([1.0], [1.0, -0.6], drops).astype(np.float32) + 0.01 * white(rng, count)


def waves(rng: np.random.Generator, count: int) -> np.ndarray:
    """Noise that swells and fades like surf."""
    time = np.arange(count) / RATE
    swell = (1 + np.sin(2 * np.pi * (rng.uniform(0.2, 4) * time + rng.random()))) ** 2
    return (coloured(rng, count) * swell).astype(np.float32)


def chords(rng: np.random.Generator, count: int) -> np.ndarray:
    """Plucked chords, one after the other."""
    out = np.zeros(count, np.float32)
    for start in range(0, count, int(rng.uniform(0.2, 0.8) * RATE)):
        time = np.arange(count - start) / RATE
        for step in rng.choice(24, 3, replace=False):
            out[start:] += (np.sin(2 * np.pi * 110 * 2 ** (step / 12) * time) * np.exp(-4 * time)).astype(np.float32)
    return out


TRAINING: tuple[Generator, ...] = (white, coloured, tones, bursts, hum, clicks, silence)
LATER: tuple[Generator, ...] = (*TRAINING, beeps, wandering, motor, wind, notes)
"""Trained on in the last stage."""
HELD_OUT: tuple[Generator, ...] = (sweep, siren, rain, waves, chords)


def levelled(samples: np.ndarray, decibels: float) -> np.ndarray:
    """Samples whose peak lies `decibels` below full scale; near silence stays as it is."""
    peak = float(np.abs(samples).max(initial=0.0))
    if peak < 1e-2:
        return samples
    return (samples * (10 ** (-decibels / 20) / peak)).astype(np.float32)


def mixed(samples: np.ndarray, other: np.ndarray, ratio: float) -> np.ndarray:
    """Add `other` so that the speech is `ratio` decibels louder."""
    power, noise = np.mean(samples**2) + 1e-9, np.mean(other**2) + 1e-9
    return (samples + other * np.sqrt(power / noise * 10 ** (-ratio / 10))).astype(np.float32)


def reverberated(rng: np.random.Generator, samples: np.ndarray) -> np.ndarray:
    """Light reverberation: the direct sound and a decaying tail of noise."""
    decay = rng.uniform(0.08, 0.4)
    time = np.arange(int(decay * RATE)) / RATE
    tail = white(rng, len(time)) * np.exp(-6.9 * time / decay)
    tail *= rng.uniform(0.15, 0.7) / np.sqrt(np.sum(tail**2))
    tail[: int(0.003 * RATE)] = 0.0
    tail[0] = 1.0
    return fftconvolve(samples, tail)[: len(samples)].astype(np.float32)


def empty(rng: np.random.Generator, generators: tuple[Generator, ...], seconds: float) -> np.ndarray:
    """A clip without speech; sometimes two kinds of noise in it."""
    count = int(seconds * RATE)
    out = levelled(generators[rng.integers(len(generators))](rng, count), rng.uniform(0, 40))
    if rng.random() < 0.3:
        out = out + levelled(generators[rng.integers(len(generators))](rng, count), rng.uniform(0, 40))
    return np.clip(out, -1, 1).astype(np.float32)
