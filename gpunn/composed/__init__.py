"""Functions of ``gpunn.nn.functional`` that other ops say completely: they have no primitives and no kernels.

They run on every device, and captured, because what they are made of does.
"""
