"""What a checkpoint's configuration and tensors may say, and what is refused by name."""

from __future__ import annotations

import copy

import attrs
import numpy as np
import pytest

from asrkit.errors import AudioError, CheckpointError, OptionError, WeightsError
from asrkit.frontends.mel import mel_filters
from asrkit.loading import load_model, open_checkpoint
from asrkit.plugins import registry
from asrkit.testing.archives import BFloat16, write_nemo
from asrkit.testing.conformance_host import noise
from asrkit.transcriber import Model
from asrkit_canary.build import build
from asrkit_canary.random_checkpoint import write_random_checkpoint
from asrkit_canary.specs import SPECS
from conftest import BACKENDS, VARIANTS, built, read_golden


class Changed:
    """A checkpoint with other configuration or tensors."""

    def __init__(self, path, config=None, tensors=None):
        self._real = open_checkpoint(registry(), path)
        self.path = "model.nemo"
        self.config = copy.deepcopy(dict(self._real.config))
        for key, value in (config or {}).items():
            *sections, last = key.split(".")
            section = self.config
            for name in sections:
                section = section[name]
            section[last] = value
        self._tensors = {**self._real.tensors(), **(tensors or {})}
        for name in [name for name, value in self._tensors.items() if value is None]:
            del self._tensors[name]
        self.files, self.file = self._real.files, self._real.file

    def tensors(self):
        return self._tensors


@pytest.fixture(scope="module")
def path(tmp_path_factory):
    return write_random_checkpoint(tmp_path_factory.mktemp("build") / "model.nemo")


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("encoder.subsampling", "striding", "has 'striding' at 'encoder.subsampling', asrkit can run 'dw_striding'"),
        (
            "encoder.self_attention_model",
            "abs_pos",
            "has 'abs_pos' at 'encoder.self_attention_model', asrkit can run 'rel_pos' or 'rel_pos_local_attn'",
        ),
        ("encoder.n_layers", "2", "has '2' at 'encoder.n_layers', asrkit can run a whole number"),
        ("encoder.d_model", None, "has None at 'encoder.d_model', asrkit can run only with a value there"),
        ("encoder.n_heads", 5, "has 5 at 'encoder.n_heads', asrkit can run a divisor of the width 32"),
        ("encoder.subsampling_factor", 6, "has 6 at 'encoder.subsampling_factor', asrkit can run a power of two"),
        ("preprocessor.normalize", "all_features", "has 'all_features' at 'preprocessor.normalize'"),
        ("preprocessor.log", False, "has False at 'preprocessor.log', asrkit can run True"),
        ("transf_decoder.config_dict.hidden_act", "gelu", "has 'gelu' at 'transf_decoder.config_dict.hidden_act'"),
        ("tokenizer.type", "wpe", "has 'wpe' at 'tokenizer.type', asrkit can run 'agg' or 'bpe'"),
        ("encoder.conv_kernel_size", 8, "has 8 at 'encoder.conv_kernel_size', asrkit can run an odd number"),
        ("encoder.use_bias", False, "has False at 'encoder.use_bias', asrkit can run True"),
        ("encoder.global_tokens", 2, "has 2 at 'encoder.global_tokens', asrkit can run 0"),
        ("encoder.feat_in", 79, "has 79 at 'encoder.feat_in'"),
        ("preprocessor.window_stride", 0, "has 0 at 'preprocessor.window_stride', asrkit can run a number above 0"),
        ("preprocessor.window_size", float("nan"), "has nan at 'preprocessor.window_size', asrkit can run a finite"),
        ("decoding.beam.beam_size", "4", "has '4' at 'decoding.beam.beam_size', asrkit can run a whole number"),
        (
            "decoding",
            {"strategy": "greedy", "greedy": {"temperature": 0.5}},
            "has 0.5 at 'decoding.greedy.temperature'",
        ),
        ("prompt_format", "canary3", "has 'canary3' at 'prompt_format', asrkit can run 'canary' or 'canary2'"),
        ("tokenizer.langs.de", "x", "has 'x' at 'tokenizer.langs.de', asrkit can run a section"),
        ("decoding.strategy", "maes", "has 'maes' at 'decoding.strategy'"),
    ],
)
def test_a_configuration_that_cannot_run_is_named(path, key, value, message):
    with pytest.raises(CheckpointError) as error:
        build(Changed(path, {key: value}), BACKENDS["numpy"], "fp32")
    assert str(error.value).startswith("model.nemo: its configuration " + message)
    assert "\n" not in str(error.value)


def test_missing_left_over_and_misshapen_tensors_are_one_error(path):
    tensors = {
        "encoder.layers.1.norm_out.weight": None,
        "encoder.layers.2.norm_out.weight": np.zeros(32, np.float32),
        "encoder.layers.0.self_attn.pos_bias_u": np.zeros((2, 16), np.float32),
    }
    with pytest.raises(WeightsError) as error:
        build(Changed(path, tensors=tensors), BACKENDS["numpy"], "fp32")
    assert str(error.value) == (
        "model.nemo: the tensors do not fit its configuration: "
        "encoder.layers.0.self_attn.pos_bias_u has shape (2, 16), expected (4, 8); "
        "missing encoder.layers.1.norm_out.weight, expected (32); "
        "not used by the model: encoder.layers.2.norm_out.weight (32)"
    )


@pytest.mark.parametrize(
    "name",
    [
        "encoder.pre_encode.out.bias",
        "encoder.pre_encode.conv.2.bias",
        "encoder.layers.0.feed_forward1.linear1.bias",
        "encoder.layers.1.self_attn.linear_out.bias",
        "encoder.layers.1.self_attn.linear_k.bias",
        "encoder.layers.0.conv.pointwise_conv2.bias",
        "encoder_decoder_proj.bias",
        "transf_decoder._decoder.layers.0.first_sub_layer.out_projection.bias",
        "log_softmax.mlp.layer0.bias",
    ],
)
def test_a_lost_bias_is_named(path, name):
    with pytest.raises(WeightsError) as error:
        build(Changed(path, tensors={name: None}), BACKENDS["numpy"], "fp32")
    # Without the bias that the others are told by, the others are what is too much.
    left = name == "encoder.layers.0.feed_forward1.linear1.bias"
    assert ("not used by the model: encoder.layers.0" if left else f"missing {name}") in str(error.value)


@pytest.mark.parametrize(
    ("name", "tensor", "message"),
    [
        ("encoder.pre_encode.conv.0.weight", np.zeros((32, 1, 3, 3), np.float32), "has shape (32, 1, 3, 3)"),
        ("encoder.pre_encode.conv.0.bias", np.zeros(1, np.float32), "has shape (1), expected (16)"),
        ("encoder.layers.0.conv.depthwise_conv.weight", np.zeros((32, 1, 8), np.float32), "has shape (32, 1, 8)"),
        ("encoder.pre_encode.out.weight", np.zeros((32, 160), np.int64), "has dtype int64, expected floats"),
        ("preprocessor.featurizer.fb", np.zeros((1, 64, 257), np.float32), "has shape (1, 64, 257)"),
    ],
)
def test_a_misshapen_tensor_is_named(path, name, tensor, message):
    with pytest.raises(WeightsError) as error:
        build(Changed(path, tensors={name: tensor}), BACKENDS["numpy"], "fp32")
    assert f"{name} {message}" in str(error.value)


def test_a_beam_that_is_not_done_is_a_warning(path):
    decoding = {"strategy": "beam", "beam": {"beam_size": 4, "max_generation_delta": 50}}
    parts = build(Changed(path, {"decoding": decoding}), BACKENDS["numpy"], "fp32")
    assert [notice.code for notice in parts.strategy_notices] == ["greedy-for-beam"]
    model = Model("beamy", parts, BACKENDS["numpy"], "fp32", registry())
    noise = (np.random.default_rng(0).standard_normal(4000).astype(np.float32) / 10, 16000)
    for strategy, told in ((None, True), ("greedy", True), ("attention-beam", False)):
        result = model.transcribe(noise, language="en", strategy=strategy, guards=False)
        assert ("greedy-for-beam" in [notice.code for notice in result.warnings]) == told


@pytest.mark.parametrize("stored", [np.float16, np.float64, "bf16"])
@pytest.mark.parametrize("backend", [name for name in BACKENDS if name != "mlx-compiled"])
def test_other_stored_types_run_on_every_backend(path, tmp_path, stored, backend):
    """The values are rounded before they are stored, so that all types hold the same."""
    real = open_checkpoint(registry(), path)
    rounded = {
        name: tensor if tensor.dtype.kind != "f" else as_bf16(tensor).values for name, tensor in real.tensors().items()
    }
    files = {name: real.file(name) for name in real.files()}

    def tokens(name, convert):
        tensors = {key: tensor if tensor.dtype.kind != "f" else convert(tensor) for key, tensor in rounded.items()}
        where = write_nemo(tmp_path / name, dict(real.config), tensors, files)
        parts = build(open_checkpoint(registry(), where), BACKENDS[backend], "fp32")
        model = Model(name, parts, BACKENDS[backend], "fp32", registry())
        return model.transcribe((noise(1.5, 16000), 16000), language="en").tokens

    def convert(tensor):
        return as_bf16(tensor) if stored == "bf16" else tensor.astype(stored)

    expected = tokens("plain.nemo", lambda tensor: tensor)
    assert len(expected) > 5
    if stored is np.float16:
        # Small values are rounded once more in half precision; what counts is that they are read.
        assert tokens("stored.nemo", convert)
    else:
        assert tokens("stored.nemo", convert) == expected


def as_bf16(tensor):
    return BFloat16.rounded(np.ascontiguousarray(tensor, np.float32))


def test_more_layers_in_the_configuration_than_tensors(path):
    with pytest.raises(WeightsError, match=r"missing encoder\.layers\.2\."):
        build(Changed(path, {"encoder.n_layers": 3}), BACKENDS["numpy"], "fp32")


def test_a_missing_projection_is_named(path):
    tensors = {"encoder_decoder_proj.weight": None, "encoder_decoder_proj.bias": None}
    message = "encoder width 32 and decoder width 48 differ, but there is no 'encoder_decoder_proj'"
    with pytest.raises(CheckpointError, match=message):
        build(Changed(path, tensors=tensors), BACKENDS["numpy"], "fp32")


def test_a_file_that_is_no_tokenizer_is_named(path):
    checkpoint = Changed(path)
    checkpoint.file = lambda name: b"no model"
    with pytest.raises(CheckpointError, match=r"is no SentencePiece model \(8 bytes\)"):
        build(checkpoint, BACKENDS["numpy"], "fp32")


@pytest.mark.parametrize("variant", VARIANTS)
def test_structure_comes_from_the_checkpoint(variant):
    parts = built(variant, "numpy")
    tensors = open_checkpoint(registry(), read_golden(variant).path).tensors()
    attention = parts.encoder.layers[0].self_attn
    assert (attention.qkv.bias is not None) == ("encoder.layers.0.self_attn.linear_q.bias" in tensors)
    assert attention.linear_pos.bias is None
    assert (parts.decoder.projection is not None) == ("encoder_decoder_proj.weight" in tensors)
    assert (parts.decoder.encoder is not None) == ("transf_encoder.final_layer_norm.weight" in tensors)


def test_the_head_shares_the_embedding(path):
    for backend in ("numpy", "mlx"):
        if backend in BACKENDS:
            decoder = build(open_checkpoint(registry(), path), BACKENDS[backend], "fp32").decoder
            assert decoder.head.weight is decoder.token_embedding


def test_specs_restrict_languages_and_pairs(path):
    spec = next(spec for spec in SPECS if spec.name == "canary-180m-flash")
    dialect = build(open_checkpoint(registry(), path), BACKENDS["numpy"], "fp32", spec).dialect
    assert dialect.resolve({"language": "en", "target_language": "fr"})[0].task == "translate"
    with pytest.raises(OptionError, match="does not translate 'de' to 'fr', only to: en"):
        dialect.resolve({"language": "de", "target_language": "fr"})
    small = attrs.evolve(spec, languages=("en",), translations=())
    with pytest.raises(OptionError, match="has no language 'de'; it has: en"):
        build(open_checkpoint(registry(), path), BACKENDS["numpy"], "fp32", small).dialect.resolve({"language": "de"})


def test_published_models_are_listed_with_their_facts():
    facts = {spec.name: (spec.source.repo, spec.source.file, len(spec.languages), spec.licence) for spec in SPECS}
    assert facts == {
        "canary-180m-flash": ("nvidia/canary-180m-flash", "canary-180m-flash.nemo", 4, "CC-BY-4.0"),
        "canary-1b-flash": ("nvidia/canary-1b-flash", "canary-1b-flash.nemo", 4, "CC-BY-4.0"),
        "canary-1b": ("nvidia/canary-1b", "canary-1b.nemo", 4, "CC-BY-NC-4.0"),
        "canary-1b-v2": ("nvidia/canary-1b-v2", "canary-1b-v2.nemo", 25, "CC-BY-4.0"),
    }


def test_filters_equal_those_of_a_nemo_checkpoint():
    for variant in VARIANTS:
        stored = open_checkpoint(registry(), read_golden(variant).path).tensors()["preprocessor.featurizer.fb"][0]
        assert np.abs(mel_filters(len(stored)) - stored).max() < 1e-7


def test_a_context_that_leaves_no_room_is_named(path):
    model = load_model(path, backend="numpy")
    context = "the " * 400
    with pytest.raises(AudioError, match=r"<samples>: a prompt of \d+ tokens leaves no room for text"):
        model.transcribe((np.zeros(16000), 16000), language="en", context=context)
