"""Optim: optimizers and schedules, by name, and what a config makes of them."""
