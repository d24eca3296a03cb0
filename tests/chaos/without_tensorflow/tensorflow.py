"""Hides TensorFlow, which Keras would import in each process; this takes ten times as long as a run."""

raise ModuleNotFoundError("No module named 'tensorflow'", name="tensorflow")
