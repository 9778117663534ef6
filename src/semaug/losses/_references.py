"""Log-sum-exp of logits raised with respect to each of several reference classes.

A bound with respect to one class needs C numbers for each sample, and one with respect to
every class C x C: too many to keep. They are made a few samples at a time, and again in the
backward pass.
"""

from typing import Any

import torch
from torch import Tensor

from semaug._torch.autograd import known_signature
from semaug.covariance.rows import chunks, is_static

__all__ = ["reference_logsumexp", "used_references"]

# N samples, C classes, K reference classes, R tables.


def reference_logsumexp(logits: Tensor, raises: Tensor, position: Tensor | None) -> Tensor:
    """``log sum over j of exp(z[n, j] + raises[position[n], k, j])``.

    Args:
        logits: ``(N, C)``.
        raises: ``(R, K, C)``.
        position: ``(N,)`` int64; None is one table for all samples, R = 1.

    Returns:
        ``(N, K)``, differentiable in ``logits`` and ``raises``.
    """
    return _ReferenceLogSumExp.apply(logits, raises, position)


def _raised(logits: Tensor, raises: Tensor, position: Tensor | None) -> Tensor:
    """``(n, K, C)``."""
    own = raises if position is None else raises.index_select(0, position)
    return logits.unsqueeze(1) + own


def _parts(logits: Tensor, raises: Tensor, position: Tensor | None) -> list[tuple[int, int]]:
    return chunks(len(logits), max(raises.shape[1] * raises.shape[2], 1), logits)


def _part(position: Tensor | None, start: int, stop: int) -> Tensor | None:
    return None if position is None else position[start:stop]


class _ReferenceLogSumExp(torch.autograd.Function):
    @staticmethod
    @known_signature
    def forward(logits: Tensor, raises: Tensor, position: Tensor | None) -> Tensor:
        return torch.cat(
            [
                _raised(logits[start:stop], raises, _part(position, start, stop)).logsumexp(dim=2)
                for start, stop in _parts(logits, raises, position)
            ]
        )

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
        logits, raises, position = inputs
        ctx.with_position = position is not None
        ctx.save_for_backward(logits, raises, output, *([] if position is None else [position]))

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, Tensor, None]:
        logits, raises, output, *rest = ctx.saved_tensors
        position = rest[0] if ctx.with_position else None
        if torch.is_grad_enabled() and not torch.compiler.is_compiling():
            # The gradient is itself to be differentiated: by what autograd knows, all at once.
            softmax = _raised(logits, raises, position).softmax(dim=2)
            share = softmax * grad.unsqueeze(2)
            if position is None:
                return share.sum(dim=1), share.sum(dim=0, keepdim=True), None
            return share.sum(dim=1), torch.zeros_like(raises).index_add(0, position, share), None
        grad_raises, grad_logits = torch.zeros_like(raises), []
        for start, stop in _parts(logits, raises, position):
            own = _part(position, start, stop)
            part = _raised(logits[start:stop], raises, own)
            part = part.sub_(output[start:stop].unsqueeze(2)).exp_()
            part = part.mul_(grad[start:stop].unsqueeze(2))
            grad_logits.append(part.sum(dim=1))
            if own is None:
                grad_raises.add_(part.sum(dim=0))
            else:
                grad_raises.index_add_(0, own, part)
        return torch.cat(grad_logits), grad_raises, None


def used_references(targets: Tensor) -> Tensor | None:
    """``(K,)`` classes with a target that is not zero.

    None is all: where looking makes wait, or where targets of zero have gradients too.
    """
    if is_static(targets.device) or targets.requires_grad:
        return None
    return (targets != 0).any(dim=0).nonzero().squeeze(1)
