"""Tables of prompt ids and of tokenizer behaviour, straight from NeMo."""

from __future__ import annotations

from typing import Any

from nemo.collections.asr.models import EncDecMultiTaskModel
from nemo.collections.common.tokenizers.canary_tokenizer import CanaryTokenizer

DEFAULTS = {
    "canary2": {
        "source_lang": "en",
        "target_lang": "en",
        "decodercontext": "",
        "emotion": "<|emo:undefined|>",
        "pnc": "yes",
        "itn": "no",
        "timestamp": "no",
        "diarize": "no",
    },
    "canary": {"source_lang": "en", "target_lang": "en", "task": "asr", "pnc": "yes"},
}

# A prompt in which every slot has its literal form: NeMo then does not choose the sub-tokenizer by itself.
LITERAL = {
    "source_lang": "<|en|>",
    "target_lang": "<|de|>",
    "pnc": "<|pnc|>",
    "itn": "<|itn|>",
    "timestamp": "<|notimestamp|>",
    "diarize": "<|nodiarize|>",
}

# What is changed from the defaults above; some of these NeMo refuses, which is recorded too.
CHANGES: dict[str, list[dict[str, Any]]] = {
    "canary2": [
        {},
        *({"pnc": value} for value in ("no", "true", "false", "True", "False", "1", "0", "Yes", "No", "pnc")),
        *({"pnc": value} for value in ("nopnc", "<|pnc|>", "<|nopnc|>", "maybe", True, False)),
        *({"itn": value} for value in ("yes", "itn", "noitn", "Yes", "<|itn|>")),
        *({"timestamp": value} for value in ("yes", "timestamp", "notimestamp", "1", "<|timestamp|>")),
        *({"diarize": value} for value in ("yes", "diarize", "<|diarize|>")),
        *({"emotion": f"<|emo:{value}|>"} for value in ("neutral", "happy", "sad", "angry")),
        *({"emotion": value} for value in ("happy", "emo:happy")),
        {"target_lang": "de"},
        {"source_lang": "de", "target_lang": "de"},
        {"source_lang": "<|fr|>", "target_lang": "<|es|>"},
        {"source_lang": "unklang"},
        {"source_lang": "it", "target_lang": "it"},
        {"source_lang": "ja"},
        {"decodercontext": "the dog"},
        {"decodercontext": " the dog"},
        {"decodercontext": "The dog, and the key."},
        {"decodercontext": "der Hund", "source_lang": "de", "target_lang": "de"},
        {"decodercontext": "der Hund", "target_lang": "de"},
        {"decodercontext": "the <|3|> dog<|4|>"},
        {"pnc": "no", "itn": "yes", "timestamp": "yes", "diarize": "yes", "emotion": "<|emo:sad|>"},
        LITERAL,
        {**LITERAL, "prompt_language": "spl_tokens"},
    ],
    "canary": [
        {},
        *({"pnc": value} for value in ("no", "true", "1", "Yes", "nopnc", "<|nopnc|>", "maybe", True)),
        *({"task": value} for value in ("transcribe", "ast", "translate", "s2t_translation", "<|translate|>", "st")),
        {"target_lang": "de"},
        {"task": "ast", "target_lang": "de"},
        {"task": "ast", "source_lang": "es", "target_lang": "fr", "pnc": "no"},
        {"source_lang": "<|de|>", "target_lang": "<|de|>"},
        {"source_lang": "it"},
    ],
}

TEXTS = [
    *(
        "the dog",
        " the dog",
        "  the  dog ",
        "The dog, and the key.",
        "über den Hund",
        "sueño",
        "C'était",
        "",
        " ",
    ),
    *(
        "日本 dog",
        "a<|en|>b",
        "<|endoftext|>",
        "the dog<|endoftext|>",
        "<|0|> the<|3|> <|4|> dog<|9|>",
        "<unk>",
    ),
    "<|startoftranscript|><|en|>",
]


def encode(model: EncDecMultiTaskModel, slots: dict[str, Any], role: str = "user") -> list[int]:
    """The ids of one prompt turn."""
    turn = {"role": role, "slots": dict(slots)}
    return model.prompt.encode_dialog([turn])["context_ids"].tolist()


def usual_prompts(model: EncDecMultiTaskModel) -> list[list[int]]:
    """The prompt for transcription with punctuation, then some for other languages."""
    base = DEFAULTS[model.prompt_format]
    changes = [{}, {"pnc": "no"}, {"target_lang": "de"}, {"source_lang": "de", "target_lang": "de"}]
    return [encode(model, base | change) for change in changes]


def prompt_table(model: EncDecMultiTaskModel) -> list[dict[str, Any]]:
    """For each set of slots the ids, or the kind of error."""
    base = DEFAULTS[model.prompt_format]
    rows = [_row(model, base | change, "user") for change in CHANGES[model.prompt_format]]
    if model.prompt_format == "canary2":
        for text in ("", "the dog"):
            rows.append(_row(model, {"decodercontext": text}, "user_partial"))
            rows.append(_row(model, {"decodercontext": text, "prompt_language": "spl_tokens"}, "user_partial"))
    return rows


def _row(model: EncDecMultiTaskModel, slots: dict[str, Any], role: str) -> dict[str, Any]:
    # Whatever NeMo raises is the recorded behaviour (assertions, missing keys, attribute errors).
    try:
        return {"role": role, "slots": slots, "ids": encode(model, slots, role)}
    except Exception as error:
        return {"role": role, "slots": slots, "error": type(error).__name__}


def tokenizer_table(model: EncDecMultiTaskModel) -> dict[str, Any]:
    """Text to ids and ids to text; `lang` is None for a unified tokenizer, which takes none."""
    tokenizer = model.tokenizer
    aggregate = isinstance(tokenizer, CanaryTokenizer)
    languages = ["en", "de", "fr", "spl_tokens"] if aggregate else [None]
    encoded = []
    for lang in languages:
        for text in TEXTS:
            try:
                ids = tokenizer.text_to_ids(text, lang) if aggregate else tokenizer.text_to_ids(text)
                encoded.append({"text": text, "lang": lang, "ids": ids})
            except Exception as error:
                encoded.append({"text": text, "lang": lang, "error": type(error).__name__})
    sequences = [row["ids"] for row in encoded if "ids" in row] + _made_up(tokenizer, aggregate)
    return {
        "size": tokenizer.vocab_size,
        "pad": tokenizer.pad_id,
        "eos": tokenizer.eos_id,
        "bos": tokenizer.bos_id,
        "nospeech": tokenizer.nospeech_id,
        "offsets": dict(tokenizer.token_id_offset) if aggregate else {},
        "pieces": tokenizer.ids_to_tokens(list(range(tokenizer.vocab_size))),
        "encode": encoded,
        "decode": [{"ids": ids, "text": tokenizer.ids_to_text(ids)} for ids in sequences],
    }


def _made_up(tokenizer: Any, aggregate: bool) -> list[list[int]]:
    """Sequences that mix vocabularies, special tokens, `<unk>`, and pieces with and without boundary mark."""
    size = tokenizer.vocab_size
    offsets = list(tokenizer.token_id_offset.values()) if aggregate else [0]
    unknowns = [[offset] for offset in offsets]
    strides = [list(range(start, size, 17)) for start in (0, 5, 11)]
    special = [tokenizer.pad_id, tokenizer.eos_id, tokenizer.bos_id]
    return [*unknowns, *strides, special, [size - 1, tokenizer.eos_id, size - 2, 0, size - 3]]
