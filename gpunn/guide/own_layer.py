""".. include:: own_layer.md"""
