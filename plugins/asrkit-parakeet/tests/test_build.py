"""What a checkpoint's configuration and tensors may say, what is chosen, and what is refused by name."""

from __future__ import annotations

import copy

import numpy as np
import pytest
from parakeet_goldens import BACKENDS, CASES, GOLDENS, built, model_of, read_clips

from asrkit.errors import CheckpointError, OptionError, WeightsError
from asrkit.loading import open_checkpoint
from asrkit.plugins import registry
from asrkit.testing import check_encoder, check_model
from asrkit.transcriber import Model
from asrkit_parakeet.build import LONGEST, Settings, build
from asrkit_parakeet.specs import SPECS

NUMPY = BACKENDS["numpy"]


class Changed:
    """A checkpoint with other configuration or tensors; None takes away."""

    def __init__(self, name, config=None, tensors=None, files=None):
        self._real = open_checkpoint(registry(), GOLDENS / name / "model.nemo")
        self.path = "model.nemo"
        self.config = copy.deepcopy(dict(self._real.config))
        for key, value in (config or {}).items():
            *sections, last = key.split(".")
            section = self.config
            for one in sections:
                section = section[one]
            section[last] = value
        self._tensors = {**self._real.tensors(), **(tensors or {})}
        for one in [one for one, value in self._tensors.items() if value is None]:
            del self._tensors[one]
        self.files = self._real.files if files is None else lambda: files
        self.file = self._real.file

    def tensors(self):
        return self._tensors


def refused(error, message, name, config=None, tensors=None, decoder=None):
    with pytest.raises(error, match=message):
        build(Changed(name, config, tensors), NUMPY, "fp32", None, Settings(decoder))


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("encoder.att_context_style", "chunked_limited"),
        ("encoder.att_context_style", "chunked_limited_with_rc"),
        ("encoder.causal_downsampling", True),
        ("encoder.conv_context_size", "causal"),
        ("encoder.conv_norm_type", "layer_norm"),
    ],
)
def test_streaming_models_are_refused_by_name(key, value):
    refused(CheckpointError, f"^model.nemo: is a streaming model, by its {key}; asrkit runs only", "rnnt", {key: value})


def test_prompted_models_are_refused_by_name():
    tensors = {"prompt_kernel.0.weight": np.zeros((2, 2), np.float32)}
    refused(CheckpointError, "is a streaming model, by its prompt_kernel", "rnnt", {}, tensors)


@pytest.mark.parametrize(
    ("name", "decoder", "message"),
    [
        ("ctc", "tdt", "has no decoder 'tdt'; it has: ctc$"),
        ("rnnt", "tdt", "has no decoder 'tdt'; it has: rnnt$"),
        ("tdt", "ctc", "has no decoder 'ctc'; it has: tdt$"),
        ("tdt_ctc", "rnnt", "has no decoder 'rnnt'; it has: ctc, tdt$"),
    ],
)
def test_a_decoder_that_is_not_there(name, decoder, message):
    refused(OptionError, message, name, decoder=decoder)


@pytest.mark.parametrize(("name", "decoder"), [*CASES, ("tdt_ctc", None), ("ctc", None)])
def test_a_decoder_that_is_there(name, decoder):
    parts = build(Changed(name), NUMPY, "fp32", None, Settings(decoder))
    wanted = decoder or name.partition("_")[0]
    assert parts.strategy == ("ctc-greedy" if wanted == "ctc" else "transducer-greedy")
    assert getattr(parts.decoder, "durations", None) == {"ctc": None, "rnnt": (1,), "tdt": (0, 1, 2, 3, 4)}[wanted]


@pytest.mark.parametrize(
    ("name", "config", "tensors", "message"),
    [
        ("tdt", {"decoder.blank_as_pad": False}, {}, "has False at 'decoder.blank_as_pad', asrkit can run True"),
        ("tdt", {"joint.jointnet.activation": "gelu"}, {}, "'joint.jointnet.activation', asrkit can run 'relu' or"),
        ("tdt", {"decoding.durations": [0, 1, 2, 3]}, {}, "at 'model_defaults.tdt_durations', asrkit can run several"),
        ("tdt", {"decoding.durations": None, "model_defaults.tdt_durations": [0, 1, 2]}, {}, "num_extra_outputs"),
        (
            "tdt",
            {"decoding.durations": None, "model_defaults.tdt_durations": [0, 1, 2], "joint.num_extra_outputs": None},
            {},
            "its joint network has 78 outputs, asrkit can run 76: one for each of 73 classes, blank included, and for",
        ),
        ("tdt", {"model_defaults.tdt_durations": [0, "1"]}, {}, "asrkit can run a list of whole numbers from 0 on"),
        ("rnnt", {"encoder.feat_in": 128}, {}, "'encoder.feat_in'|feat_in"),
        ("tdt", {"encoder.use_bias": True}, {}, "has True at 'encoder.use_bias', asrkit can run False"),
        ("tdt_ctc", {"encoder.att_context_size": [4]}, {}, "'encoder.att_context_size', asrkit can run one pair"),
        ("ctc", {}, {"decoder.decoder_layers.0.weight": None, "decoder.decoder_layers.0.bias": None}, "holds neither"),
    ],
)
def test_contradictions(name, config, tensors, message):
    refused(CheckpointError, message, name, config, tensors)


def test_tensors_are_accounted_for():
    refused(WeightsError, "not used by the model: decoder.extra", "ctc", {}, {"decoder.extra": np.zeros(3, np.float32)})
    refused(WeightsError, "missing joint.enc.bias", "rnnt", {}, {"joint.enc.bias": None})
    refused(WeightsError, "weight_hh_l1", "rnnt", {}, {"decoder.prediction.dec_rnn.lstm.weight_hh_l1": None})
    # Of a hybrid the other decoder is left alone, nothing else is.
    extra = {"joint.extra": np.zeros(3, np.float32), "extra": np.zeros(3, np.float32)}
    refused(WeightsError, r"not used by the model: extra \(3\)$", "tdt_ctc", {}, extra, "ctc")


def test_vocabularies_that_do_not_fit():
    files = ()  # then the configuration's list counts
    config = {"decoder.vocabulary": ["a", "b"]}
    with pytest.raises(CheckpointError, match="the decoder has 73 classes, which is 2 tokens and a blank"):
        build(Changed("ctc", config, files=files), NUMPY, "fp32")


def test_a_section_without_its_tensors_means_nothing():
    """The published 0.6B TDT models have one."""
    config = {"aux_ctc": {"decoder": {"num_classes": 72}}}
    assert build(Changed("tdt", config), NUMPY, "fp32").strategy == "transducer-greedy"


def test_empty_sections_of_published_models():
    config = {"decoder.prednet": {}, "joint.jointnet": {}}
    tokens = [model.transcribe((read_clips()["c256"], 16000)).tokens for model in models("rnnt", config)]
    assert tokens[0] == tokens[1]


def models(name, config):
    for checkpoint in (Changed(name), Changed(name, config)):
        yield Model(name, build(checkpoint, NUMPY, "fp32"), NUMPY, "fp32", registry())


@pytest.mark.parametrize("activation", ["tanh", "sigmoid"])
def test_activations(activation):
    (_, model) = models("rnnt", {"joint.jointnet.activation": activation})
    assert model.parts.decoder.activation == activation
    x = NUMPY.asarray(np.array([[-1.0, 0.5] * 16], np.float32))
    found, _ = model.parts.decoder.join(x, x * 0)
    plain = np.tanh(x) if activation == "tanh" else 1 / (1 + np.exp(-x))
    decoder = model.parts.decoder
    np.testing.assert_allclose(found, plain @ np.asarray(decoder.out.weight).T + decoder.out.bias, atol=1e-5)


def test_another_max_symbols_is_told():
    parts = build(Changed("rnnt", {"decoding.greedy.max_symbols": 5}), NUMPY, "fp32")
    assert [notice.code for notice in parts.notices] == ["max-symbols"]
    assert "asks for max_symbols=5, 10 is used" in parts.notices[0].message
    assert built("rnnt", "rnnt", "numpy").notices == ()


def test_specs():
    assert len(SPECS) == 9
    assert all(spec.source.file == f"{spec.name}.nemo" for spec in SPECS)
    parts = build(Changed("tdt"), NUMPY, "fp32", SPECS[0])
    assert parts.dialect.languages == ("en",)
    assert parts.longest == LONGEST


def test_encoder_with_local_attention(label):
    backends = {"numpy": NUMPY, label: BACKENDS[label]}
    names = {id(backend): name for name, backend in BACKENDS.items()}
    check_encoder(lambda backend: built("tdt_ctc", "tdt", names[id(backend)]).encoder, 80, backends=backends)


def test_whole_models(golden, label):
    backends = {"numpy": NUMPY, label: BACKENDS[label]}
    names = {id(backend): name for name, backend in BACKENDS.items()}
    check_model(lambda backend: built(golden.name, golden.decoder, names[id(backend)]), backends=backends)


@pytest.mark.parametrize("precision", ["int8", "int4"])
@pytest.mark.parametrize(("name", "decoder"), [("tdt_ctc", "tdt"), ("tdt_ctc", "ctc"), ("rnnt", "rnnt")])
def test_few_bits_are_the_same_values_on_every_backend(name, decoder, precision):
    samples = read_clips()["c256"]
    texts = {}
    for label in ("numpy", "strict"):
        model = model_of(name, decoder, label, precision)
        texts[label] = model.transcribe((samples, 16000)).text
    assert len(set(texts.values())) == 1
