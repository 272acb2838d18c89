"""Train a small network on a synthetic set, and validate it on walks that it has not seen.

python examples/train_on_set.py run/set --epochs 5
"""

from __future__ import annotations

import argparse

import torch
from torch import nn

import latentpath


def main() -> None:
    """Train, and print the accuracy on the walks for validation."""
    parser = argparse.ArgumentParser(description="Train a classifier on a synthetic set.")
    parser.add_argument("set", help="a set that latentpath wrote")
    parser.add_argument("--epochs", type=int, default=5)
    given = parser.parse_args()

    torch.manual_seed(0)
    train, val = (latentpath.load_set(given.set, split) for split in ("train", "val"))
    channels, classes = train[0].image.shape[0], len(train.class_names)
    net = nn.Sequential(
        nn.Conv2d(channels, 16, 3, stride=2, padding=1),
        nn.ReLU(),
        nn.Conv2d(16, 32, 3, stride=2, padding=1),
        nn.ReLU(),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(32, classes),
    )
    optimizer = torch.optim.Adam(net.parameters(), 1e-3)
    for epoch in range(given.epochs):
        for images, labels, _, _ in torch.utils.data.DataLoader(train, 64, shuffle=True):
            optimizer.zero_grad()
            nn.functional.cross_entropy(net(images), labels).backward()
            optimizer.step()
        right = sum(
            int((net(images).argmax(1) == labels).sum())
            for images, labels, _, _ in torch.utils.data.DataLoader(val, 64)
        )
        print(f"epoch {epoch}: {right / len(val):.1%} of {len(val)} images of other walks")


if __name__ == "__main__":
    main()
