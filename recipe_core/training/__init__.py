"""Pipelines, presets, fit() and what is expected of them. Meets the data in a folder of tensors, never in imports.

`spec`, `presets`, `expectation` and `evaluate` import no torch, so that pages and the terminal stay quick.
"""
