"""Triton kernels, imported by `latentpath.ops` only where they run."""
