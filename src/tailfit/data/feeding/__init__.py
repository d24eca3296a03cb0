"""`Batches`, a Keras data set of a source, a sampler and weights, and its parts."""

__all__: list[str] = []
