"""Near-duplicate images: candidates by hash and by layout, the verdict by the pictures themselves."""
