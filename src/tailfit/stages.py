"""Second stages of training, each one call on a trained model: its classifier corrected, its features kept."""

from tailfit.training.stages import learn_scales, normalize_classifier, retrain_classifier

__all__ = ["learn_scales", "normalize_classifier", "retrain_classifier"]
