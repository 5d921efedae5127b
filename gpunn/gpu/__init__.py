"""The kernel wing: compiling and launching kernels, on a GPU or on the emulator.

``launcher`` checks every launch against the signature in the ``.cu`` file; ``loaders`` hands it to CUDA or to the
emulator. Every other module here chooses and launches the kernels of the file of its name in ``kernels/``, for the
primitives of ``gpunn/ops``.
"""
