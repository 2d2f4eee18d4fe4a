"""torchvision, importable whatever torch it is installed beside.

The Linux wheel of torchvision on PyPI is a CUDA build. Beside a CPU-only torch its C++ library does not load, and
`import torchvision` then stops at the first operator that it wants to describe: "operator torchvision::nms does not
exist". Models and transforms need none of these operators, so declaring the two schemas (without an implementation)
is enough. Where the C++ library does load, nothing is declared.

    from captionrl.features.torchvision_cpu import torchvision
"""

import torch

try:
    import torchvision
except RuntimeError as error:
    if "torchvision::nms does not exist" not in str(error):
        raise
    # Schemas live as long as their Library object does, hence the module-level name.
    _schemas = torch.library.Library("torchvision", "FRAGMENT")
    for _name in ("nms", "qnms"):
        _schemas.define(f"{_name}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
    import torchvision

__all__ = ["torchvision"]
