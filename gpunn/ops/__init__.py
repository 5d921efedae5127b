"""The ops: one file each, with the formula (plain body), its gradient, the launch of its kernel, the public function.

A file has the name of its op. Ops that share another's primitive are in that one's file (``sub`` in ``add.py``);
``gpunn._LAZY`` and ``gpunn.nn.functional`` say where each public name comes from.
"""

import importlib
import pkgutil


def import_all() -> None:
    """Import every op module, so that the registries of primitives and kernel sources are complete."""
    for module in pkgutil.iter_modules(__path__):
        importlib.import_module(f"{__name__}.{module.name}")
