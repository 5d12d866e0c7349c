"""A vision transformer written a second time, for one image, on the tokens that it is given.

It shares nothing with the package but the weights, read by timm's names.
"""

import torch
import torch.nn.functional as F


def embed(w, image):
    """Tokens (1 + N, width) of one image (3, H, W) in [0, 1], the class token first."""
    mean = torch.tensor([0.4914, 0.4822, 0.4465]).view(-1, 1, 1)
    std = torch.tensor([0.2023, 0.1994, 0.2010]).view(-1, 1, 1)
    weight = w["patch_embed.proj.weight"]
    patches = F.conv2d((image - mean) / std, weight, w["patch_embed.proj.bias"], weight.shape[2])
    return torch.cat([w["cls_token"][0], patches.flatten(1).T]) + w["pos_embed"][0]


def norm(w, name, x, eps=1e-6):
    centred = x - x.mean(1, keepdim=True)
    scaled = centred / (centred.square().mean(1, keepdim=True) + eps).sqrt()
    return scaled * w[f"{name}.weight"] + w[f"{name}.bias"]


def linear(w, name, x):
    return x @ w[f"{name}.weight"].T + w[f"{name}.bias"]


def gelu(x):
    return x * (1 + torch.erf(x / 2**0.5)) / 2


def block(w, number, x, heads):
    """One block on the tokens (T, width) that are there."""
    name = f"blocks.{number}"
    parts = linear(w, f"{name}.attn.qkv", norm(w, f"{name}.norm1", x)).chunk(3, 1)
    mixed = []
    for q, k, v in zip(*(part.chunk(heads, 1) for part in parts), strict=True):
        mixed.append((q @ k.T / q.shape[1] ** 0.5).softmax(1) @ v)
    x = x + linear(w, f"{name}.attn.proj", torch.cat(mixed, 1))
    hidden = gelu(linear(w, f"{name}.mlp.fc1", norm(w, f"{name}.norm2", x)))
    return x + linear(w, f"{name}.mlp.fc2", hidden)


def block_on(w, number, x, heads, present):
    """One block on the class token and the patch tokens that are present (bool, N)."""
    rows = torch.cat([torch.ones(1, dtype=torch.bool), present])
    x = x.clone()
    x[rows] = block(w, number, x[rows], heads)
    return x


def classify(w, x):
    return linear(w, "head", norm(w, "norm", x[:1]))[0]


def randomised(network, gain=1.0):
    """The network with tokens that differ, in float64: the usual first weights are too small."""
    made = network.double().eval()
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for name, value in made.named_parameters():
            noise = torch.randn(value.shape, generator=generator, dtype=value.dtype)
            if value.ndim == 1:
                value.add_(noise, alpha=0.1)
            elif name in ("cls_token", "pos_embed"):
                value.copy_(noise / 2)
            else:
                value.copy_(gain * noise / value[0].numel() ** 0.5)
    return made
