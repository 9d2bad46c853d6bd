"""What the core registers, through the same hooks as everybody else."""

from __future__ import annotations

import importlib.util
from typing import Any

from asrkit.hookspecs import hookimpl

__all__ = ["ASRKIT_INTERFACE", "probe_mlx", "probe_numpy"]

ASRKIT_INTERFACE = 1

INSTALL = "pip install mlx, on Linux 'mlx[cpu]' or 'mlx[cuda]'"


def probe_mlx() -> str | None:
    """Why MLX cannot run here, or None."""
    if importlib.util.find_spec("mlx") is None:
        return f"the package mlx is not installed; {INSTALL}"
    try:
        importlib.import_module("mlx.core")
    except ImportError as error:
        text = " ".join(str(error).split())
        return f"mlx does not import ({text}); {INSTALL}"
    return None


def probe_numpy() -> str | None:
    """NumPy always runs."""
    return None


@hookimpl
def register_backends(register: Any) -> None:
    """The backends of the core."""
    register("mlx", "asrkit.backends.mlx:MLXBackend", probe_mlx)
    register("numpy", "asrkit.backends.numpy:NumpyBackend", probe_numpy)


@hookimpl
def register_parts(register: Any) -> None:
    """The parts of the core."""
    register.checkpoint("nemo", "asrkit.checkpoints.nemo:NemoCheckpoint")
    register.checkpoint("directory", "asrkit.checkpoints.directory:DirectoryCheckpoint")
    register.frontend("log-mel", "asrkit.frontends.mel:read_log_mel")
    register.segmenter("fixed", "asrkit.segmenters.fixed:Fixed")
    register.segmenter("pauses", "asrkit.segmenters.pauses:Pauses")
    register.segmenter("whole", "asrkit.segmenters.whole:Whole")
    register.strategy("attention-beam", "asrkit.strategies.attention_beam:AttentionBeam")
    register.strategy("ctc-beam", "asrkit.strategies.ctc_beam:CTCBeam")
    register.strategy("ctc-greedy", "asrkit.strategies.ctc_greedy:CTCGreedy")
    register.strategy("greedy", "asrkit.strategies.greedy:Greedy")
    register.strategy("transducer-beam", "asrkit.strategies.transducer_beam:TransducerBeam")
    register.strategy("transducer-greedy", "asrkit.strategies.transducer_greedy:TransducerGreedy")


@hookimpl
def register_formats(register: Any) -> None:
    """The formats of the core."""
    register("txt", "asrkit.formats.txt:write", ".txt")
    register("json", "asrkit.formats.json:write", ".json")
    register("jsonl", "asrkit.formats.json:write_lines", ".jsonl")
    register("srt", "asrkit.formats.srt:write", ".srt", single=True)
    register("vtt", "asrkit.formats.vtt:write", ".vtt", single=True)
    register("tsv", "asrkit.formats.tsv:write", ".tsv", single=True)
