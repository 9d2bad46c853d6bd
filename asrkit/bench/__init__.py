"""Measuring models: every configuration in a process of its own, asked in turn, so that noise hits all alike."""
