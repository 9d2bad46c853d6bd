"""NeMo's own transcripts of the held-out sets, for `parity.py` to compare asrkit's with.

python texts.py SETS_DIR MODEL.nemo --out TEXTS.json
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import nemo
from grammar import LANGUAGES
from nemo.utils import logging
from recognize import Nemo, load
from testsets import SETS


def main() -> None:
    """Transcribe and write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("sets", type=Path)
    parser.add_argument("model", type=Path)
    parser.add_argument("--only", nargs="+", choices=SETS, default=list(SETS))
    parser.add_argument("--limit", type=int, help="clips per set and language")
    parser.add_argument("--out", type=Path, required=True)
    arguments = parser.parse_args()
    logging.setLevel("ERROR")
    recognizer = Nemo(load(arguments.model))
    texts: dict[str, str] = {}
    for name in arguments.only:
        manifest = (arguments.sets / name / "manifest.jsonl").read_text(encoding="utf-8")
        rows = [json.loads(line) for line in manifest.splitlines()]
        for language in LANGUAGES:
            files = [f"{name}/{row['audio_filepath']}" for row in rows if row["source_lang"] == language]
            files = files[: arguments.limit]
            found = recognizer([arguments.sets / file for file in files], language, language, "pnc")
            texts |= {file: each.text for file, each in zip(files, found, strict=True)}
    report = {"versions": {"nemo": nemo.__version__}, "texts": texts}
    arguments.out.write_text(json.dumps(report, ensure_ascii=False, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
