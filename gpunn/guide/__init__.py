"""How to use gpunn, by examples.

.. include:: guide.md
"""

__all__ = [
    "first_network", "tensors", "own_layer", "own_kernel", "arrays", "from_pytorch", "from_chainer", "several_gpus",
    "differences",
]  # fmt: skip
