""".. include:: from_chainer.md"""
