"""Long recordings put together from held-out clips, and what asrkit makes of them.

    python long.py SETS_DIR MODEL --pauses mixed     # half an hour with pauses of all lengths, over noise
    python long.py SETS_DIR MODEL --pauses none      # minutes in which nobody ever pauses

Word errors are those of the long recording beside those of the same clips one by one. A sentence is lost if less than
half of its words were found, and doubled if it stands there more often than it was said.
"""

from __future__ import annotations

import argparse
import json
import statistics
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import jiwer
import numpy as np
import soundfile

import asrkit

RATE = 16000
PAUSES = (0.1, 0.3, 0.6, 1.0, 2.0, 4.0, 12.0)  # seconds
QUIET = (-75.0, -45.0)  # decibels of the noise in a pause
STRETCH = 60.0  # seconds of each recording without pauses
HEARD = 0.5  # seconds of a pause after which the start of speech counts


def clips(sets: Path, names: Sequence[str], language: str) -> list[dict[str, Any]]:
    """Rows of manifests, with their samples."""
    rows = []
    for name in names:
        for line in (sets / name / "manifest.jsonl").read_text(encoding="utf-8").splitlines():
            row = json.loads(line)
            if row["source_lang"] == language:
                row["samples"] = soundfile.read(sets / name / row["audio_filepath"], dtype="float32")[0]
                rows.append(row)
    return rows


def with_pauses(rows: list[dict[str, Any]], seconds: float, rng: np.random.Generator) -> tuple[np.ndarray, list[float]]:
    """A recording of clips and pauses, and where speech starts after a pause that can be heard."""
    parts, starts, length, used = [], [], 0, 0
    for row in rows:
        pause = float(rng.choice(PAUSES))
        noise = 10 ** (rng.uniform(*QUIET) / 20) * rng.standard_normal(round(pause * RATE)).astype(np.float32)
        length += len(noise)
        if pause + row["words"][0][0] >= HEARD:
            starts.append(length / RATE + row["words"][0][0])
            row["start"] = starts[-1]
        parts += [noise, row["samples"]]
        length += len(row["samples"])
        used += 1
        if length >= seconds * RATE:
            break
    del rows[used:]
    return np.concatenate(parts), starts


def without_pauses(rows: list[dict[str, Any]]) -> list[tuple[np.ndarray, list[dict[str, Any]]]]:
    """Recordings of a minute or more, each from the first word of a clip right on to the last of the next."""
    found, parts, group = [], [], []
    for row in rows:
        begin, end = round(row["words"][0][0] * RATE), round(row["words"][-1][1] * RATE)
        parts.append(row["samples"][begin:end])
        group.append(row)
        if sum(map(len, parts)) >= STRETCH * RATE:
            found.append((np.concatenate(parts), group))
            parts, group = [], []
    return found


def plain(text: str) -> str:
    """A text without capitals and punctuation."""
    return " ".join("".join(c for c in word if c.isalnum()) for word in text.casefold().split())


def sentences(rows: Sequence[dict[str, Any]]) -> Counter[str]:
    """The sentences that were said."""
    said = " ".join(row["text"] for row in rows)
    return Counter(plain(part) for part in said.replace("?", ".").replace("!", ".").split(".") if plain(part))


def lost_and_doubled(rows: Sequence[dict[str, Any]], text: str) -> tuple[int, int]:
    """How many sentences are missing, and how many stand there too often."""
    words, found = plain(" ".join(row["text"] for row in rows)), plain(text)
    hit: set[int] = set()
    for chunk in jiwer.process_words(words, found).alignments[0]:
        if chunk.type == "equal":
            hit |= set(range(chunk.ref_start_idx, chunk.ref_end_idx))
    lost, place = 0, 0
    for row in rows:
        for part in row["text"].replace("?", ".").replace("!", ".").split("."):
            count = len(plain(part).split())
            lost += bool(count) and 2 * sum(n in hit for n in range(place, place + count)) < count
            place += count
    said = sentences(rows)
    return lost, sum(max(f" {found} ".count(f" {one} ") - said[one], 0) for one in said if len(one.split()) > 2)


def start_errors(rows: Sequence[dict[str, Any]], segments: Sequence[asrkit.Segment]) -> list[float]:
    """For speech after a pause, how far the next segment that begins with its first word begins from it."""
    errors = []
    for row in rows:
        first = plain(row["text"]).split()[0]
        near = [abs(s.start - row["start"]) for s in segments if s.text and plain(s.text).split()[:1] == [first]]
        errors.append(min(near, default=float("inf")))
    return errors


def main() -> None:
    """Put together, transcribe, compare."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("sets", type=Path)
    parser.add_argument("model")
    parser.add_argument("--pauses", choices=["mixed", "none"], required=True)
    parser.add_argument("--language", default="en")
    parser.add_argument("--minutes", type=float, default=30.0)
    parser.add_argument("--backend", default="onnxruntime")
    parser.add_argument("--segmenter", default="pauses")
    parser.add_argument("--timestamps", default=None, choices=["segment", "word"])
    parser.add_argument("--max-segment", type=float, default=15.0, help="seconds; what the embedded model was made for")
    parser.add_argument("--overlap", type=float, help="seconds")
    parser.add_argument("--write", type=Path, help="a folder to write the recordings to")
    arguments = parser.parse_args()
    rng = np.random.default_rng(6)
    mixed = arguments.pauses == "mixed"
    names = ["sentences", "voices", "several"] if mixed else ["sentences", "voices"]
    rows = clips(arguments.sets, names, arguments.language)
    rng.shuffle(rows)
    if mixed:
        samples, _ = with_pauses(rows, 60 * arguments.minutes, rng)
        recordings = [(samples, rows)]
    else:
        recordings = without_pauses(rows)
        rows = [row for _, group in recordings for row in group]
    model = asrkit.load_model(arguments.model, arguments.backend)
    alone = model.transcribe([(row["samples"], RATE) for row in rows], language=arguments.language)
    options = {"segmenter": arguments.segmenter, "timestamps": arguments.timestamps}
    if arguments.overlap is not None:
        options["overlap"] = arguments.overlap
    if arguments.segmenter != "whole":
        options["max_segment"] = arguments.max_segment
    found = model.transcribe([(samples, RATE) for samples, _ in recordings], language=arguments.language, **options)
    truth = [row["text"] for row in rows]
    one = jiwer.wer(truth, [transcript.text for transcript in alone])
    long = jiwer.wer([" ".join(row["text"] for row in group) for _, group in recordings], [t.text for t in found])
    lost, doubled = map(
        sum, zip(*(lost_and_doubled(g, t.text) for (_, g), t in zip(recordings, found, strict=True)), strict=True)
    )
    seconds = sum(len(samples) for samples, _ in recordings) / RATE
    print(f"{len(recordings)} recordings, {seconds / 60:.1f} minutes, {sum(map(len, truth))} letters")
    print(
        f"word errors: {one:.2%} one by one, {long:.2%} long; sentences: {sum(sentences(rows).values())} said, ", end=""
    )
    print(f"{lost} lost, {doubled} doubled")
    times = [[time for s in t.segments for time in (s.start, s.end)] for t in found]
    inside = all(0 <= time <= t.duration for t, row in zip(found, times, strict=True) for time in row)
    print(f"times: {'monotone' if all(row == sorted(row) for row in times) else 'BACKWARDS'}, ", end="")
    print("inside" if inside else "OUTSIDE")
    if mixed:
        errors = start_errors([row for row in rows if "start" in row], found[0].segments)
        print(f"starts of speech after a pause: median error {statistics.median(errors):.3f} s of {len(errors)}")
    print("warnings:", dict(Counter(w.code for t in found for w in t.warnings)))
    if arguments.write is not None:
        arguments.write.mkdir(exist_ok=True)
        for number, (samples, group) in enumerate(recordings):
            soundfile.write(arguments.write / f"{arguments.pauses}-{number}.flac", samples, RATE)
            text = " ".join(row["text"] for row in group)
            (arguments.write / f"{arguments.pauses}-{number}.txt").write_text(text + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
