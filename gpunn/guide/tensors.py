""".. include:: tensors.md"""
