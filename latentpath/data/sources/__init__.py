"""Readers: whatever form a labelled image set has on the disk, listed and read alike."""
