""".. include:: from_pytorch.md"""
