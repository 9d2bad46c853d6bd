"""The aligner in an archive like canary-1b-v2's: NeMo's numbers and times, and what is refused."""

from __future__ import annotations

import copy
import json

import numpy as np
import pytest
import soundfile

from asrkit.checkpoints.directory import write_directory
from asrkit.cli import main
from asrkit.errors import CheckpointError, OptionError, WeightsError
from asrkit.loading import load_model, open_checkpoint
from asrkit.plugins import registry
from asrkit.testing import check_aligner
from asrkit.transcriber import Model
from asrkit_canary.aligner import auxiliary_files, build_aligner
from asrkit_canary.build import build
from conftest import BACKENDS, built, model_of, read_golden, samples

GOLDEN = read_golden("canary2-unified")
STATES = 1e-4
UNALIGNED = ("c100", "The dog, and the key."), ("c100", "la. el! ¿Qué? ..."), ("c100", "a b c d e f g h i j k l")
"""Texts of more tokens than frames."""


@pytest.fixture
def aligner(label):
    return built(GOLDEN.name, label).aligner()


def test_log_probabilities_equal_nemo(aligner, clips):
    names = [key.removesuffix(".ctc") for key in GOLDEN.arrays if key.endswith(".ctc")]
    assert len(names) == 3
    alone = [aligner.log_probabilities([samples(clips[name])])[0] for name in names]
    together = aligner.log_probabilities([samples(clips[name]) for name in names])
    for rows in (alone, together):
        for name, row in zip(names, rows, strict=True):
            expected = GOLDEN.arrays[f"{name}.ctc"]
            assert row.shape == expected.shape
            assert float(np.abs(row - expected).max()) <= STATES


def test_words_of_given_texts_have_the_times_of_nemo(aligner, clips):
    records = GOLDEN.facts["alignments"]
    assert len(records) == 18
    found = aligner([samples(clips[record["clip"]]) for record in records], [record["text"] for record in records])
    for record, words in zip(records, found, strict=True):
        # NeMo's last frame may end behind the recording; times lie inside it here.
        seconds = len(clips[record["clip"]]) / 16000
        assert [(word.text, word.start, word.end) for word in words] == [
            (word["word"], pytest.approx(word["start"]), pytest.approx(min(word["end"], seconds)))
            for word in record["timestamps"]["word"]
        ]
        assert bool(words) == ((record["clip"], record["text"]) not in UNALIGNED)


def test_it_keeps_to_the_interface(aligner):
    check_aligner(aligner, texts=["the dog, the key.", "日本 x", "\u2047 a\u2047b", "no room " * 40])


def test_transcripts_have_the_times_of_nemo(label, clips):
    model, compared = model_of(GOLDEN.name, label), []
    for record in GOLDEN.facts["transcripts"]:
        if record["settings"] != {"timestamp": "yes"}:
            continue
        result = model.transcribe((clips[record["clip"]], 16000), language="en", timestamps="word", guards=False)
        assert list(result.tokens) == record["ids"]
        words = [word for segment in result.segments for word in segment.words]
        assert " ".join(word.text for word in words) == result.text
        expected = record["timestamps"]["word"]
        # NeMo gives -1, or nothing, where the text has no place in the frames: here it lies evenly, which is told.
        placed = bool(expected) and all(word["start"] >= 0 for word in expected)
        codes = [notice.code for notice in result.warnings]
        assert ("times-estimated" in codes) != placed
        if not placed:
            assert words[-1].end == pytest.approx(result.duration)
        elif "<|" not in record["text"]:
            # NeMo counts from the zeros that it puts before a short clip.
            lead = GOLDEN.facts["clips"][record["clip"]]["left_zeros"] / 16000
            times = [[max(word[key] - lead, 0.0) for key in ("start", "end")] for word in expected]
            assert [[w.start, w.end] for w in words] == [
                [pytest.approx(start), pytest.approx(min(end, result.duration))] for start, end in times
            ]
            compared.append(record["clip"])
    assert sorted(compared) == ["c043", "c337"]


def test_the_dialect_leaves_the_times_to_the_aligner(clips):
    model = model_of(GOLDEN.name, "numpy")
    options, _ = model.parts.dialect.resolve({"language": "en"})
    assert model.parts.dialect.timed(options) == options
    with pytest.raises(OptionError, match="ask for timestamps 'word', which its aligner gives"):
        model.parts.dialect.resolve({"timestamp": True})
    with pytest.raises(OptionError, match="the words that are spoken, not those of a translation"):
        model.transcribe((clips["c337"], 16000), language="en", target_language="de", timestamps="word")


class Counted:
    """The archive, in which it is seen what is opened, and other things lie where they are put."""

    def __init__(self, change=None):
        self._real = open_checkpoint(registry(), GOLDEN.path)
        self.path, self.config = "model.nemo", self._real.config
        self.tensors, self.files, self.file = self._real.tensors, self._real.files, self._real.file
        self.opened, self.change = [], change

    def open_model(self, prefix):
        self.opened.append(prefix)
        config, tensors = self._real.open_model(prefix)
        config, tensors = copy.deepcopy(dict(config)), dict(tensors)
        if self.change:
            self.change(config, tensors)
        return config, tensors


def test_its_weights_are_read_when_words_are_asked_for(clips):
    checkpoint = Counted()
    parts = build(checkpoint, BACKENDS["numpy"], "fp32")
    model, clip = Model("m", parts, BACKENDS["numpy"], "fp32", registry()), (clips["c337"], 16000)
    model.transcribe(clip, language="en")
    assert checkpoint.opened == []
    for _ in range(2):
        model.transcribe(clip, language="en", timestamps="word")
    assert checkpoint.opened == ["timestamps_asr_"]
    assert parts.extras["aligner"] == ("timestamps_asr_model_config.yaml", "timestamps_asr_model_weights.ckpt")


@pytest.mark.parametrize(
    ("change", "error", "text"),
    [
        (lambda c, t: t.pop("encoder.layers.0.norm_out.bias"), WeightsError, "missing encoder.layers.0.norm_out.bias"),
        (lambda c, t: t.update(more=np.zeros(3)), WeightsError, r"not used by the model: more \(3\)"),
        (lambda c, t: t.pop("decoder.decoder_layers.0.weight"), WeightsError, "no tensor 'decoder.decoder_layers.0.we"),
        (lambda c, t: c["tokenizer"].update(type="agg"), CheckpointError, "'agg' at 'tokenizer.type'"),
        (
            lambda c, t: c["preprocessor"].update(sample_rate=8000, window_size=0.05),
            CheckpointError,
            "16000 Hz, which the model takes",
        ),
        (lambda c, t: c.pop("tokenizer"), CheckpointError, "nothing at 'tokenizer'"),
        (lambda c, t: c["encoder"].update(feat_in=80), CheckpointError, "its aligner"),
    ],
)
def test_a_broken_aligner_is_told_by_name(change, error, text):
    with pytest.raises(error, match=text) as caught:
        build_aligner(Counted(change), BACKENDS["numpy"], "fp32", "zeros", 16000)
    assert str(caught.value).startswith("model.nemo, its aligner: ")


def test_its_vocabulary_fits_its_decoder():
    def other(config, tensors):
        config["tokenizer"]["model_path"] = Counted().config["tokenizer"]["model_path"]

    with pytest.raises(CheckpointError, match=r"73 classes, its tokenizer \d+ tokens; a blank makes \d+"):
        build_aligner(Counted(other), BACKENDS["numpy"], "fp32", "zeros", 16000)


def test_a_checkpoint_that_opens_one_model_only():
    checkpoint = Counted()
    checkpoint.open_model = None
    with pytest.raises(CheckpointError, match=r"opens no second model; take the \.nemo file"):
        build_aligner(checkpoint, BACKENDS["numpy"], "fp32", "zeros", 16000)


def test_others_have_none():
    assert built("canary2-agg", "numpy").aligner is None
    assert auxiliary_files(open_checkpoint(registry(), read_golden("canary2-agg").path)) == ()


@pytest.mark.parametrize("precision", ["int8", "int4"])
def test_in_few_bits_words_lie_about_where_they_did(precision, clips):
    exact = built(GOLDEN.name, "numpy").aligner()
    rough = built(GOLDEN.name, "numpy", precision=precision).aligner()
    clip = [samples(clips["c337"])]
    (one,), (other,) = exact.log_probabilities(clip), rough.log_probabilities(clip)
    assert 0 < np.abs(one - other).max() < 0.5
    (known,), (found,) = exact(clip, ["the dog"]), rough(clip, ["the dog"])
    assert [word.text for word in found] == [word.text for word in known]


def test_from_the_command_line_and_from_a_folder(tmp_path, clips, capsys):
    def call(*args):
        code = 0
        try:
            main([str(arg) for arg in args])
        except SystemExit as leave:
            code = leave.code or 0
        return (code, *capsys.readouterr())

    soundfile.write(tmp_path / "talk.wav", clips["c337"], 16000)
    folder = write_directory(open_checkpoint(registry(), GOLDEN.path), tmp_path / "model").path
    results = []
    for model in (GOLDEN.path, folder):
        given = ["run", "--model", model, "--backend", "numpy", "--language", "en", "--timestamps", "word"]
        code, out, err = call(*given, "--format", "json", tmp_path / "talk.wav")
        assert code == 0, err
        results.append(json.loads(out)[0]["segments"])
    assert results[0] == results[1]
    assert sum(len(segment["words"]) for segment in results[0]) >= 3
    code, out, err = call(*given, "--target-language", "de", tmp_path / "talk.wav")
    assert (code, out) == (2, "")
    assert "not those of a translation" in err
    assert load_model(folder, backend="numpy").parts.aligner is not None
