"""Train: states, devices, and the one function that trains."""
