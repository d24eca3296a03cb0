"""Sigmoid losses on torch by hand, with the gradient in closed form and as few passes over the scores as possible.

The gradient is computed together with the value, in memory that is used again. With p the sigmoid of z, q = 1 - p:
    d(q^2 log p)/dz = q^2 (q - 2 p log p),    d(p^2 log q)/dz = p^2 (2 q log q - p),
and with s = max(p - 0.05, 0):
    d(q log p)/dz = q (q - p log p),    d(s^4 log(1 - s))/dz = p q s^3 (4 log(1 - s) - s / (1 - s)).
"""

from typing import Any

import torch
from torch.nn.functional import logsigmoid

__all__ = ["asymmetric", "binary_sum", "focal_sum"]


class _Sum(torch.autograd.Function):
    """The values and slopes of a function of logits and constants; only the logits have a gradient."""

    @staticmethod
    def forward(ctx: Any, compute: Any, z: Any, *constants: Any) -> Any:
        bounded = z.nan_to_num(nan=float("nan"), posinf=1e30, neginf=-1e30)
        values, slope = compute(bounded, *constants)
        ctx.save_for_backward(slope)
        return values

    @staticmethod
    def backward(ctx: Any, upstream: Any) -> Any:
        (slope,) = ctx.saved_tensors
        return None, slope.mul_(upstream[:, None]), None, None


def focal_sum(z: Any, present: Any, absent: Any) -> Any:
    return _Sum.apply(_focal, z, present, absent)


def binary_sum(z: Any, present: Any, absent: Any) -> Any:
    return _Sum.apply(_binary, z, present, absent)


def asymmetric(z: Any, y: Any) -> Any:
    return _Sum.apply(_asymmetric, z, y, 1 - y)


def _focal(z: Any, present: Any, absent: Any) -> Any:
    log_p, log_q = logsigmoid(z), logsigmoid(-z)
    p, q = log_p.exp(), log_q.exp()
    hit, miss = (q * q).mul_(present), (p * p).mul_(absent)
    values = (hit * log_p).addcmul_(miss, log_q).sum(-1).neg_()
    slope = log_q.mul_(q).mul_(2).sub_(p).mul_(miss)
    return values, log_p.mul_(p).mul_(2).sub_(q).mul_(hit).sub_(slope)


def _binary(z: Any, present: Any, absent: Any) -> Any:
    log_p, log_q = logsigmoid(z), logsigmoid(-z)
    values = (present * log_p).addcmul_(absent, log_q).sum(-1).neg_()
    return values, log_p.exp_().mul_(absent).sub_(log_q.exp_().mul_(present))


def _asymmetric(z: Any, present: Any, absent: Any) -> Any:
    log_p = logsigmoid(z)
    p, q = log_p.exp(), torch.sigmoid(-z)
    shifted = (p - 0.05).relu_()
    cube, log_rest = (shifted * shifted).mul_(shifted), (-shifted).log1p_()
    hit, miss = q * present, cube * absent
    values = (hit * log_p).add_((miss * shifted).mul_(log_rest)).sum(-1).neg_()
    slope = log_rest.mul_(4).sub_(shifted.div_(1 - shifted)).mul_(miss).mul_(p).mul_(q)
    return values, log_p.mul_(p).sub_(q).mul_(hit).sub_(slope)
