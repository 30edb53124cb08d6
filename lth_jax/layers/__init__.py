"""Layers: what each layer of a network has, and costs."""
