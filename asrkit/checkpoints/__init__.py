"""Readers of model files: data only, nothing in a file is ever executed.

``nemo`` reads NVIDIA's ``.nemo`` archives, ``directory`` a folder with ``config.json`` and
``model.safetensors``; both memory-map their tensors. They know nothing of any model family: what a
configuration means and what a tensor is for is a plugin's business.
"""
