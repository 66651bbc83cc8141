"""The dial `device`."""

from typing import Any

import pytest

from alchemist.core.refusal import Refusal
from alchemist.core.settings.device import device_setting


@pytest.mark.parametrize("value", ["auto", "cpu", "cuda", "cuda:0", "cuda:13"])
def test_devices_are_named_as_torch_names_them(value: str) -> None:
    assert device_setting(value) == value


@pytest.mark.parametrize("value", ["gpu", "CUDA", "cuda:", "cpu:0", "", "cuda:0\n", 0, None, ["cpu"]])
def test_what_names_no_device_is_refused(value: Any) -> None:
    with pytest.raises(
        Refusal, match=r"device is .*; legal values are auto, cpu, cuda and cuda:0, cuda:1, …\."
    ):
        device_setting(value)
