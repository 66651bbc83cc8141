"""Text encoders: whose states a caption gets, what is padded and masked, and what is refused."""

import json
import math
from pathlib import Path

import numpy as np
import pytest
import torch
from conftest import CPU
from safetensors.torch import load_file, save_file
from text_helpers import CLIP_PIECES, END, PLACES, START, write_clip, write_t5
from torch import Tensor

from alchemist.core.refusal import Refusal
from alchemist.core.settings.text import ClipText, MiniLmText, T5ClipText
from alchemist.models import text
from alchemist.models.batch import CaptionStates
from alchemist.models.encoded import Encoded, Writer
from alchemist.models.text import TextEncoder

WHERE = "scales.paper.encode.text.star"
CAPTIONS = ["", "fox", "a red fox", "zebra by a barn and a lake", "A", "owls"]


@pytest.fixture(scope="module")
def towers(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("towers")
    write_clip(folder, "!")
    write_t5(folder)
    return folder


def clip(folder: Path, pieces: int = PLACES) -> TextEncoder:
    return text.load(ClipText(kind="clip", weights=str(folder), pieces=pieces), WHERE, CPU)


def found(encoder: TextEncoder, captions: list[str], batch: int = 4) -> list[CaptionStates]:
    return list(encoder.states(captions, batch))


# --- a CLIP tower written out, from its stored weights alone ---


def by_hand(folder: Path, ids: list[int]) -> Tensor:
    """Last hidden states (T, D) of two pre-norm layers with a causal mask and exact GELU, in float64."""
    w = {name: value.double() for name, value in load_file(folder / "text_encoder/model.safetensors").items()}
    w = {name.removeprefix("text_model."): value for name, value in w.items()}
    t, heads = len(ids), 2

    def linear(x: Tensor, name: str) -> Tensor:
        return x @ w[f"{name}.weight"].T + w[f"{name}.bias"]

    def norm(x: Tensor, name: str) -> Tensor:
        centred = x - x.mean(-1, keepdim=True)
        unit = centred / (centred.square().mean(-1, keepdim=True) + 1e-5).sqrt()
        return unit * w[f"{name}.weight"] + w[f"{name}.bias"]

    x = w["embeddings.token_embedding.weight"][ids] + w["embeddings.position_embedding.weight"][:t]
    later = torch.ones(t, t).triu(1).bool()
    for layer in range(2):
        at = f"encoder.layers.{layer}"
        y = norm(x, f"{at}.layer_norm1")
        q, k, v = (
            linear(y, f"{at}.self_attn.{name}_proj").view(t, heads, -1).transpose(0, 1) for name in "qkv"
        )
        logits = (q @ k.mT / math.sqrt(q.shape[-1])).masked_fill(later, -torch.inf)
        x = x + linear((logits.softmax(-1) @ v).transpose(0, 1).flatten(1), f"{at}.self_attn.out_proj")
        y = linear(norm(x, f"{at}.layer_norm2"), f"{at}.mlp.fc1")
        x = x + linear(torch.nn.functional.gelu(y), f"{at}.mlp.fc2")
    return norm(x, "final_layer_norm")


def pieces_of(caption: str, longest: int) -> list[int]:
    """Start, words of lower case letters (fox is one piece), end."""
    ids = []
    for word in caption.lower().split():
        pieces = ["fox</w>"] if word == "fox" else [*word[:-1], f"{word[-1]}</w>"]
        ids += [CLIP_PIECES.index(piece) for piece in pieces]
    return [START, *ids[: longest - 2], END]


@pytest.mark.parametrize("pad", ["!", "<|endoftext|>"])
@pytest.mark.parametrize("pieces", [PLACES, 6])
def test_clip_gives_each_caption_its_own_states_and_that_of_its_end(
    tmp_path: Path, pad: str, pieces: int
) -> None:
    write_clip(tmp_path, pad)
    for caption, (states, pooled) in zip(CAPTIONS, found(clip(tmp_path, pieces), CAPTIONS), strict=True):
        expected = by_hand(tmp_path, pieces_of(caption, pieces)).numpy()
        assert states.dtype == np.float16
        assert states.shape == expected.shape, "no state of padding is kept"
        assert np.allclose(states, expected, atol=0.03)
        assert pooled is not None
        assert np.array_equal(pooled, states[-1])


def test_a_caption_s_states_depend_on_no_neighbour(towers: Path) -> None:
    whole = found(clip(towers), CAPTIONS, batch=6)
    for i, caption in enumerate(CAPTIONS):
        ((states, _),) = found(clip(towers), [caption])
        assert np.abs(states.astype(np.float32) - whole[i][0]).max() < 0.02


def test_keys_of_older_checkpoints_are_read_too(towers: Path, tmp_path: Path) -> None:
    """Published ones begin with text_model, and hold the numbers of the places."""
    write_clip(tmp_path, "!")
    file = tmp_path / "text_encoder/model.safetensors"
    old = {f"text_model.{key.removeprefix('text_model.')}": value for key, value in load_file(file).items()}
    old["text_model.embeddings.position_ids"] = torch.arange(PLACES)[None]
    save_file(old, file, {"format": "pt"})
    for one, other in zip(found(clip(tmp_path), CAPTIONS), found(clip(towers), CAPTIONS), strict=True):
        assert np.array_equal(one[0], other[0])


# --- T5 and CLIP ---


def test_t5_pads_without_a_mask_and_takes_the_pooled_vector_of_clip(towers: Path) -> None:
    from transformers import AutoTokenizer, T5EncoderModel

    encoder = text.load(T5ClipText(kind="t5_clip", weights=str(towers), pieces=10), WHERE, CPU)
    network = T5EncoderModel.from_pretrained(towers / "text_encoder_2")
    splitter = AutoTokenizer.from_pretrained(towers / "tokenizer_2")
    assert encoder.width == 24
    for caption, (states, pooled) in zip(CAPTIONS, found(encoder, CAPTIONS), strict=True):
        ids = splitter(caption, padding="max_length", truncation=True, max_length=10)["input_ids"]
        with torch.no_grad():
            expected = network(torch.tensor([ids])).last_hidden_state[0].numpy()
        assert states.shape == (10, 24)
        assert np.allclose(states, expected, atol=0.05)
        assert pooled is not None
        assert np.allclose(pooled, by_hand(towers, pieces_of(caption, PLACES))[-1], atol=0.03)


# --- what is common ---


@pytest.mark.parametrize("kind", ["minilm", "clip", "t5_clip"])
def test_many_captions_go_in_chunks_in_their_order(
    towers: Path, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = {
        "minilm": MiniLmText(kind="minilm", pieces=9),
        "clip": ClipText(kind="clip", weights=str(towers), pieces=9),
        "t5_clip": T5ClipText(kind="t5_clip", weights=str(towers), pieces=9),
    }
    encoder = text.load(settings[kind], WHERE, CPU)
    captions = [" ".join(CAPTIONS[i % 6] for i in range(n % 5)) for n in range(23)]
    heard: list[int] = []
    monkeypatch.setattr(text, "CHUNK_BYTES", 7 * 9 * encoder.width * 2)
    parts = list(encoder.states(captions, 3, heard.append))
    assert sum(heard) == 23
    assert max(heard) == 3
    monkeypatch.setattr(text, "CHUNK_BYTES", 1 << 30)
    for part, whole in zip(parts, found(encoder, captions, 5), strict=True):
        assert part[0].shape == whole[0].shape
        assert np.abs(part[0].astype(np.float32) - whole[0]).max() < 0.03
        assert (part[1] is None) == (kind == "minilm")


def test_encoded_captions_keep_width_and_pooled_vector(towers: Path, tmp_path: Path) -> None:
    import pandas as pd

    states = found(clip(towers), CAPTIONS)
    with Writer(tmp_path) as writer:
        writer.rows(pd.DataFrame({"id": ["a"], "split": ["pool"], "text": [2], "lent": False, "cluster": 0}))
        writer.append({"x": np.zeros((1, 2), dtype=np.uint8)})
        writer.captions(iter(states))
    text_of = Encoded(tmp_path).text(np.arange(6))
    assert text_of.states.shape == (6, PLACES, 16)
    assert text_of.mask.sum(1).tolist() == [len(one) for one, _ in states]
    assert np.array_equal(
        text_of.pooled.numpy(), np.stack([vector for _, vector in states]).astype(np.float32)
    )


# --- what is refused ---


def test_more_pieces_than_places_are_refused(towers: Path) -> None:
    with pytest.raises(Refusal, match=rf"{WHERE}\.pieces is 77; .* has places for {PLACES} word pieces\."):
        clip(towers, 77)


def broken_json(folder: Path) -> None:
    (folder / "text_encoder/config.json").write_text("{")


def no_weights(folder: Path) -> None:
    (folder / "text_encoder/model.safetensors").unlink()


def no_splitter(folder: Path) -> None:
    for path in (folder / "tokenizer").iterdir():
        path.unlink()
    (folder / "tokenizer").rmdir()


def no_vocabulary(folder: Path) -> None:
    (folder / "tokenizer/vocab.json").unlink()


def one_tensor_less(folder: Path) -> None:
    file = folder / "text_encoder/model.safetensors"
    kept = {
        name: value for name, value in load_file(file).items() if not name.endswith("final_layer_norm.weight")
    }
    save_file(kept, file, {"format": "pt"})


def another_width(folder: Path) -> None:
    config = folder / "text_encoder/config.json"
    config.write_text(json.dumps(json.loads(config.read_text()) | {"hidden_size": 32}))


def cut_short(folder: Path) -> None:
    file = folder / "text_encoder/model.safetensors"
    file.write_bytes(file.read_bytes()[:-100])


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (broken_json, "whose text_encoder cannot be read"),
        (no_weights, "whose text_encoder cannot be read"),
        (no_splitter, "has no folder tokenizer"),
        (no_vocabulary, "whose tokenizer cannot be read"),
        (one_tensor_less, r"lacks .*final_layer_norm\.weight"),
        (another_width, r"has .* of the shape \(.*16\), which is \(.*32\) by its config\.json"),
        (cut_short, "whose text_encoder cannot be read"),
    ],
)
def test_towers_that_are_not_whole_are_refused_in_a_sentence(tmp_path: Path, spoil, words: str) -> None:
    write_clip(tmp_path, "!")
    spoil(tmp_path)
    with pytest.raises(Refusal, match=rf"^{WHERE}\.weights is .*{words}.*\.$") as refused:
        clip(tmp_path)
    assert "\n" not in str(refused.value)
