"""How a convolutional stream and a Transformer's stream meet: T-CFAF and CMHGF of the heterogeneous network."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor, nn

Maps = Float[Tensor, "b c x y"]


class ChannelAttention(nn.Module):
    """Squeeze and excitation: every channel times a gate between 0 and 1 that all channels' means decide."""

    def __init__(self, channels: int, *, ratio: int = 8) -> None:
        super().__init__()
        self.squeeze = nn.Conv2d(channels, channels // ratio, 1)
        self.excite = nn.Conv2d(channels // ratio, channels, 1)

    def forward(self, x: Maps) -> Maps:
        means = x.mean(dim=(2, 3), keepdim=True)
        gate: Tensor = self.excite(torch.relu(self.squeeze(means))).sigmoid()
        return x * gate


class CrossAttention(nn.Module):
    """The convolutional stream attends to itself; the fused maps decide where it looks.

    Queries and values are of the convolutional stream, keys of the fused maps; energies are not scaled. What is
    found is normalised with a scale that starts at 0: an untrained block is the identity.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        inner = channels // 2
        self.query = nn.Conv2d(channels, inner, 1)
        self.key = nn.Conv2d(channels, inner, 1)
        self.value = nn.Conv2d(channels, inner, 1)
        self.output = nn.Conv2d(inner, channels, 1)
        self.norm = nn.BatchNorm2d(channels)
        nn.init.zeros_(self.norm.weight)

    def forward(self, convolutional: Maps, fused: Maps) -> Maps:
        query, key = self.query(convolutional).flatten(2), self.key(fused).flatten(2)
        value = self.value(convolutional).flatten(2)
        energy = query.transpose(1, 2) @ key
        found = value @ energy.float().softmax(dim=-1).to(value.dtype).transpose(1, 2)
        return convolutional + self.norm(self.output(found.unflatten(2, convolutional.shape[2:])))


class FeatureAlignment(nn.Module):
    """Both streams, concatenated and narrowed to one's width; T-CFAF where both kinds of attention take part.

    `channel`: channel attention before `narrow`. `cross`: cross attention after it, which keeps the convolutional
    stream; without it what was narrowed is added to that stream.
    """

    def __init__(self, channels: int, narrow: nn.Module, *, channel: bool, cross: bool) -> None:
        super().__init__()
        self.channel_attention = ChannelAttention(2 * channels) if channel else None
        self.narrow = narrow
        self.cross_attention = CrossAttention(channels) if cross else None

    def forward(self, convolutional: Maps, transformed: Maps) -> Maps:
        both = torch.cat([convolutional, transformed], dim=1)
        if self.channel_attention is not None:
            both = self.channel_attention(both)
        fused: Tensor = self.narrow(both)
        if self.cross_attention is None:
            return convolutional + fused
        aligned: Tensor = self.cross_attention(convolutional, fused)
        return aligned


class GraphReasoning(nn.Module):
    """Every position is a node: a map between nodes, added to its input, ReLU, and a second map between nodes."""

    def __init__(self, nodes: int) -> None:
        super().__init__()
        self.first = nn.Linear(nodes, nodes)
        self.second = nn.Linear(nodes, nodes)

    def forward(self, x: Float[Tensor, "b c n"]) -> Float[Tensor, "b c n"]:
        reasoned: Tensor = self.second(torch.relu(x + self.first(x)))
        return reasoned


class GraphFusion(nn.Module):
    """CMHGF: what the convolutional stream's graph asks, the Transformer's graph answers.

    Both graphs are projected to half as many nodes; the one's attend to the other's, energies not scaled. The answer,
    the asking graph times a learned `scale` a node that starts at 0, and the convolutional stream are added up.
    """

    def __init__(self, nodes: int) -> None:
        super().__init__()
        half = nodes // 2
        self.convolutional = GraphReasoning(nodes)
        self.transformed = GraphReasoning(nodes)
        self.query = nn.Linear(nodes, half)
        self.key = nn.Linear(nodes, half)
        self.value = nn.Linear(nodes, half)
        self.output = nn.Linear(half, nodes)
        self.scale = nn.Parameter(torch.zeros(nodes))

    def forward(self, convolutional: Maps, transformed: Maps) -> Maps:
        asking = self.convolutional(convolutional.flatten(2))
        answering = self.transformed(transformed.flatten(2))
        query, key, value = (
            _reinterpreted(projected)
            for projected in (self.query(asking), self.key(answering), self.value(answering))
        )
        energy = query.transpose(1, 2) @ key
        answer = self.output(value @ energy.float().softmax(dim=-1).to(value.dtype).transpose(1, 2))
        return convolutional + (self.scale * asking + answer).unflatten(2, convolutional.shape[2:])


def _reinterpreted(x: Float[Tensor, "b c h"]) -> Float[Tensor, "b c h"]:
    """The numbers in the order of nodes, then channels, read as channels, then nodes.

    This mixes the two. The published network does so, probably by mistake: the printed scores are of it.
    """
    return x.transpose(1, 2).reshape(x.shape)
