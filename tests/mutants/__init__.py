"""Mutation run: change the kernels one edit at a time and see that the suite notices every change.

``python -m tests.mutants`` takes a sample of edits of every file of the kernel folder (a barrier less, ``<`` for
``<=``, two terms of an index exchanged, a guard always true, ...), runs what launches the changed code on the
emulator, and reports the share that was caught, file by file, with each survivor. A survivor that is not
explained in ``explained.tsv`` gives exit status 1. Options: ``--help``.

``--launch`` changes the Python code that chooses and launches kernels instead: ``gpunn/gpu`` and the kernel bodies
of ``gpunn/ops``. Another choice among launches that all compute the same (``CHOICES`` in ``launch_run.py``) is
explained by that.
"""
