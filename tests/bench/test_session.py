"""The order in which workers are asked, and what is made of their answers."""

from __future__ import annotations

from contextlib import contextmanager

import pytest

from asrkit.bench import session
from asrkit.bench.session import Plan, check_backends, choose_backends, measure
from asrkit.bench.table import render
from asrkit.errors import AsrkitError, BackendError, OptionError
from asrkit.interfaces import Capabilities


class Fake:
    """Starts workers that write down what happens to them. The nth run of a worker takes n seconds for each row."""

    def __init__(self, fails: str = "", tokens: int | None = 40) -> None:
        self.tokens = tokens
        self.log: list[str] = []
        self.folders: dict[str, list] = {}
        self.fails = fails

    @contextmanager
    def __call__(self, label, folder):
        self.log.append(f"start {label}")
        assert folder.is_dir()
        self.folders.setdefault(label, []).append(folder)
        try:
            yield FakeWorker(self, label)
        finally:
            self.log.append(f"end {label}")


class FakeWorker:
    def __init__(self, fake, label) -> None:
        self.fake, self.label, self.count = fake, label, 0

    def ask(self, message):
        if "rows" not in message:
            self.fake.log.append(f"load {self.label}")
            self.job = message
            seconds = 0.25 * len(self.fake.folders[self.label])
            loaded = {"load": seconds, "first": 2 * seconds, "peak_memory": 500, "seconds": message["seconds"]}
            loaded["tokens"] = message["tokens"] or self.fake.tokens
            return loaded | {"device": "cpu", "versions": {"abacus": "1.0"}, "notes": ["wooden"]}
        rows = message["rows"]
        self.fake.log.append(f"{rows} {self.label}")
        if self.label == self.fake.fails:
            raise AsrkitError("it broke")
        self.count += 1
        seconds = float(self.count * rows)
        stages = {"features": seconds / 4, "encoder": seconds / 4, "decoder": seconds / 2, "total": seconds}
        return stages | {"tokens": 7 * rows, "peak_memory": 1000 * self.count}


@pytest.fixture(autouse=True)
def _no_pause(monkeypatch):
    monkeypatch.setattr(session, "PAUSE", 0)


def test_order():
    fake = Fake()
    plan = Plan("m", ("a", "b"), ("x", "y"), batch_sizes=(1, 4), repeats=2, warm_up=1)
    measure(plan, "asrkit bench", fake)
    labels = [f"{backend} in {precision}" for backend in "ab" for precision in "xy"]
    loading = [
        line
        for label in labels
        for line in (f"start {label}", f"load {label}", f"end {label}", f"start {label}", f"load {label}")
    ]
    turn = [f"{rows} {label}" for label in labels for rows in (1, 4)]
    assert fake.log == [*loading, *turn * 3, *[f"end {label}" for label in reversed(labels)]]


def test_a_cache_for_each_configuration():
    fake = Fake()
    measure(Plan("m", ("a", "b")), "", fake)
    (cold, warm), (other, _) = fake.folders.values()
    assert cold == warm != other
    assert not cold.exists()


def test_figures():
    plan = Plan("m", ("a", "b"), batch_sizes=(2,), tokens=10, repeats=3, warm_up=2, seconds=30.0)
    told = []
    report = measure(plan, "asrkit bench -m m", Fake(), told.append)
    assert told == ["a in fp32: loading", "b in fp32: loading", "rounds: 2 to warm up, 3 that count"]
    assert report["command"] == "asrkit bench -m m"
    assert report["audio"] == {"file": None, "seconds": 30.0}
    first, second = report["configurations"]
    assert first | {"backend": "b"} == second
    assert (first["device"], first["versions"], first["notes"]) == ("cpu", {"abacus": "1.0"}, ["wooden"])
    assert first["cold"] == {"load": 0.25, "first": 0.5, "peak_memory": 500}
    assert first["warm"] == {"load": 0.5, "first": 1.0, "peak_memory": 500}
    assert first["peak_memory"] == 5000
    (batch,) = first["batches"]
    assert batch["total"] == {"median": 8.0, "quartiles": [7.0, 9.0], "range": [6.0, 10.0], "all": [6.0, 8.0, 10.0]}
    assert batch["ms_per_token"]["all"] == [300.0, 400.0, 500.0]
    assert batch["tokens_per_second"]["all"] == [6.66667, 5.0, 4.0]
    assert batch["times_real_time"]["all"] == [10.0, 7.5, 6.0]
    assert batch["ratio"] == 1.0


def test_ratio_is_per_recording():
    report = measure(Plan("m", ("a",), batch_sizes=(1, 8), repeats=1, warm_up=0), "", Fake())
    one, eight = report["configurations"][0]["batches"]
    assert (one["total"]["all"], eight["total"]["all"]) == ([1.0], [16.0])
    assert (one["ratio"], eight["ratio"]) == (1.0, 2.0)
    assert one["total"]["quartiles"] == [1.0, 1.0]


def test_without_a_forced_number_of_tokens():
    report = measure(Plan("m", ("a",), batch_sizes=(1, 8), repeats=1, warm_up=0), "", Fake(tokens=None))
    assert report["tokens"] is None
    (one, eight) = report["configurations"][0]["batches"]
    assert (one["tokens"], eight["tokens"]) == (7, 56)
    assert (eight["ms_per_token"], eight["tokens_per_second"]) == (None, None)
    *_, head, _, first, second = render(report).split("\n")
    assert [cell.strip() for cell in head.split("|")][6:9] == ["decoder", "end to end", "tokens"]
    assert [cell.strip() for cell in second.split("|")][6:9] == ["8000.0 ms ±0 %", "16000.0 ms ±0 %", "56"]
    assert "no tokens forced in each row" in render(report)
    assert "7" in [cell.strip() for cell in first.split("|")]


def test_a_failure_ends_all_workers():
    fake = Fake(fails="b in fp32")
    with pytest.raises(AsrkitError, match="it broke"):
        measure(Plan("m", ("a", "b", "c")), "", fake)
    assert fake.log[-5:] == ["1 a in fp32", "1 b in fp32", *[f"end {name} in fp32" for name in "cba"]]


def test_table():
    report = measure(Plan("m", ("a", "longer"), batch_sizes=(1, 2), repeats=3, seconds=30), "asrkit bench -m m", Fake())
    report["machine"] = {
        "processor": "Abacus 9",
        "cores": 4,
        "usable_cores": 2,
        "memory": 16 * 10**9,
        "system": "Linux",
        "python": "3.11",
        "numpy": "2.4",
        "environment": {"OMP_NUM_THREADS": "1"},
    }
    report["date"] = "today"
    report["configurations"][1]["peak_memory"] = None
    report["configurations"][0]["peak_memory"] = 123_456_789
    assert render(report).split("\n") == [
        "asrkit bench -m m",
        f"today, asrkit {report['asrkit']}, model m",
        "Abacus 9, 2 of 4 cores, 16.0 GB; Linux",
        "Python 3.11, numpy 2.4, abacus 1.0; threads: the backend's choice, OMP_NUM_THREADS=1",
        "30.0 s of noise, 40 tokens forced in each row; median of 3 runs ± half the interquartile range",
        "ratio: end to end time per recording, relative to the first row",
        "",
        "| backend | precision | load cold | load warm | first text cold | first text warm |  peak memory |",
        "| ------- | --------- | --------: | --------: | --------------: | --------------: | -----------: |",
        "| a       | fp32      |    0.25 s |    0.50 s |          0.50 s |          1.00 s |       123 MB |",
        "| longer  | fp32      |    0.25 s |    0.50 s |          0.50 s |          1.00 s | not measured |",
        "",
        "| backend | precision | batch |        features |         encoder |      per token |       end to end "
        "| tokens/s | x real time | ratio |",
        "| ------- | --------- | ----: | --------------: | --------------: | -------------: | ---------------: "
        "| -------: | ----------: | ----: |",
        "| a       | fp32      |     1 | 1750.0 ms ±14 % | 1750.0 ms ±14 % |  87.5 ms ±14 % |  7000.0 ms ±14 % "
        "|       11 |         4.3 |  1.00 |",
        "| a       | fp32      |     2 | 4000.0 ms ±12 % | 4000.0 ms ±12 % | 200.0 ms ±12 % | 16000.0 ms ±12 % "
        "|       10 |         3.8 |  1.14 |",
        "| longer  | fp32      |     1 | 1750.0 ms ±14 % | 1750.0 ms ±14 % |  87.5 ms ±14 % |  7000.0 ms ±14 % "
        "|       11 |         4.3 |  1.00 |",
        "| longer  | fp32      |     2 | 4000.0 ms ±12 % | 4000.0 ms ±12 % | 200.0 ms ±12 % | 16000.0 ms ±12 % "
        "|       10 |         3.8 |  1.14 |",
    ]


# Which backends


class Shy:
    name = "shy"
    capabilities = Capabilities("cpu", ("fp32",), rank=-1, notes=("for testing",))


class Bold:
    name = "bold"
    capabilities = Capabilities("cpu", ("fp32", "fp16"))

    def __init__(self, threads=None) -> None:
        pass


@pytest.fixture
def backends(install):
    """A registry with these, and numpy."""

    def register(register):
        register("bold", Bold, lambda: None)
        register("shy", Shy, lambda: None)
        register("elsewhere", "nowhere:Nothing", lambda: "needs a flux capacitor")

    made = install(fake={"register_backends": register}).registry
    made._entries["backend"].pop("mlx")
    return made


def test_default_backends(backends):
    told = []
    assert choose_backends(backends, None, told.append) == ("bold", "numpy")
    assert told == ["left out shy: for testing; --backend shy measures it nevertheless"]
    told.clear()
    assert choose_backends(backends, 2, told.append) == ("bold",)
    assert [line.split(":")[0] for line in told] == ["left out numpy", "left out shy"]
    for name in ("bold", "numpy"):
        backends._entries["backend"].pop(name)
    with pytest.raises(BackendError, match="no backend that can run here is left"):
        choose_backends(backends, None, told.append)


def test_combinations(backends):
    assert check_backends(backends, ["shy", "asrkit:numpy", "auto"], ["fp32"], None)[:2] == ("shy", "asrkit:numpy")
    with pytest.raises(OptionError, match="backend 'shy' has no precision 'fp16'; it has: fp32"):
        check_backends(backends, ["bold", "shy"], ["fp32", "fp16"], None)
    with pytest.raises(BackendError, match="needs a flux capacitor"):
        check_backends(backends, ["elsewhere"], ["fp32"], None)
    with pytest.raises(OptionError, match="'numpy' does not let threads be chosen"):
        check_backends(backends, ["bold", "numpy"], ["fp32"], 2)
