"""Log-sum-exp of logits raised with respect to each of several reference classes.

A bound with respect to one class needs C numbers for each sample, and one with respect to
every class C x C: too many to keep. They are made a few samples at a time, and again in the
backward pass. Where all samples have the same table of raises r, a matrix product makes all sums
from N C + K C exponentials,

    sum over j of exp(z[n, j] + r[k, j]) = exp(m_n + h_k) (exp(z - m) exp(r - h)^T)[n, k]

with m and h the largest of their rows, unless numbers of that range would vanish.
"""

from typing import Any

import torch
from torch import Tensor

from semaug._torch.autograd import known_signature
from semaug.covariance.rows import chunks, is_static

__all__ = ["product_logsumexp", "reference_logsumexp", "used_references"]

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


# In float64, exp(-m - h) of what is left out is below the rounding of what is not.
LARGEST_RAISE = 300.0


def product_logsumexp(logits: Tensor, raises: Tensor) -> Tensor:
    """:func:`reference_logsumexp` of one table, by a matrix product where that is as exact.

    To know whether it is, values are looked at, so only on a CPU.

    Args:
        logits: ``(N, C)``.
        raises: ``(K, C)``, none negative.

    Returns:
        ``(N, K)``, as above.
    """
    looking = not is_static(logits.device) and logits.numel() > 0 and raises.numel() > 0
    if looking and raises.amax() <= LARGEST_RAISE and logits.amax(dim=1).isfinite().all():
        return _ProductLogSumExp.apply(logits, raises)
    return reference_logsumexp(logits, raises.unsqueeze(0), None)


def _scaled(rows: Tensor) -> tuple[Tensor, Tensor]:
    """Exponentials over the largest of each row, in float64, and its logarithm ``(rows, 1)``."""
    rows = rows.double()
    largest = rows.amax(dim=1, keepdim=True)
    return (rows - largest).exp_(), largest


class _ProductLogSumExp(torch.autograd.Function):
    @staticmethod
    @known_signature
    def forward(logits: Tensor, raises: Tensor) -> Tensor:
        own, largest = _scaled(logits)
        sums = []
        for start, stop in chunks(len(raises), raises.shape[1], raises):
            part, highest = _scaled(raises[start:stop])
            sums.append((own @ part.T).log_().add_(highest.T))
        return torch.cat(sums, dim=1).add_(largest).to(logits.dtype)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Tensor, Tensor], output: Tensor) -> None:
        ctx.save_for_backward(*inputs, output)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, Tensor]:
        logits, raises, output = ctx.saved_tensors
        if torch.is_grad_enabled():  # as in the other one
            share = _raised(logits, raises.unsqueeze(0), None).softmax(dim=2) * grad.unsqueeze(2)
            return share.sum(dim=1), share.sum(dim=0)
        own, largest = _scaled(logits)
        grad_logits, grad_raises = torch.zeros_like(own), []
        for start, stop in chunks(len(raises), raises.shape[1], raises):
            part, highest = _scaled(raises[start:stop])
            scale = (largest + highest.T - output[:, start:stop]).exp_().mul_(grad[:, start:stop])
            grad_logits.addmm_(scale, part)
            grad_raises.append((scale.T @ own).mul_(part).to(raises.dtype))
        return grad_logits.mul_(own).to(logits.dtype), torch.cat(grad_raises)


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
