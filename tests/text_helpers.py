"""Tiny text towers with random weights, in folders of the layout in which published ones lie."""

import json
from pathlib import Path

import torch
from tokenizers import Tokenizer, models, pre_tokenizers, processors
from transformers import (
    CLIPTextConfig,
    CLIPTextModel,
    PreTrainedTokenizerFast,
    T5Config,
    T5EncoderModel,
)

LETTERS = [chr(code) for code in range(ord("a"), ord("z") + 1)]
# Byte-pair encoding of lower case: letters, letters that end a word, and one merged word.
CLIP_PIECES = [
    *LETTERS, *(f"{letter}</w>" for letter in LETTERS), "fo", "fox</w>", "!",
    "<|startoftext|>", "<|endoftext|>",
]  # fmt: skip
START, END = len(CLIP_PIECES) - 2, len(CLIP_PIECES) - 1
PLACES = 12  # of the CLIP tower


def write_clip(root: Path, pad: str, width: int = 16, seed: int = 0) -> None:
    """text_encoder and tokenizer as diffusers lays them out; `pad` is ! in Stable Diffusion 2.1."""
    folder = root / "tokenizer"
    folder.mkdir(parents=True)
    numbers = {piece: number for number, piece in enumerate(CLIP_PIECES)}
    (folder / "vocab.json").write_text(json.dumps(numbers))
    (folder / "merges.txt").write_text("#version: 0.2\nf o\nfo x</w>\n")
    (folder / "tokenizer_config.json").write_text(
        json.dumps({"tokenizer_class": "CLIPTokenizer", "pad_token": pad, "model_max_length": PLACES})
    )
    torch.manual_seed(seed)
    config = CLIPTextConfig(
        vocab_size=len(CLIP_PIECES), hidden_size=width, intermediate_size=2 * width, num_hidden_layers=2,
        num_attention_heads=2, max_position_embeddings=PLACES, projection_dim=width, hidden_act="gelu",
        bos_token_id=0, eos_token_id=2, pad_token_id=1,  # as published, and wrong
    )  # fmt: skip
    CLIPTextModel(config).save_pretrained(root / "text_encoder")


def write_t5(root: Path, width: int = 24, seed: int = 1) -> None:
    """text_encoder_2 and tokenizer_2: T5's encoder, and a unigram model of letters."""
    scores = [("<pad>", 0.0), ("</s>", 0.0), ("<unk>", 0.0), *((f"▁{letter}", -1.0) for letter in LETTERS)]
    scores += [(letter, -2.0) for letter in LETTERS]
    splitter = Tokenizer(models.Unigram(scores, unk_id=2))
    splitter.pre_tokenizer = pre_tokenizers.Metaspace()
    splitter.post_processor = processors.TemplateProcessing(single="$A </s>", special_tokens=[("</s>", 1)])
    PreTrainedTokenizerFast(
        tokenizer_object=splitter, pad_token="<pad>", eos_token="</s>", unk_token="<unk>"
    ).save_pretrained(root / "tokenizer_2")
    torch.manual_seed(seed)
    config = T5Config(
        vocab_size=len(scores), d_model=width, d_kv=8, d_ff=32, num_layers=2, num_heads=3,
        feed_forward_proj="gated-gelu",
    )  # fmt: skip
    T5EncoderModel(config).save_pretrained(root / "text_encoder_2")
