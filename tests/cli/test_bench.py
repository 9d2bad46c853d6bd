"""``asrkit bench`` with real processes and a small model with random weights."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

GUIDE = Path(__file__).parents[2] / "docs/guides/benchmarking.md"
SHORT = ("--backend", "numpy", "--seconds", "0.5", "--tokens", "3", "--repeats", "2", "--warm-up", "1")
STAGES = ("features", "encoder", "decoder", "total")
DERIVED = ("ms_per_token", "tokens_per_second", "times_real_time")


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory):
    write = pytest.importorskip("asrkit_canary.random_checkpoint").write_random_checkpoint
    return write(tmp_path_factory.mktemp("checkpoint") / "random.nemo")


@pytest.fixture
def refused(call, checkpoint):
    """Calls that never start a worker: (exit code, the error's line)."""

    def refused(*args):
        code, out, err = call("bench", "--model", checkpoint, *args)
        assert out == ""
        assert "loading" not in err
        assert "Traceback" not in err
        return code, err.splitlines()[-1]

    return refused


@pytest.fixture(scope="module")
def report(checkpoint):
    """The object of one call, made once."""
    code = "import sys; from asrkit.cli import main; main(sys.argv[1:])"
    args = ["bench", "-m", str(checkpoint), *SHORT, "--batch-size", "1", "--batch-size", "3", "--format", "json"]
    done = subprocess.run([sys.executable, "-c", code, *args], capture_output=True, text=True, check=True, timeout=120)
    assert done.stderr.splitlines() == [
        "asrkit: numpy in fp32: loading",
        "asrkit: rounds: 1 to warm up, 2 that count",
    ]
    report = json.loads(done.stdout)
    assert report["command"] == " ".join(["asrkit", *args])
    return report


def documented_keys(heading):
    section = re.search(
        rf"^### {heading}\n(.*?)(?=^##|\Z)", GUIDE.read_text(encoding="utf-8"), re.DOTALL | re.MULTILINE
    )
    assert section, f"no heading '### {heading}'"
    return re.findall(r"^\| `([\w-]+)`", section[1], re.MULTILINE)


def test_keys_are_documented(report):
    (configuration,) = report["configurations"]
    assert documented_keys("Report") == list(report)
    assert documented_keys("Machine") == list(report["machine"])
    assert documented_keys("Configuration") == list(configuration)
    for batch in configuration["batches"]:
        assert documented_keys("Batch") == list(batch)
        for name in (*STAGES, *DERIVED):
            assert documented_keys("Summary") == list(batch[name])


def test_report(report, checkpoint):
    assert report["model"] == str(checkpoint)
    assert report["audio"] == {"file": None, "seconds": 0.5}
    assert (report["tokens"], report["repeats"], report["warm_up"], report["threads"]) == (3, 2, 1, None)
    assert report["machine"]["processor"]
    assert report["machine"]["usable_cores"] <= report["machine"]["cores"]
    (configuration,) = report["configurations"]
    assert (configuration["backend"], configuration["precision"], configuration["device"]) == ("numpy", "fp32", "cpu")
    assert configuration["versions"] == {"numpy": np.__version__}
    for loaded in (configuration["cold"], configuration["warm"]):
        assert 0 < loaded["load"] < loaded["first"]
        assert loaded["peak_memory"] > 10e6
    assert configuration["peak_memory"] >= configuration["warm"]["peak_memory"]


def test_figures(report):
    (configuration,) = report["configurations"]
    assert [batch["batch_size"] for batch in configuration["batches"]] == [1, 3]
    assert configuration["batches"][0]["ratio"] == 1.0
    for batch in configuration["batches"]:
        rows = batch["batch_size"]
        for name in (*STAGES, *DERIVED):
            assert len(batch[name]["all"]) == 2
            assert batch[name]["median"] == pytest.approx(np.mean(batch[name]["all"]), rel=1e-4)
            assert batch[name]["range"] == sorted(batch[name]["all"])
        for n, decoder in enumerate(batch["decoder"]["all"]):
            assert batch["ms_per_token"]["all"][n] == pytest.approx(1000 * decoder / 3, rel=1e-4)
            assert batch["tokens_per_second"]["all"][n] == pytest.approx(rows * 3 / decoder, rel=1e-4)
            assert batch["times_real_time"]["all"][n] == pytest.approx(rows * 0.5 / batch["total"]["all"][n], rel=1e-4)


def test_table(call, checkpoint):
    code, out, err = call("bench", "-m", checkpoint, *SHORT, "--audio", Path("tests/data/synthetic-speech.wav"))
    assert code == 2
    assert err == "asrkit: error: --seconds is the length of the noise; it cannot be given together with --audio\n"
    assert out == ""
    code, out, err = call("bench", "-m", checkpoint, *SHORT)
    assert code == 0
    assert out.startswith("asrkit bench -m ")
    assert [line.split()[1:6] for line in out.splitlines() if line.startswith("| numpy")][1] == [
        "numpy",
        "|",
        "fp32",
        "|",
        "1",
    ]


def test_a_worker_that_fails(call, checkpoint):
    code, out, err = call("bench", "-m", checkpoint, "--backend", "numpy", "--audio", "no.wav")
    assert (code, out) == (1, "")
    assert err.splitlines()[-1] == "asrkit: error: no.wav: there is no such file"


def test_model_that_is_not_there(call):
    expected = (1, "", "asrkit: error: no.nemo: there is no such file or folder\n")
    assert call("bench", "-m", "no.nemo") == expected


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (("--backend", "numpy", "--precision", "fp99"), "backend 'numpy' has no precision 'fp99'; it has: fp32"),
        (("--backend", "nunpy"), "there is no backend 'nunpy' (did you mean 'numpy'?)"),
        (("--backend", "numpy", "--threads", "2"), "backend 'numpy' does not let threads be chosen"),
        (("--seconds", "nan"), "--seconds takes a number"),
    ],
    ids=["precision", "backend", "threads", "nan"],
)
def test_wrong_calls(refused, args, message):
    code, line = refused(*args)
    assert code == 2
    assert line.startswith(f"asrkit: error: {message}")


@pytest.mark.parametrize("args", [("--tokens", "0"), ("--repeats", "0"), ("--batch-size", "0"), ("--format", "xml")])
def test_calls_that_do_not_parse(refused, args):
    assert refused(*args)[0] == 2


def test_help_is_light():
    script = (
        "import sys\nfrom asrkit.cli import main\n"
        "try:\n    main(['bench', '--help'])\nexcept SystemExit:\n    pass\n"
        "assert 'numpy' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", script], check=True, capture_output=True, timeout=60)
