"""Benchmarks: what training and pruning cost, beside what a user would pick instead."""
