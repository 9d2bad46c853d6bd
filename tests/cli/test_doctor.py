"""``asrkit doctor``: what it finds, what it advises, and that nothing keeps it from finishing."""

from __future__ import annotations

import builtins
import hashlib
import importlib.metadata
import json
import sys
from base64 import urlsafe_b64encode
from pathlib import Path

import pytest

import asrkit.ffmpeg
from asrkit import __version__
from asrkit.cli import checks


@pytest.fixture(autouse=True)
def _no_ffmpeg(monkeypatch):
    monkeypatch.setattr(asrkit.ffmpeg, "find_ffmpeg", lambda: None)


@pytest.fixture
def doctor(call):
    """The exit code, and the findings by (section, name)."""

    def doctor():
        code, out, err = call("doctor", "--format", "json")
        assert err == ""
        report = json.loads(out)
        assert report["asrkit"] == __version__
        assert report["problems"] == sum(one["state"] == "problem" for one in report["findings"])
        assert code == bool(report["problems"])
        assert all(one["todo"] for one in report["findings"] if one["state"] != "ok")
        return code, {(one["section"], one["name"]): one for one in report["findings"]}

    return doctor


@pytest.fixture
def other(tmp_path, monkeypatch):
    """Installs a distribution: other(name, version, {path: (content on disk, content it brought)})."""

    def other(name, version, files=(), requires=()):
        info = tmp_path / f"{name.replace('-', '_')}-{version}.dist-info"
        info.mkdir()
        lines = [f"Requires-Dist: {line}\n" for line in requires]
        info.joinpath("METADATA").write_text(
            f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n{''.join(lines)}", "utf-8"
        )
        record = ""
        for path, (content, brought) in dict(files).items():
            (tmp_path / path).parent.mkdir(exist_ok=True)
            (tmp_path / path).write_bytes(content)
            digest = urlsafe_b64encode(hashlib.sha256(brought).digest()).rstrip(b"=").decode()
            record += f"{path},sha256={digest},{len(brought)}\n"
        info.joinpath("RECORD").write_text(record, "utf-8")
        monkeypatch.syspath_prepend(tmp_path)

    return other


def test_a_sound_installation(doctor, install, model, monkeypatch):
    monkeypatch.setattr(checks, "_distribution", sound)
    code, found = doctor()
    assert code == 0
    assert found["asrkit", "asrkit"]["text"] == f"{__version__}, {Path(asrkit.__file__).parent}"
    assert found["Backends", "numpy"]["state"] == "ok"
    assert found["Plugins", "fake"]["state"] == "ok"
    assert "libsndfile" in found["Libraries", "soundfile"]["text"]
    assert found["Audio", "ffmpeg"]["state"] == "advice"
    assert "pip install imageio-ffmpeg" in found["Audio", "ffmpeg"]["todo"]


def sound(name):
    """Of a distribution, as if asrkit-core were installed as it should be and nothing called asrkit were."""
    try:
        return None if name in ("asrkit", "asrkit-core") else importlib.metadata.distribution(name)
    except importlib.metadata.PackageNotFoundError:
        return None


def test_text(call, monkeypatch):
    monkeypatch.setenv("ASRKIT_MODLE", "x")
    _, out, err = call("doctor")
    assert err == ""
    lines = out.splitlines()
    assert lines[0] == "Python"
    line = next(line for line in lines if "ASRKIT_MODLE" in line)
    assert line.split(maxsplit=2)[0] == "advice"
    assert line.endswith("nothing reads this variable (did you mean 'ASRKIT_MODEL'?) -> correct or unset it")
    assert lines[-1].endswith("advice")


def test_the_other_asrkit(doctor, other):
    other("asrkit", "9.9")
    code, found = doctor()
    problem = found["asrkit", "asrkit (PyPI)"]
    assert (code, problem["state"]) == (1, "problem")
    assert problem["text"] == "the distribution 'asrkit' 9.9 is another project with the same import name"
    assert problem["todo"] == "pip uninstall asrkit, then pip install --force-reinstall asrkit-core"


def test_the_other_asrkit_has_overwritten_files(doctor, other):
    ours, theirs = b"ours", b"theirs"
    kept = {"asrkit/same.py": (ours, ours), "asrkit/ours.py": (ours, ours)}
    other("asrkit-core", __version__, {"asrkit/__init__.py": (theirs, ours), "asrkit/a.py": (theirs, ours), **kept})
    other("asrkit", "9.9", {"asrkit/__init__.py": (theirs, theirs), "asrkit/a.py": (theirs, theirs)})
    assert doctor()[1]["asrkit", "asrkit (PyPI)"]["text"].endswith("; it has overwritten asrkit/__init__.py and 1 more")


def test_another_version_than_runs(doctor, other):
    other("asrkit-core", "0.0.1")
    code, found = doctor()
    assert code == 1
    assert found["asrkit", "asrkit-core"]["text"] == f"is installed in version 0.0.1, but {asrkit.__version__} runs"


def test_broken_plugins_and_backends(doctor, install):
    install(
        fake={"register_backends": lambda register: register("quantum", "a:b", lambda: "needs a flux capacitor")},
        broken={"register_part": lambda register: None},
    )
    code, found = doctor()
    assert code == 1
    assert "PluginValidationError" in found["Plugins", "broken"]["text"]
    assert found["Backends", "quantum"]["text"] == "cannot run: needs a flux capacitor"
    assert found["Backends", "quantum"]["state"] == "advice"
    assert found["Plugins", "models"]["state"] == "advice"


def test_a_library_that_is_missing_or_broken(doctor, other, monkeypatch):
    other("asrkit-core", __version__, requires=["numpy>=2", "no-such-package>=1", "mlx; sys_platform == 'none'"])
    real = checks.importlib.import_module

    def import_module(name, *rest):
        if name == "numpy":
            raise ImportError("libfortran is gone")
        return real(name, *rest)

    monkeypatch.setattr(checks.importlib, "import_module", import_module)
    code, found = doctor()
    assert code == 1
    assert found["Libraries", "no-such-package"]["todo"] == "pip install no-such-package"
    assert found["Libraries", "numpy"]["text"].endswith("does not import: ImportError: libfortran is gone")
    assert found["Libraries", "numpy"]["todo"] == "pip install --force-reinstall numpy"
    assert found["Libraries", "mlx"]["state"] == "ok"


@pytest.mark.parametrize("section", list(checks.CHECKS))
def test_a_check_that_fails_does_not_stop_the_others(doctor, monkeypatch, section):
    def fail(ctx):
        raise RuntimeError("no such luck")
        yield

    monkeypatch.setitem(checks.CHECKS, section, fail)
    code, found = doctor()
    assert code == 1
    assert found[section, "check"]["text"] == "it failed: RuntimeError: no such luck"
    assert {one for one, _ in found} == set(checks.CHECKS)


def test_without_any_library_it_still_answers(doctor, monkeypatch):
    """What a broken environment looks like from inside: nothing heavy imports."""
    real = builtins.__import__

    def refuse(name, *rest):
        if name.split(".")[0] in ("numpy", "soundfile", "soxr", "platformdirs"):
            raise ImportError(f"{name} is broken")
        return real(name, *rest)

    for name in [name for name in sys.modules if name.startswith("asrkit.") and "cli" not in name]:
        if name.split(".")[1] in ("loading", "storage", "audio", "backends"):
            monkeypatch.delitem(sys.modules, name)
    monkeypatch.setattr(builtins, "__import__", refuse)
    code, found = doctor()
    assert code == 1
    assert found["Backends", "check"]["text"] == "it failed: ImportError: numpy is broken"
    assert ("Terminal", "stdout") in found


def test_cache(doctor, monkeypatch, tmp_path):
    folder = tmp_path / "cache" / "deep"
    monkeypatch.setenv("ASRKIT_CACHE", str(folder))
    assert doctor()[1]["Cache", "cache size"]["text"].startswith("0 bytes")
    assert not folder.exists(), "a look must not make it"
    (folder / "quantized").mkdir(parents=True)
    (folder / "quantized" / "one").write_bytes(b"x" * 2500)
    assert doctor()[1]["Cache", "cache size"]["text"].startswith("2.5 kB")
    assert [path.name for path in folder.iterdir()] == ["quantized"]


def test_cache_that_cannot_be_written(doctor, monkeypatch, tmp_path):
    file = tmp_path / "file"
    file.write_text("", "utf-8")
    monkeypatch.setenv("ASRKIT_CACHE", str(file))
    code, found = doctor()
    assert (code, found["Cache", "cache"]["state"]) == (1, "problem")
    assert found["Cache", "cache"]["text"].startswith(f"{file} cannot be written: ")
    assert "ASRKIT_CACHE" in found["Cache", "cache"]["todo"]


def test_cache_of_the_hub(doctor, monkeypatch, tmp_path):
    from huggingface_hub import constants

    (tmp_path / "blob").write_bytes(b"x" * 3000)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))
    found = doctor()[1]
    assert found["Cache", "hub cache"]["text"] == str(tmp_path)
    assert found["Cache", "hub cache size"]["text"].startswith("3.0 kB; ")
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "blob"))
    wrong = doctor()[1]["Cache", "hub cache"]
    assert wrong["state"] == "advice"
    assert wrong["text"].startswith(f"{tmp_path / 'blob'} cannot be written: ")
    assert "HF_HOME" in wrong["todo"]


def test_little_space(doctor, monkeypatch):
    monkeypatch.setattr(checks, "LITTLE_SPACE", 10**18)
    assert doctor()[1]["Cache", "free space"]["state"] == "advice"


def test_secrets_are_not_shown(call, monkeypatch):
    for name in ("HF_TOKEN", "HF_PASSWORD", "HUGGINGFACE_HUB_TOKEN"):
        monkeypatch.setenv(name, "hf_secret")
    monkeypatch.setenv("HF_ENDPOINT", "https://me:hf_secret@mirror.example/hf")
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    for args in ((), ("--format", "json")):
        out = call("doctor", *args)[1]
        assert "hf_secret" not in out
        assert "https://...@mirror.example/hf" in out
        assert "set; its value is not shown" in out
        assert "HF_HUB_OFFLINE" in out


def test_every_variable_of_an_option_is_known(doctor, monkeypatch):
    names = {"MODEL", "LANGUAGE", "BACKEND", "DEVICE", "THREADS", "PRECISION", "FORMAT", "OUTPUT_DIR", "BATCH_SIZE"}
    for name in names:
        monkeypatch.setenv(f"ASRKIT_{name}", "2")
    found = doctor()[1]
    assert {found["Environment", f"ASRKIT_{name}"]["state"] for name in names} == {"ok"}


def test_ffmpeg(doctor, monkeypatch, tmp_path):
    monkeypatch.setattr(asrkit.ffmpeg, "find_ffmpeg", lambda: sys.executable)
    # Python itself knows -version no better than other options, and says so with its exit code.
    assert doctor()[1]["Audio", "ffmpeg"]["state"] == "problem"
    monkeypatch.setattr(asrkit.ffmpeg, "find_ffmpeg", lambda: str(tmp_path / "gone"))
    assert doctor()[1]["Audio", "ffmpeg"]["state"] == "problem"

    class Done:
        stdout = b"ffmpeg version 7.1 Copyright (c) someone\nbuilt with x\n"

    monkeypatch.setattr(asrkit.ffmpeg, "find_ffmpeg", lambda: "/opt/ffmpeg")
    monkeypatch.setattr(checks.subprocess, "run", lambda *_, **__: Done())
    assert doctor()[1]["Audio", "ffmpeg"]["text"] == "/opt/ffmpeg: ffmpeg version 7.1"
