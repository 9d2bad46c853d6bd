"""Held-out clips as sound files with NeMo manifests, and sample clips to ship.

    python testsets.py OUT_DIR              # sentences, voices, several, noise, other_noise
    python testsets.py OUT_DIR --samples    # a few clean clips per language

Sentences are held out from training throughout. A row holds the usual fields of a NeMo manifest and, beyond them,
`texts` (the text in every language), `words` (start and end in seconds) and `voice`.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import grammar
import noise
import soundfile
import voices
from clips import MIXTURES, Clip, Studio
from synthesizer import RATE

SEED = 90_000
PER_LANGUAGE = 100
KNOWN = replace(MIXTURES["second"], held_out=True, several=0.0, empty=0.0)
CLEAN = replace(KNOWN, variants=voices.PLAIN, noisy=0.0, reverberated=0.0, rates=(160, 190), pitches=(35, 60))


def sentences(studio: Studio, language: str) -> Iterator[Clip]:
    """One sentence a clip."""
    for _ in range(PER_LANGUAGE):
        yield studio.spoken(language, 1)


def several(studio: Studio, language: str) -> Iterator[Clip]:
    """Two to six sentences a clip."""
    for number in range(PER_LANGUAGE):
        yield studio.spoken(language, 2 + number % 5)


def empty(studio: Studio, language: str) -> Iterator[Clip]:
    """Noise."""
    for _ in range(PER_LANGUAGE // 2):
        yield studio.empty(language)


def samples(studio: Studio, language: str) -> Iterator[Clip]:
    """Six clips: four of one sentence, then two and four sentences."""
    for count in (1, 1, 1, 1, 2, 4):
        yield studio.spoken(language, count)


SETS = {
    "sentences": (KNOWN, sentences),
    "voices": (replace(KNOWN, variants=voices.HELD_OUT), sentences),
    "several": (KNOWN, several),
    "noise": (KNOWN, empty),
    "other_noise": (replace(KNOWN, generators=noise.HELD_OUT), empty),
}


def write(clips: Iterator[Clip], folder: Path, name: str) -> list[dict[str, object]]:
    """Write the clips as FLAC; returns their rows."""
    rows = []
    for number, clip in enumerate(clips):
        file = folder / f"{name}-{number:03d}.flac"
        soundfile.write(file, clip.samples, RATE, subtype="PCM_16")
        rows.append(
            {
                "audio_filepath": file.name,
                "duration": round(len(clip.samples) / RATE, 3),
                "text": clip.texts[clip.language],
                "source_lang": clip.language,
                "target_lang": clip.language,
                "texts": clip.texts,
                "words": [[round(time, 3) for time in span] for span in clip.words],
                "voice": clip.voice,
            }
        )
    return rows


def write_manifest(rows: list[dict[str, object]], file: Path) -> None:
    """One JSON object a line."""
    lines = [json.dumps(row, ensure_ascii=False) for row in rows]
    file.write_text("\n".join(lines) + "\n", encoding="utf-8")


def main() -> None:
    """Write the sets."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=Path)
    parser.add_argument("--samples", action="store_true")
    arguments = parser.parse_args()
    wanted = {"samples": (CLEAN, samples)} if arguments.samples else SETS
    for index, (name, (mixture, make)) in enumerate(wanted.items()):
        folder = arguments.out if arguments.samples else arguments.out / name
        folder.mkdir(parents=True, exist_ok=True)
        rows = []
        for place, language in enumerate(grammar.LANGUAGES):
            studio = Studio(mixture, SEED + 100 * index + place)
            rows += write(make(studio, language), folder, language)
        write_manifest(rows, folder / "manifest.jsonl")
        print(f"{name}: {len(rows)} clips", flush=True)


if __name__ == "__main__":
    main()
