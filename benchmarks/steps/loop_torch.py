"""The plain PyTorch loop: `nn` modules and `torch.optim.Adam`, without Keras."""

import time

import numpy as np
import torch
from networks import CLASSES, Epoch, Job, Network
from torch import nn
from torch.nn.functional import cross_entropy


class Mean(nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x.flatten(2).mean(dim=2)


def build(network: Network) -> nn.Module:
    channels, space, modules = network.shape[-1], len(network.shape) - 1, []
    for kind, *sizes in network.layers:
        if kind == "dense":
            modules += [nn.Linear(channels, sizes[0]), nn.ReLU()]
        elif kind == "conv":
            modules += [(nn.Conv1d, nn.Conv2d)[space - 1](channels, *sizes), nn.ReLU()]
        elif kind == "pool":
            modules.append((nn.MaxPool1d, nn.MaxPool2d)[space - 1](2))
        else:
            modules.append(Mean())
        channels = sizes[0] if sizes else channels
    model = nn.Sequential(*modules, nn.Linear(channels, CLASSES))
    with torch.no_grad():
        for parameter, given in zip(model.parameters(), network.weights(), strict=True):
            # Keras has (*window, in, out), torch (out, in, *window).
            axes = (given.ndim - 1, given.ndim - 2, *range(given.ndim - 2)) if given.ndim > 1 else (0,)
            parameter.copy_(torch.from_numpy(np.ascontiguousarray(given.transpose(axes))))
    return model


def loop(job: Job) -> Epoch:
    model = build(job.network)
    made = {
        "adam": lambda given: torch.optim.Adam(given, 1e-3, eps=1e-7),
        "sgd": lambda given: torch.optim.SGD(given, 1e-3),
    }
    optimizer = made[job.optimizer](model.parameters())
    x = torch.from_numpy(np.ascontiguousarray(np.moveaxis(job.x, -1, 1)))  # channels first, as torch has them
    y = torch.from_numpy(job.y.astype("int64"))

    def epoch(count: int, shuffle: bool) -> tuple[float, float]:
        start = time.perf_counter()
        total, hits, seen = torch.zeros(()), torch.zeros(()), 0
        batches = torch.from_numpy(job.batches(count, shuffle))
        shares = torch.from_numpy(job.shares(len(batches))) if job.mixup else [None] * len(batches)
        for chosen, share in zip(batches, shares, strict=True):
            given, labels = x[chosen], y[chosen]
            optimizer.zero_grad()
            if share is None:
                loss = cross_entropy(model(given), labels)
            else:
                logits = model(share * given + (1 - share) * given.flip(0))
                loss = share * cross_entropy(logits, labels) + (1 - share) * cross_entropy(logits, labels.flip(0))
                hits += (logits.argmax(dim=1) == labels).sum()
            loss.backward()
            optimizer.step()
            total += loss.detach()
            seen += 1
        mean = float(total) / seen
        return time.perf_counter() - start, mean

    return epoch
