"""Convolution on the CPU: several ways to compute one, chosen by shape in ``ways.py``."""
