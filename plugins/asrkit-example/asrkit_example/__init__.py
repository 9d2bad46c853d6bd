"""The plugin of asrkit's tutorial."""

__all__: list[str] = []
