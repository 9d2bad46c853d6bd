"""ONNX Runtime as an asrkit backend: graph code is traced, nothing is exported."""

__version__ = "0.1.0"
