"""The back-end on PyTorch: the only place of the bench that imports torch."""
