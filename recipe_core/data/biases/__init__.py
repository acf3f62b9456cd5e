"""Biases: what gives the label away without looking, and in what the splits differ."""
