"""What ``gpunn bench`` and ``benchmarks/`` time, how they time it, and what they write down.

``cases`` names every case once; ``ops``, ``networks`` and ``loading`` define them; ``runner`` checks and times one case
on one device, alone or beside others; ``records`` keeps the results. None of them imports PyTorch until a case is
prepared for it.
"""
