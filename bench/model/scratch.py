"""Small models with random weights and a vocabulary of their own; they need no download."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers
from transformers import (
    BertConfig,
    BertModel,
    PreTrainedModel,
    PreTrainedTokenizerBase,
    PreTrainedTokenizerFast,
    RoFormerConfig,
    RoFormerModel,
)

LONGEST_WORD = 500  # characters; a longer one becomes [UNK]. The library's 100 loses scripts without spaces
_SPECIAL = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")


def scratch(
    texts: Sequence[str], vocabulary: int = 8192, hidden: int = 128, layers: int = 2, heads: int = 4
) -> tuple[PreTrainedModel, PreTrainedTokenizerBase]:
    """An untrained BERT and a WordPiece tokenizer trained on ``texts``; torch's seed decides the weights."""
    tokenizer = word_piece(texts, vocabulary)
    return BertModel(BertConfig(max_position_embeddings=512, **_sizes(tokenizer, hidden, layers, heads))), tokenizer


def scratch_roformer(
    texts: Sequence[str], hidden: int = 128, layers: int = 2, heads: int = 4
) -> tuple[PreTrainedModel, PreTrainedTokenizerBase]:
    """An untrained RoFormer and a tokenizer of the characters of ``texts``; torch's seed decides the weights."""
    tokenizer = word_piece(texts, 0)
    sizes = _sizes(tokenizer, hidden, layers, heads)
    return RoFormerModel(RoFormerConfig(max_position_embeddings=512, embedding_size=hidden, **sizes)), tokenizer


def _sizes(tokenizer: PreTrainedTokenizerBase, hidden: int, layers: int, heads: int) -> dict[str, int]:
    return {
        "vocab_size": len(tokenizer),
        "hidden_size": hidden,
        "num_hidden_layers": layers,
        "num_attention_heads": heads,
        "intermediate_size": 4 * hidden,
    }


def word_piece(texts: Sequence[str], size: int) -> PreTrainedTokenizerBase:
    """A WordPiece tokenizer of about ``size`` tokens for ``texts``; equal texts give an equal vocabulary.

    Every character is a token, at the start of a word and within one, even where ``size`` leaves no room for more.

    The library's own WordPiece trainer breaks ties by the order of a hash table, so a vocabulary would differ
    from process to process. Its byte-pair trainer does not: its pieces, marked where they continue a word,
    become the vocabulary, the commonest first.
    """
    normalizer, splitter = normalizers.BertNormalizer(lowercase=True), pre_tokenizers.BertPreTokenizer()
    pairs = Tokenizer(models.BPE())
    pairs.normalizer, pairs.pre_tokenizer = normalizer, splitter
    pairs.train_from_iterator(texts, trainers.BpeTrainer(vocab_size=size, show_progress=False))
    counts: Counter[str] = Counter()
    for text in texts:
        for word, _ in splitter.pre_tokenize_str(normalizer.normalize_str(text)):
            counts[word] += 1
    pieces: Counter[str] = Counter()
    for word, count in counts.items():
        for place, piece in enumerate(pairs.encode(word).tokens):
            pieces["##" * (place > 0) + piece] += count
    letters = {mark + letter for word in counts for letter in word for mark in ("", "##")}
    room = max(0, size - len(_SPECIAL) - len(letters))
    common = sorted((piece for piece in pieces if piece not in letters), key=lambda piece: (-pieces[piece], piece))
    vocabulary = [*_SPECIAL, *sorted(letters), *common[:room]]
    numbers = {piece: i for i, piece in enumerate(vocabulary)}
    tokenizer = Tokenizer(models.WordPiece(numbers, unk_token="[UNK]", max_input_chars_per_word=LONGEST_WORD))
    tokenizer.normalizer, tokenizer.pre_tokenizer = normalizer, splitter
    tokenizer.decoder = decoders.WordPiece()
    ids = [(name, vocabulary.index(name)) for name in ("[CLS]", "[SEP]")]
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", pair="[CLS] $A [SEP] $B [SEP]", special_tokens=ids
    )
    names = {f"{name.strip('[]').lower()}_token": name for name in _SPECIAL}
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, **names)
