"""Models in repositories of the Hugging Face hub, and the cache on disk that all its programs share.

The client is huggingface_hub, so ``HF_HOME``, ``HF_TOKEN``, ``HF_ENDPOINT``, ``HF_HUB_OFFLINE`` and ``hf auth login``
mean what they mean elsewhere. Whatever it stumbles over becomes one line.
"""
