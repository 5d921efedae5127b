""".. include:: own_kernel.md"""
