""".. include:: arrays.md"""
