"""The published Parakeet models. Sizes and vocabularies are not here: they come from the checkpoint."""

from __future__ import annotations

from asrkit.models import HubSource, ModelSpec

__all__ = ["SPECS"]

TARGETS = ("EncDecCTCModelBPE", "EncDecRNNTBPEModel", "EncDecHybridRNNTCTCBPEModel")
ENGLISH = ("en",)
EUROPEAN = (
    *("bg", "hr", "cs", "da", "nl", "en", "et", "fi", "fr", "de", "el", "hu", "it"),
    *("lv", "lt", "mt", "pl", "pt", "ro", "ru", "sk", "sl", "es", "sv", "uk"),
)


def _spec(name: str, summary: str, languages: tuple[str, ...] = ENGLISH) -> ModelSpec:
    ctc = name.startswith("parakeet-ctc")
    return ModelSpec(
        name=name,
        source=HubSource(f"nvidia/{name}", f"{name}.nemo"),
        build="asrkit_parakeet.build:build",
        decoder="ctc" if ctc else "transducer",
        strategy="ctc-greedy" if ctc else "transducer-greedy",
        languages=languages,
        tasks=("transcribe",),
        licence="CC-BY-4.0",
        summary=summary,
        targets=TARGETS,
    )


SPECS = (
    _spec("parakeet-ctc-0.6b", "0.6 B parameters, CTC; lower case without punctuation"),
    _spec("parakeet-ctc-1.1b", "1.1 B parameters, CTC; lower case without punctuation"),
    _spec("parakeet-rnnt-0.6b", "0.6 B parameters, RNNT; lower case without punctuation"),
    _spec("parakeet-rnnt-1.1b", "1.1 B parameters, RNNT; lower case without punctuation"),
    _spec("parakeet-tdt-1.1b", "1.1 B parameters, TDT; lower case without punctuation"),
    _spec("parakeet-tdt-0.6b-v2", "0.6 B parameters, TDT; punctuation and capitals"),
    _spec("parakeet-tdt-0.6b-v3", "0.6 B parameters, TDT; 25 European languages", EUROPEAN),
    _spec("parakeet-tdt_ctc-110m", "110 M parameters, TDT and CTC; punctuation and capitals"),
    _spec("parakeet-tdt_ctc-1.1b", "1.1 B parameters, TDT and CTC, local attention; punctuation and capitals"),
)
