"""From a source to the catalog: sources, scan, facts, fingerprints, filters."""
