"""The wing of the kernels: compiling and launching them, on a GPU or on the emulator.

``launcher`` checks every launch against the signature in the ``.cu`` file, ``loaders`` hands it to CUDA or to the
emulator. Any other module here chooses and launches the kernels of the file of its name in ``kernels/``, for the
primitives of ``gpunn/ops``.
"""
