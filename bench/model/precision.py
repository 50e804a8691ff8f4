"""Number formats: the fastest one on this machine, and its autocast."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext

import torch

from bench.errors import UserError, choice

PRECISIONS = ("auto", "bf16", "fp16", "fp32")


def resolve_device(name: str) -> torch.device:
    """The device that ``device=auto|cpu|cuda[:n]|mps`` means here. Raises :class:`UserError` without it."""
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
    except RuntimeError:
        raise UserError(f"device={name} is not a device; use auto, cpu or cuda") from None
    if device.type not in ("cpu", "cuda"):
        raise UserError(f"device={name} is not supported; use auto, cpu or cuda")
    if device.type == "cuda" and not torch.cuda.is_available():
        raise UserError(f"device={name}, but torch finds no CUDA GPU here; use device=cpu or device=auto")
    return device


def resolve_precision(name: str, device: torch.device) -> str:
    """``bf16`` where matrix products in it are fast (Hopper-like GPUs, AVX512-BF16 and AMX CPUs), else ``fp32``.

    A ``name`` other than ``auto`` is taken. Raises :class:`UserError` for one that is no number format.
    """
    choice("precision", name, PRECISIONS)
    if name != "auto":
        return name
    if device.type == "cuda":
        return "bf16" if torch.cuda.is_bf16_supported(including_emulation=False) else "fp32"
    if device.type == "cpu":
        capability = torch.backends.cpu.get_cpu_capability()
        fast = "AVX512" in capability and torch.cpu._is_avx512_bf16_supported()
        return "bf16" if fast or torch.cpu._is_amx_tile_supported() else "fp32"
    return "fp32"


def autocast(precision: str, device: torch.device) -> AbstractContextManager[object]:
    """Mixed precision within the block: weights stay float32, matrix products run in ``precision``."""
    if precision == "fp32":
        return nullcontext()
    dtype = torch.bfloat16 if precision == "bf16" else torch.float16
    return torch.autocast(device.type, dtype=dtype)


def current_dtype(device: torch.device) -> torch.dtype:
    """The number format of matrix products under the present autocast."""
    return torch.get_autocast_dtype(device.type) if torch.is_autocast_enabled(device.type) else torch.float32
