"""torchvision, also beside a torch that has no operators of torchvision (a CPU-only torch).

    from recipe_core.training.vision import torchvision

Everything that needs torchvision imports it from here. Beside such a torch `ops.nms` and `io.decode_image` stay
unusable.
"""

import torch


def _import_torchvision():
    try:
        import torchvision
    except RuntimeError as error:
        if "torchvision::nms" not in str(error):
            raise
        # Its import looks these two up only to register what they do on other devices; declaring them is enough.
        torch.library.define("torchvision::nms", "(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
        torch.library.define("torchvision::qnms", "(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
        import torchvision
    return torchvision


torchvision = _import_torchvision()
