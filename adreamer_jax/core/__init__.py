"""Mathematics: batch-free or broadcasting functions of arrays, nothing from disk."""
