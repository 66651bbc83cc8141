"""The device's arithmetic, memory and clock, on what every machine has."""

import re
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import torch
from conftest import CPU
from torch.utils.flop_counter import FlopCounterMode

from alchemist.core import devices
from alchemist.core.refusal import Refusal

META = torch.device("meta")


def test_auto_takes_a_gpu_where_there_is_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert devices.chosen("auto") == devices.chosen("cpu") == CPU
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch, "empty", lambda *shape, device: None)
    assert devices.chosen("auto") == torch.device("cuda")


@pytest.mark.parametrize("asked", ["gpu", "cuda:99"])
def test_a_device_that_is_not_here_is_one_sentence(asked: str) -> None:
    with pytest.raises(
        Refusal, match=f"device is '{asked}', which cannot be used here: .*auto takes"
    ) as told:
        devices.chosen(asked)
    assert "\n" not in str(told.value)
    assert str(told.value).endswith("cpu is always legal.")


def test_denormal_numbers_are_flushed_once_a_cpu_is_chosen() -> None:
    """In a process of its own: the switch holds for the whole process."""
    code = (
        "import torch; from alchemist.core import devices; tiny = torch.tensor(1e-38)\n"
        "before = float(tiny * 1e-2); devices.chosen('cpu'); print(before > 0, float(tiny * 1e-2))"
    )
    told = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert told.split() == ["True", "0.0"] or not torch.set_flush_denormal(False)


@pytest.mark.parametrize(("precision", "dtype"), [("bf16", torch.bfloat16), ("fp32", torch.float32)])
def test_products_have_the_asked_precision(precision: devices.Precision, dtype: torch.dtype) -> None:
    a = torch.ones(2, 2)
    with devices.autocast(precision, CPU):
        assert (a @ a).dtype == dtype


@pytest.mark.parametrize(
    ("processor", "dtype"),
    [
        ("vendor_id : GenuineIntel flags : avx512f avx512_bf16 amx_bf16 amx_tile", torch.bfloat16),
        ("vendor_id : AuthenticAMD flags : avx512f avx512_bf16", torch.bfloat16),
        ("vendor_id : GenuineIntel flags : avx512f avx512_bf16", torch.float32),  # twice float32's time
        ("vendor_id : GenuineIntel flags : avx512f avx512_vnni", torch.float32),
        ("vendor_id : AuthenticAMD flags : avx2", torch.float32),
        ("", torch.float32),
    ],
)
def test_auto_takes_bfloat16_where_it_is_fast(
    monkeypatch: pytest.MonkeyPatch, processor: str, dtype: torch.dtype
) -> None:
    monkeypatch.setattr(devices, "_processor", lambda: processor)
    assert devices.fast_dtype(CPU) == dtype
    with devices.autocast("auto", CPU):
        assert (torch.ones(2, 2) @ torch.ones(2, 2)).dtype == dtype


def test_float32_holds_inside_an_outer_autocast() -> None:
    with devices.autocast("bf16", CPU), devices.autocast("fp32", CPU):
        assert (torch.ones(2, 2) @ torch.ones(2, 2)).dtype == torch.float32


def test_a_device_without_autocasting_computes_in_float32() -> None:
    for precision in ("auto", "bf16", "fp32"):
        with devices.autocast(precision, META):
            assert (torch.ones(2, 2, device=META) @ torch.ones(2, 2, device=META)).dtype == torch.float32


def test_plain_operations_are_known_in_every_thread_until_the_last_of_them_ends() -> None:
    """A backward pass may run in a thread of its own, and what fails ends it too."""
    with ThreadPoolExecutor(1) as other:
        assert not devices.plain()
        with devices.plain_operations():
            with pytest.raises(ZeroDivisionError), devices.plain_operations():
                assert 1 / 0
            assert devices.plain()
            assert other.submit(devices.plain).result()
        assert not devices.plain()
        assert not other.submit(devices.plain).result()


@pytest.mark.parametrize("bias", [True, False])
def test_passes_without_a_gradient_have_the_values_of_any_other(
    bias: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On whatever CPU; and a layer that learns, or computes in another type, is left alone."""
    rng = torch.Generator().manual_seed(0)
    layer, x = torch.nn.Linear(96, 64, bias=bias), torch.randn(5, 7, 96, generator=rng)
    for told in ("vendor_id : GenuineIntel", "vendor_id : AuthenticAMD"):
        monkeypatch.setattr(devices, "_processor", lambda told=told: told)
        with devices.passes(CPU):
            with torch.no_grad():
                torch.testing.assert_close(layer(x), x @ layer.weight.T + (layer.bias if bias else 0))
                torch.testing.assert_close(layer(x)[:1], layer(x[:1]), rtol=0, atol=1e-6)
                with devices.autocast("bf16", CPU):
                    assert layer(x).dtype == torch.bfloat16
                assert layer.double()(x.double()).dtype == torch.float64
            layer.float()(x).sum().backward()
            assert layer.weight.grad is not None


def test_a_network_lies_where_its_parameters_or_buffers_do() -> None:
    buffered = torch.nn.Module()
    buffered.register_buffer("b", torch.zeros(1, device=META))
    assert devices.of(torch.nn.Linear(1, 1, device=META)) == devices.of(buffered) == META
    assert devices.of(torch.nn.Linear(1, 1)) == devices.of(torch.nn.Identity()) == CPU


def test_arrays_go_to_a_device_and_come_back() -> None:
    array = np.arange(6, dtype=np.float32).reshape(2, 3)
    assert np.array_equal(devices.host(devices.put(array, CPU).requires_grad_()), array)
    assert devices.put(array[:, ::-1], CPU).tolist() == array[:, ::-1].tolist()
    assert devices.put(array, META).device == META
    assert np.shares_memory(devices.put(array, CPU).numpy(), array), "on the CPU without a copy"


def test_a_clock_counts_seconds_since_its_start() -> None:
    elapsed = devices.clock(CPU)
    time.sleep(0.02)
    first = elapsed()
    assert 0.02 <= first < 5
    assert elapsed() > first


def test_a_clock_waits_for_the_device_at_both_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    waited: list[torch.device] = []
    monkeypatch.setattr(torch.cuda, "synchronize", waited.append)
    card = torch.device("cuda:1")
    elapsed = devices.clock(card)
    assert waited == [card]
    elapsed()
    assert waited == [card] * 2
    devices.clock(CPU)()
    assert len(waited) == 2


def test_memory_is_counted_in_bytes() -> None:
    """Beside the kernel's own account of this process, in kB."""
    told = re.search(r"VmHWM:\s+(\d+) kB", Path("/proc/self/status").read_text())
    assert told is not None
    assert devices.peak_memory(CPU) == pytest.approx(1024 * int(told[1]), rel=0.05)


def test_the_hardware_is_named_with_its_cores_and_vectors() -> None:
    assert re.fullmatch(r".+, \d+ cores, \w+", devices.hardware(CPU))


def test_the_counter_of_flops_knows_every_linear_layer() -> None:
    """Whatever library takes it: 2 N C D, or a faster step would be billed as a cheaper one."""
    x, weight, bias = torch.randn(3, 5, 8), torch.randn(7, 8), torch.randn(7)
    with FlopCounterMode(display=False) as plain:
        devices.linear(x, weight, bias)
    with FlopCounterMode(display=False) as short:
        devices.linear(x.bfloat16(), weight.bfloat16(), bias.bfloat16(), relu=True)
    with FlopCounterMode(display=False) as passing, torch.no_grad(), devices.passes(torch.device("cpu")):
        torch.nn.functional.linear(x, weight, bias)
    assert plain.get_total_flops() == short.get_total_flops() == passing.get_total_flops() == 2 * 15 * 8 * 7
