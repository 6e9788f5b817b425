"""ResNet-50 and ViT-B/16 for 224 pixels, to count what training them costs; timm has them for training.

Their parameters and operations are published, which is what holds these definitions (tests).
"""

import torch
from torch import Tensor, nn
from torch.nn.functional import scaled_dot_product_attention

N_CLASSES = 1000


class Bottleneck(nn.Module):
    """relu(x + BN(W_3 relu(BN(W_2 relu(BN(W_1 x)))))), of sizes 1, 3, 1; the stride is that of the second.

    Args:
        n_in: channels of the input.
        width: of the middle; the output has four times as many.
        stride: 1 or 2.
    """

    def __init__(self, n_in: int, width: int, stride: int) -> None:
        super().__init__()
        n_out = 4 * width
        self.body = nn.Sequential(
            nn.Conv2d(n_in, width, 1, bias=False),
            nn.BatchNorm2d(width),
            nn.ReLU(inplace=True),
            nn.Conv2d(width, width, 3, stride, 1, bias=False),
            nn.BatchNorm2d(width),
            nn.ReLU(inplace=True),
            nn.Conv2d(width, n_out, 1, bias=False),
            nn.BatchNorm2d(n_out),
        )
        self.short: nn.Module = nn.Identity()
        if stride != 1 or n_in != n_out:
            self.short = nn.Sequential(nn.Conv2d(n_in, n_out, 1, stride, bias=False), nn.BatchNorm2d(n_out))

    def forward(self, x: Tensor) -> Tensor:
        """Apply it.

        Args:
            x: (B, n_in, H, W).

        Returns:
            (B, 4 width, H / stride, W / stride).
        """
        return torch.relu(self.body(x) + self.short(x))


def resnet(n_blocks: tuple[int, int, int, int] = (3, 4, 6, 3)) -> nn.Module:
    """A residual network of bottlenecks (He et al., "Deep residual learning", CVPR 2016).

    Args:
        n_blocks: of each stage; (3, 4, 6, 3) is ResNet-50, (3, 8, 36, 3) ResNet-152.

    Returns:
        (B, 3, 224, 224) -> (B, 1000).
    """
    layers: list[nn.Module] = [nn.Conv2d(3, 64, 7, 2, 3, bias=False), nn.BatchNorm2d(64), nn.ReLU(inplace=True)]
    layers.append(nn.MaxPool2d(3, 2, 1))
    n_in = 64
    for stage, n in enumerate(n_blocks):
        width = 64 << stage
        for k in range(n):
            stride = 2 if stage > 0 and k == 0 else 1
            layers.append(Bottleneck(n_in, width, stride))
            n_in = 4 * width
    layers += [nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(n_in, N_CLASSES)]
    return nn.Sequential(*layers)


class Block(nn.Module):
    """x + A(LN(x)), then x + M(LN(x)): self-attention A and a perceptron M of four times the width.

    Args:
        width: of a token.
        n_heads: of the attention.
    """

    def __init__(self, width: int, n_heads: int) -> None:
        super().__init__()
        self.n_heads = n_heads
        self.before = nn.LayerNorm(width)
        self.qkv = nn.Linear(width, 3 * width)
        self.out = nn.Linear(width, width)
        self.mlp = nn.Sequential(
            nn.LayerNorm(width), nn.Linear(width, 4 * width), nn.GELU(), nn.Linear(4 * width, width)
        )

    def forward(self, x: Tensor) -> Tensor:
        """Apply it.

        Args:
            x: (B, T, width).

        Returns:
            (B, T, width).
        """
        b, t, width = x.shape
        qkv = self.qkv(self.before(x)).view(b, t, 3, self.n_heads, width // self.n_heads)
        q, k, v = qkv.permute(2, 0, 3, 1, 4)
        attended = scaled_dot_product_attention(q, k, v).transpose(1, 2).reshape(b, t, width)
        x = x + self.out(attended)
        return x + self.mlp(x)


class ViT(nn.Module):
    """A vision transformer (Dosovitskiy et al., "An image is worth 16x16 words", ICLR 2021); its defaults are ViT-B/16.

    Args:
        side: pixels of an image.
        patch: pixels of a patch.
        width: of a token.
        depth: blocks.
        n_heads: of each attention.
    """

    def __init__(self, side: int = 224, patch: int = 16, width: int = 768, depth: int = 12, n_heads: int = 12) -> None:
        super().__init__()
        self.patches = nn.Conv2d(3, width, patch, patch)
        self.token = nn.Parameter(torch.zeros(1, 1, width))
        self.places = nn.Parameter(torch.zeros(1, (side // patch) ** 2 + 1, width))
        self.blocks = nn.Sequential(*(Block(width, n_heads) for _ in range(depth)))
        self.norm = nn.LayerNorm(width)
        self.head = nn.Linear(width, N_CLASSES)

    def forward(self, x: Tensor) -> Tensor:
        """Logits.

        Args:
            x: (B, 3, side, side).

        Returns:
            (B, 1000).
        """
        tokens = self.patches(x).flatten(2).transpose(1, 2)
        tokens = torch.cat([self.token.expand(len(x), -1, -1), tokens], 1) + self.places
        return self.head(self.norm(self.blocks(tokens))[:, 0])
