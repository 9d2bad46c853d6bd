"""asrkit's transcripts beside NeMo's, clip by clip, on each backend.

python parity.py SETS_DIR MODEL.nemo TEXTS.json --backend numpy --backend onnxruntime
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

import asrkit


def main() -> None:
    """Compare and print; exit code 1 if an fp32 text differs."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("sets", type=Path)
    parser.add_argument("model")
    parser.add_argument("texts", type=Path, help="what texts.py wrote")
    parser.add_argument("--backend", action="append", required=True)
    parser.add_argument("--precision", default="fp32")
    parser.add_argument("--limit", type=int, help="clips of each set and language")
    arguments = parser.parse_args()
    expected: dict[str, str] = json.loads(arguments.texts.read_text(encoding="utf-8"))["texts"]
    groups: dict[tuple[str, str], list[str]] = {}
    for file in expected:
        name, clip = file.split("/")
        groups.setdefault((name, clip[:2]), []).append(file)
    failed = False
    for backend in arguments.backend:
        model = asrkit.load_model(arguments.model, backend, arguments.precision)
        differences, clips = [], 0
        for (_, language), files in groups.items():
            chosen = files[: arguments.limit]
            files_ = [arguments.sets / file for file in chosen]
            found = model.transcribe(files_, language=language, batch_size=8, guards=False)
            clips += len(chosen)
            differences += [
                (file, expected[file], transcript.text)
                for file, transcript in zip(chosen, found, strict=True)
                if transcript.text != expected[file]
            ]
        print(f"{backend} {arguments.precision}: {clips - len(differences)} of {clips} texts equal NeMo's", flush=True)
        for file, nemo, ours in differences[:10]:
            print(f"  {file}: NeMo {nemo!r}, asrkit {ours!r}")
        failed |= bool(differences) and arguments.precision == "fp32"
    sys.exit(failed)


if __name__ == "__main__":
    main()
