"""`Batches` and its parts: from a source, a sampler and weights to what `fit` takes."""

__all__: list[str] = []
