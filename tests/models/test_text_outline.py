"""Text encoders of the published sizes: parameters as published, operations by a second count."""

from pathlib import Path
from typing import Any

import pytest

from alchemist.core.settings.text import ClipText, MiniLmText, T5ClipText
from alchemist.models import text_outline
from alchemist.models.outline import Fixed


def operations(layers: int, width: int, weights: int, pieces: int, heads_width: int | None = None) -> int:
    """2 N a word piece for the N weights of products, and two products of L x L a layer."""
    return layers * (2 * weights * pieces + 4 * pieces**2 * (heads_width or width))


def block(width: int) -> int:
    return 12 * width * width  # q, k, v, out, and a feed-forward of four widths


@pytest.mark.parametrize(
    ("found", "parameters", "bytes_each", "flops", "width"),
    [
        (text_outline.minilm, 22_713_216, 4, operations(6, 384, block(384), 32), 384),
        (lambda n: text_outline.clip("no/no", "t", text_outline.CLIP_L, n), 123_060_480, 4,
         operations(12, 768, block(768), 77), 768),
        (lambda n: text_outline.clip("no/no", "t", text_outline.CLIP_SD21, n), 340_387_840, 4,
         operations(23, 1024, block(1024), 77), 1024),
        (lambda n: text_outline.t5("no/no", "t", n), 4_762_310_656, 2,
         operations(24, 4096, 4 * 4096**2 + 3 * 4096 * 10240, 256), 4096),
    ],
)  # fmt: skip
def test_towers_have_the_published_parameters_and_two_operations_a_weight_and_piece(
    found: Any, parameters: int, bytes_each: int, flops: int, width: int
) -> None:
    pieces = {384: 32, 4096: 256}.get(width, 77)
    tower: Fixed = found(pieces)
    assert tower.parameters == parameters
    assert tower.weight_bytes == bytes_each * parameters
    assert tower.flops == pytest.approx(flops, rel=2e-3)
    assert tower.width == width
    assert tower.alive >= pieces * width * bytes_each, "at least the states"


def test_blocks_say_which_towers_a_caption_passes(tmp_path: Path) -> None:
    """By the config beside the weights where there is one."""
    from transformers import CLIPTextConfig

    CLIPTextConfig(
        hidden_size=64, intermediate_size=128, num_hidden_layers=2, num_attention_heads=2
    ).save_pretrained(tmp_path / "text_encoder")
    [small] = text_outline.towers(ClipText(kind="clip", weights=str(tmp_path)))
    assert (small.width, small.parameters < 5e6) == (64, True)
    [plain] = text_outline.towers(MiniLmText(kind="minilm"))
    assert plain.width == 384
    pooled, states = text_outline.towers(T5ClipText(kind="t5_clip", weights="no/no", pieces=16))
    assert (pooled.width, states.width) == (768, 4096)
