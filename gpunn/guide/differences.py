""".. include:: ../DIFFERENCES.md"""
