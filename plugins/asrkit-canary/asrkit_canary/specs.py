"""The published Canary models. Sizes and vocabularies are not here: they come from the checkpoint."""

from __future__ import annotations

from asrkit.models import HubSource, ModelSpec

__all__ = ["SPECS"]

FOUR = ("en", "de", "es", "fr")
EUROPEAN = (
    *("bg", "hr", "cs", "da", "nl", "en", "et", "fi", "fr", "de", "el", "hu", "it"),
    *("lv", "lt", "mt", "pl", "pt", "ro", "ru", "sk", "sl", "es", "sv", "uk"),
)


def _spec(name: str, languages: tuple[str, ...], licence: str, summary: str) -> ModelSpec:
    others = [language for language in languages if language != "en"]
    return ModelSpec(
        name=name,
        source=HubSource(f"nvidia/{name}", f"{name}.nemo"),
        build="asrkit_canary.build:build",
        decoder="attention",
        strategy="greedy",
        languages=languages,
        tasks=("transcribe", "translate"),
        licence=licence,
        summary=summary,
        translations=tuple(pair for other in others for pair in (("en", other), (other, "en"))),
        targets=("EncDecMultiTaskModel",),
    )


SPECS = (
    _spec("canary-180m-flash", FOUR, "CC-BY-4.0", "182 M parameters, fast; timestamps in the text"),
    _spec("canary-1b-flash", FOUR, "CC-BY-4.0", "883 M parameters; timestamps in the text"),
    _spec("canary-1b", FOUR, "CC-BY-NC-4.0", "1 B parameters, the first Canary; not for commercial use"),
    _spec("canary-1b-v2", EUROPEAN, "CC-BY-4.0", "978 M parameters, 25 European languages"),
)
