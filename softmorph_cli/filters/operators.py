"""The filters as a torch operator, which is an opaque node in the graph of `torch.compile`.

Operators take tensors and text, so a filter is passed as a JSON text, its recipe. The backward pass repeats the filter
to compute the gradient, because an operator's backward function only gets the arguments of the forward function.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext
from dataclasses import replace
from functools import cache
from typing import Any

import torch
from torch import Tensor

from softmorph_cli.filters.filter import SoftFilter
from softmorph_cli.filters.operations import from_json


def recipe(chosen: SoftFilter) -> str:
    """Return the recipe of a filter: the JSON text that `follow` makes the filter from."""
    return json.dumps(chosen.as_json())


@cache
def follow(text: str) -> Callable[[Tensor], Tensor]:
    """Return the filter of a recipe as a function of tensors (B, C, [D,] H, W)."""
    chosen = from_json(json.loads(text))
    assert isinstance(chosen, SoftFilter)

    def run(batch: Tensor) -> Tensor:
        image: Tensor = replace(chosen, spatial_dims=batch.ndim - 2)(batch).image
        return image

    return run


def apply(batch: Tensor, text: str) -> Tensor:
    """Return the batch filtered by a recipe (`text`); `torch.compile` sees a single operator."""
    if torch.compiler.is_compiling():
        result: Tensor = torch.ops.softmorph.filter(batch, text)
        return result
    return follow(text)(batch)


@torch.library.custom_op("softmorph::filter", mutates_args=())
def _filter(batch: Tensor, text: str) -> Tensor:
    return follow(text)(batch.detach()).contiguous()


@torch.library.custom_op("softmorph::filter_backward", mutates_args=())
def _filter_backward(gradient: Tensor, batch: Tensor, text: str) -> Tensor:
    def again() -> Tensor:
        with torch.cuda.stream(stream) if stream is not None else nullcontext():
            start = batch.detach().requires_grad_()
            (found,) = torch.autograd.grad(follow(text)(start), start, gradient)
        return found.contiguous()

    stream = torch.cuda.current_stream(batch.device) if batch.is_cuda else None
    # Within an operator autograd is disabled for the current thread and cannot be enabled.
    with ThreadPoolExecutor(1) as pool:
        return pool.submit(again).result()


@_filter.register_fake
def _(batch: Tensor, text: str) -> Tensor:
    return torch.empty_like(batch, memory_format=torch.contiguous_format)


@_filter_backward.register_fake
def _(gradient: Tensor, batch: Tensor, text: str) -> Tensor:
    return torch.empty_like(batch, memory_format=torch.contiguous_format)


def _save_inputs(ctx: Any, inputs: tuple[Tensor, str], output: Tensor) -> None:
    batch, ctx.text = inputs
    ctx.save_for_backward(batch)


def _backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:
    (batch,) = ctx.saved_tensors
    return torch.ops.softmorph.filter_backward(gradient, batch, ctx.text), None


_filter.register_autograd(_backward, setup_context=_save_inputs)
