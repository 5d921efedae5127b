""".. include:: first_network.md"""
