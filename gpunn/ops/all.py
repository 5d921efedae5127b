"""Imports every op module, so that the registries of primitives and kernel sources are complete."""

import importlib
import pkgutil

import gpunn.ops

for _module in pkgutil.iter_modules(gpunn.ops.__path__):
    if _module.name != "all":
        importlib.import_module(f"gpunn.ops.{_module.name}")
