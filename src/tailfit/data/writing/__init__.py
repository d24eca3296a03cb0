"""Writers of data sets: the packed layout and the folder of `.npy` files."""

__all__: list[str] = []
