"""Devices: how networks lie on them, in one process or several."""
