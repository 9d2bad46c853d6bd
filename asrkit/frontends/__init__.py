"""Frontends of the core: waveforms to features."""
