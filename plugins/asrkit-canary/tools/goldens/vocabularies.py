"""Small SentencePiece vocabularies, trained by NeMo's own functions on a few lines of text kept here."""

from __future__ import annotations

import random
from pathlib import Path

from nemo.collections.common.tokenizers.canary_tokenizer import CanaryTokenizer
from nemo.collections.common.tokenizers.sentencepiece_tokenizer import create_spt_model
from sentencepiece import sentencepiece_model_pb2

TEXT = {
    "en": """
        The quick brown fox jumps over the lazy dog, and the dog does not mind. It was a bright cold day in
        April. We shall meet again in the old house by the river. She said that nothing was lost, and he
        believed her. All that we see or seem is but a dream within a dream. Where did you put the key? On the
        table, I think. There are twelve months in a year and seven days in a week. What a day! He walked home
        through the rain. And so, my friends, ask not what the others can do for you, but what you can do for
        the others.
        """,
    "de": """
        Der schnelle braune Fuchs springt über den faulen Hund, und der Hund hat nichts dagegen. Es war ein
        kalter Tag. Wir sehen uns im alten Haus am Fluss wieder. Sie sagte, dass nichts verloren sei, und er
        glaubte ihr. Alles, was wir sehen, ist nur ein Traum in einem Traum. Wo hast du den Schlüssel? Auf dem
        Tisch, denke ich. Das Jahr hat zwölf Monate und die Woche sieben Tage. Er ging durch den Regen nach
        Hause, müde und froh.
        """,
    "es": """
        El rápido zorro marrón salta sobre el perro perezoso, y al perro no le importa. Era un día frío de
        abril. Nos veremos otra vez en la casa vieja junto al río. Ella dijo que nada estaba perdido, y él la
        creyó. Todo lo que vemos no es más que un sueño dentro de un sueño. La llave está en la mesa, creo yo.
        El año tiene doce meses y la semana siete días. Caminó hasta su casa bajo la lluvia, cansado y
        contento.
        """,
    "fr": """
        Le rapide renard brun saute par-dessus le chien paresseux, et le chien ne dit rien. C'était un jour
        froid. Nous nous reverrons dans la vieille maison près de la rivière. Elle dit que rien n'était perdu,
        et il la crut. Tout ce que nous voyons n'est qu'un rêve dans un rêve. La clé est sur la table, je
        crois. L'année a douze mois et la semaine sept jours. Il rentra chez lui sous la pluie, fatigué et
        content.
        """,
}

# Slots and languages of the canary2 prompt in the order of NVIDIA's list, then a few time stamps. NeMo puts
# its own six default tokens in front, which gives the released ids: pad 2, end of text 3, start of transcript
# 4, ...
CANARY2_TOKENS = [
    *("startofcontext", "itn", "noitn", "timestamp", "notimestamp", "diarize", "nodiarize", "spkchange"),
    *("audioseparator", "emo:undefined", "emo:neutral", "emo:happy", "emo:sad", "emo:angry", "unklang"),
    *("de", "en", "es", "fr", "it"),
    *(str(frame) for frame in range(32)),
    *("spk0", "spk1", "spltoken0"),
]

# canary-1b: 32 entries with the sentence piece marks, pad 1, end of text 2, start of transcript 3.
CANARY1_TOKENS = [
    *("<pad>", "<|endoftext|>", "<|startoftranscript|>", "<|nospeech|>", "<|pnc|>", "<|nopnc|>"),
    *("<|transcribe|>", "<|translate|>", "<|en|>", "<|de|>", "<|es|>", "<|fr|>"),
    *(f"<|spltoken{number}|>" for number in range(18)),
]


def canary2_special(folder: Path, *, keep_normalizer: bool = False) -> Path:
    """The special-token vocabulary of a canary2 aggregate tokenizer, by NeMo's `build_special_tokenizer`."""
    CanaryTokenizer.build_special_tokenizer(CANARY2_TOKENS, folder)
    return _tidy(folder, keep_normalizer=keep_normalizer)


def canary1_special(folder: Path) -> Path:
    """The special-token vocabulary of canary-1b, whose order NeMo's own builder cannot make."""
    return _train(folder, "\n".join(CANARY1_TOKENS), len(CANARY1_TOKENS) + 2, "unigram", CANARY1_TOKENS)


def language(folder: Path, name: str, size: int) -> Path:
    """A BPE vocabulary of `size` pieces for one language; rare characters become `<unk>`."""
    return _train(folder, TEXT[name], size, "bpe", None, coverage=0.99)


def unified(folder: Path, size: int) -> Path:
    """One BPE vocabulary for all languages with the special tokens inside it, as in canary-1b-v2."""
    defaults = ["<|nospeech|>", "<pad>", "<|endoftext|>", "<|startoftranscript|>", "<|pnc|>", "<|nopnc|>"]
    symbols = defaults + [f"<|{token}|>" for token in CANARY2_TOKENS]
    return _train(folder, "\n".join(TEXT.values()), size + len(symbols), "bpe", symbols, coverage=0.99)


def plain(folder: Path, size: int) -> Path:
    """A BPE vocabulary without special tokens over all languages: the auxiliary CTC model's."""
    return _train(folder, "\n".join(TEXT.values()), size, "bpe", None, coverage=0.99)


def released_special(folder: Path) -> Path:
    """1152 special tokens with the flash models' ids for slots, en, fr, de, es and time stamps.

    The other 179 languages are stand-ins; their names do not matter.
    """
    languages = [f"x{number:03d}" for number in range(183)]
    for name, place in {"en": 62, "fr": 69, "de": 76, "es": 169}.items():
        languages[place - 22] = name
    slots = CANARY2_TOKENS[: CANARY2_TOKENS.index("unklang") + 1]
    numbered = [*(str(frame) for frame in range(900)), *(f"spk{number}" for number in range(16))]
    fillers = [f"spltoken{number}" for number in range(30)]
    CanaryTokenizer.build_special_tokenizer([*slots, *languages, *numbered, *fillers], folder)
    return _tidy(folder, keep_normalizer=True)


def pseudo_language(folder: Path, name: str, size: int) -> Path:
    """A BPE vocabulary of any size, trained on made-up words: our text is too short for 1024 pieces."""
    rng = random.Random(name)
    letters = [letter for letter in TEXT[name] if letter.isalpha()]
    words = ["".join(rng.choices(letters, k=rng.randint(2, 7))) for _ in range(6000)]
    lines = [" ".join(words[start : start + 12]) for start in range(0, len(words), 12)]
    return _train(folder, TEXT[name] + "\n".join(lines), size, "bpe", None)


def _train(folder: Path, text: str, size: int, kind: str, symbols: list[str] | None, coverage: float = 1.0) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    source = folder / "train_text.txt"
    source.write_text("\n".join(line.strip() for line in text.strip().splitlines()), encoding="utf-8")
    create_spt_model(
        str(source),
        vocab_size=size,
        sample_size=-1,
        do_lower_case=False,
        tokenizer_type=kind,
        output_dir=str(folder),
        character_coverage=coverage,
        user_defined_symbols=symbols,
    )
    return _tidy(folder)


def _tidy(folder: Path, *, keep_normalizer: bool = False) -> Path:
    """Take the training paths out of the model, and the normalisation table: 240 kB, put identity for it."""
    file = folder / "tokenizer.model"
    model = sentencepiece_model_pb2.ModelProto()
    model.ParseFromString(file.read_bytes())
    model.trainer_spec.ClearField("input")
    model.trainer_spec.ClearField("model_prefix")
    if not keep_normalizer:
        model.normalizer_spec.name = "identity"
        model.normalizer_spec.precompiled_charsmap = b""
    file.write_bytes(model.SerializeToString())
    return folder
