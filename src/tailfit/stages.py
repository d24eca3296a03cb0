"""Second training stages: functions that correct the classifier of a trained model and keep its features."""

from tailfit.training.stages import learn_scales, normalize_classifier, retrain_classifier

__all__ = ["learn_scales", "normalize_classifier", "retrain_classifier"]
