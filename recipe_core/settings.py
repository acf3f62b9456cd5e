"""Limits and defaults in one place; units are in the names or behind them."""

import os
from pathlib import Path

WORKSPACE = Path(os.environ.get("RECIPE_WORKSPACE") or "workspace")

# What is read from files is hostile: bounds on one image.
MAX_IMAGE_BYTES = 512 * 2**20
MAX_IMAGE_PIXELS = 178_956_970  # Pillow's own bound for a decompression bomb
FILE_SECONDS = 120.0  # to read and measure one file; a process that takes longer over it is ended

SHARD_SAMPLES = 512  # samples measured, written and resumed as one, at most
MEASURED_SIDE = 384  # px: JPEGs are decoded at the smallest scale whose longer side is at least this
THUMBNAIL_SIDE = 192  # px, longer side
COLOUR_SIDE = 96  # px, longer side of what colour and border are measured on

HEARTBEAT_SECONDS = 1.0
LOST_AFTER_SECONDS = 15.0  # a running job that has not beaten its heart for this long is lost
SLOTS = {"scan": 2}  # jobs of a kind that run at the same time; one where not named

# The jobs that follow a scan by themselves and keep all cores busy for a while; others wait until somebody starts them.
AFTER_SCAN = os.environ.get("RECIPE_AFTER_SCAN", "examine embed").split()

# How much of a dataset somebody should have looked at before anything is trained: a share, and at least so many.
LOOKED_SHARE = 0.01
LOOKED_SAMPLES = 200

QUERY_SECONDS = 10.0
QUERY_MEMORY = "1GB"
