"""Word error rates and the rest on the sets of `testsets.py`.

python evaluate.py SETS_DIR MODEL.nemo --out FIGURES.json              # by NeMo's transcribe()
python evaluate.py SETS_DIR WORK/a.pt --work WORK --greedy --limit 25  # by a short loop, on a part
"""

from __future__ import annotations

import argparse
import hashlib
import json
import statistics
from collections.abc import Callable
from pathlib import Path

import nemo
import torch
from grammar import LANGUAGES, plain
from nemo.utils import logging
from recognize import Greedy, Nemo, Recognized, load
from testsets import SETS

Recognizer = Callable[[list[Path], str, str, str], list[Recognized]]
Figures = dict[str, object]


def distance(reference: list[str], found: list[str]) -> int:
    """The least number of words to replace, insert or delete."""
    row = list(range(len(found) + 1))
    for place, word in enumerate(reference, 1):
        previous, row[0] = row[0], place
        for index, other in enumerate(found, 1):
            previous, row[index] = row[index], min(row[index] + 1, row[index - 1] + 1, previous + (word != other))
    return row[-1]


def errors(references: list[str], found: list[Recognized]) -> Figures:
    """Errors, words and clips exactly right."""
    pairs = list(zip(references, (each.text for each in found), strict=True))
    return {
        "errors": sum(distance(reference.split(), text.split()) for reference, text in pairs),
        "words": sum(len(reference.split()) for reference, _ in pairs),
        "exact": sum(reference == text for reference, text in pairs),
        "clips": len(pairs),
    }


def timing(rows: list[dict], found: list[Recognized]) -> Figures:
    """Start and end errors of the words of clips whose text is exactly right."""
    right = [
        (row["words"], each.words)
        for row, each in zip(rows, found, strict=True)
        if row["text"] == each.text and len(row["words"]) == len(each.words)
    ]
    figures: Figures = {"exact": len(right), "clips": len(rows)}
    for side, name in enumerate(("start", "end")):
        gaps = sorted(abs(a[side] - b[side]) for words, spans in right for a, b in zip(words, spans, strict=True))
        if gaps:
            figures["words"] = len(gaps)
            figures[name] = [round(statistics.median(gaps), 3), round(gaps[int(0.95 * len(gaps))], 3)]
    return figures


def language_figures(recognizer: Recognizer, rows: list[dict], folder: Path, *, brief: bool) -> Figures:
    """Everything about the clips of one language."""
    files = [folder / row["audio_filepath"] for row in rows]
    source = rows[0]["source_lang"]
    texts = [row["text"] for row in rows]
    found = recognizer(files, source, source, "pnc")
    if not any(texts):
        kept = [each.text for each in found if each.text]
        return {"empty": len(found) - len(kept), "clips": len(found), "not_empty": kept}
    figures: Figures = {"pnc": errors(texts, found)}
    figures["by_voice"] = by_voice(rows, found)
    figures["wrong"] = [(a, b.text) for a, b in zip(texts, found, strict=True) if a != b.text]
    if brief:
        return figures
    small = recognizer(files, source, source, "nopnc")
    figures["nopnc"] = errors([plain(text) for text in texts], small)
    figures["nopnc"]["clean"] = sum(each.text == plain(each.text) for each in small)
    figures["timed"] = timing(rows, recognizer(files, source, source, "timed"))
    for target in LANGUAGES[1:] if source == "en" else ("en",):
        translated = recognizer(files, source, target, "pnc")
        figures[f"to_{target}"] = errors([row["texts"][target] for row in rows], translated)
    return figures


def by_voice(rows: list[dict], found: list[Recognized]) -> dict[str, tuple[int, int]]:
    """Errors and words of each voice."""
    table: dict[str, tuple[int, int]] = {}
    for row, each in zip(rows, found, strict=True):
        errors_, words = table.get(row["voice"], (0, 0))
        reference = row["text"].split()
        table[row["voice"]] = errors_ + distance(reference, each.text.split()), words + len(reference)
    return table


def table(figures: dict[str, dict[str, Figures]]) -> str:
    """The figures as lines of text."""
    lines = []
    for name, languages in figures.items():
        for language, found in languages.items():
            for kind, part in found.items():
                if isinstance(part, dict) and "errors" in part:
                    rate = 100 * part["errors"] / part["words"]
                    clean = f", {part['clean']} clean" if "clean" in part else ""
                    counts = f"{part['errors']}/{part['words']} words, {part['exact']}/{part['clips']} exact"
                    lines.append(f"{name:12} {language} {kind:6} {rate:6.2f} %  {counts}{clean}")
                elif kind == "timed":
                    lines.append(f"{name:12} {language} timed  {part}")
            if "empty" in found:
                lines.append(f"{name:12} {language} empty  {found['empty']}/{found['clips']} {found['not_empty'][:3]}")
    return "\n".join(lines)


def main() -> None:
    """Evaluate and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("sets", type=Path)
    parser.add_argument("model", type=Path)
    parser.add_argument("--work", type=Path, help="the vocabulary's place, for a checkpoint")
    parser.add_argument("--greedy", action="store_true", help="the short loop instead of NeMo's transcribe()")
    parser.add_argument("--only", nargs="+", choices=SETS, default=list(SETS))
    parser.add_argument("--limit", type=int, help="clips per set and language")
    parser.add_argument("--brief", action="store_true", help="only transcripts with punctuation")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--out", type=Path)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    logging.setLevel("ERROR")
    model = load(arguments.model, arguments.work)
    recognizer: Recognizer = Greedy(model) if arguments.greedy else Nemo(model)
    figures: dict[str, dict[str, Figures]] = {}
    for name in arguments.only:
        folder = arguments.sets / name
        rows = [json.loads(line) for line in (folder / "manifest.jsonl").read_text(encoding="utf-8").splitlines()]
        for language in LANGUAGES:
            chosen = [row for row in rows if row["source_lang"] == language][: arguments.limit]
            found = language_figures(recognizer, chosen, folder, brief=arguments.brief)
            figures.setdefault(name, {})[language] = found
            print(table({name: {language: found}}), flush=True)
    if arguments.out:
        digest = hashlib.sha256(arguments.model.read_bytes()).hexdigest()
        report = {
            "model": arguments.model.name,
            "sha256": digest,
            "recognizer": "greedy" if arguments.greedy else "NeMo transcribe",
            "versions": {"nemo": nemo.__version__, "torch": torch.__version__},
            "figures": figures,
        }
        arguments.out.write_text(json.dumps(report, ensure_ascii=False, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
