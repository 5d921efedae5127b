""".. include:: several_gpus.md"""
