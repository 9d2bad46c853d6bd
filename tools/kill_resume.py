"""Kills a folder job again and again, finishes it, and compares with an undisturbed one.

python tools/kill_resume.py FOLDER --model canary-demo --kills 50

Each start goes on where the killed one was; when the job is done before all kills are spent, it begins anew, so that
every kill hits one that is at work. The outputs of each finished job must equal the undisturbed run's, except for what
took how long (`timing`). Options after `--` go to `asrkit run`.
"""

from __future__ import annotations

import argparse
import json
import random
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any


def start(asked: argparse.Namespace, out: Path) -> subprocess.Popen[bytes]:
    """The job, as a user would start it."""
    command = [sys.executable, "-m", "asrkit", "run", "--model", asked.model, "--recursive", "--format", "json"]
    command += ["--output-dir", str(out), *asked.options, str(asked.folder)]
    return subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)


def finish(asked: argparse.Namespace, out: Path) -> float:
    """Run the job to its end; the seconds it took."""
    begin = time.monotonic()
    process = start(asked, out)
    _, said = process.communicate()
    if process.returncode != 0:
        sys.exit(f"the job ended with {process.returncode}:\n{said.decode(errors='replace')}")
    return time.monotonic() - begin


def results(out: Path) -> dict[str, Any]:
    """The outputs without their timing, by path; whatever else lies in the folder is a mistake."""
    found = {}
    for path in sorted(out.rglob("*")):
        if path.is_file() and not path.name.startswith(".asrkit"):
            content = json.loads(path.read_text(encoding="utf-8"))
            for one in content:
                del one["timing"]
            found[path.relative_to(out).as_posix()] = content
    return found


def compare(expected: dict[str, Any], found: dict[str, Any], when: str) -> None:
    """End with a message unless both are equal."""
    if found != expected:
        differing = sorted(name for name in {*expected, *found} if expected.get(name) != found.get(name))
        sys.exit(f"{when}: {len(differing)} of {len(expected)} outputs differ: {', '.join(differing[:5])}")


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description="Kill a folder job at random moments and compare what comes out.")
    parser.add_argument("folder", type=Path, help="recordings")
    parser.add_argument("--model", required=True)
    parser.add_argument("--kills", type=int, default=50)
    parser.add_argument("--seed", type=int, default=0)
    split = sys.argv.index("--") if "--" in sys.argv else len(sys.argv)
    asked = parser.parse_args(sys.argv[1:split], argparse.Namespace(options=sys.argv[split + 1 :]))
    chance = random.Random(asked.seed)
    with tempfile.TemporaryDirectory() as place:
        whole = Path(place) / "whole"
        seconds = finish(asked, whole)
        expected = results(whole)
        print(f"{len(expected)} outputs, {seconds:.1f} s undisturbed", flush=True)
        kills = jobs = 0
        while kills < asked.kills:
            jobs += 1
            out = Path(place) / f"out-{jobs}"
            while kills < asked.kills:
                process = start(asked, out)
                try:
                    process.communicate(timeout=chance.uniform(0, seconds))
                except subprocess.TimeoutExpired:
                    process.kill()
                    process.communicate()
                    kills += 1
                    there = results(out)
                    compare({name: expected.get(name) for name in there}, there, f"after kill {kills}")
                    print(f"kill {kills}: {len(there)} of {len(expected)} outputs are there", flush=True)
                else:
                    break
            finish(asked, out)
            compare(expected, results(out), f"job {jobs}")
        print(f"{kills} kills in {jobs} jobs: every finished job equals the undisturbed one")


if __name__ == "__main__":
    main()
