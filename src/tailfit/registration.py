"""Makes our classes known to Keras' loader without importing them: `import tailfit` suffices to load a saved model.

Keras finds the class of a saved object by its registered name, which our modules register when they are imported. Names
of tailfit are imported on first use, so that before it nothing is registered. In their place stand-ins are put into
`keras.saving.get_custom_objects()`, each of which imports its class when the loader first asks it for something; the
import then registers the class itself.

Where Keras is not imported yet, an import hook waits for its `keras.saving`, and removes itself. So `import tailfit`
imports neither Keras nor anything of ours, in either order.
"""

import importlib
import sys
from collections.abc import Mapping, Sequence
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
from types import ModuleType
from typing import Any, Final

__all__ = ["CLASSES", "register"]

_LOSSES: Final = (
    "ActivePassive", "Asymmetric", "AsymmetricSingleLabel", "BalancedSoftmax", "BinaryFocal", "Bootstrapping",
    "ClassBalanced", "CrossEntropy", "DistributionBalanced", "Equalization", "Focal", "GeneralizedCrossEntropy",
    "InfluenceBalanced", "LDAM", "LabelAwareSmoothing", "LogitAdjusted", "LogitNorm", "MeanAbsolute", "MeanFalseError",
    "NormalizedCrossEntropy", "Poly1", "Seesaw", "SymmetricCrossEntropy", "VectorScaling",
)  # fmt: skip
_METRICS: Final = (
    "AveragePrecision", "BalancedAccuracy", "CalibrationError", "CohenKappa", "GeometricMean", "GroupRecall", "MacroF1",
    "MatthewsCorrelation", "PerClassRecall", "RocAuc", "WorstClassRecall",
)  # fmt: skip
_STEPS: Final = (
    "Accumulate", "CutMix", "GradientCentralization", "ImbSAM", "Mixup", "RDrop", "Remix", "SAM", "SmallLoss",
)  # fmt: skip
_SCHEDULES: Final = ("Constant", "Cosine", "Custom", "Deferred", "Linear", "Step")

CLASSES: Final[Mapping[str, str]] = {
    "tailfit>Model": "tailfit.training",
    "tailfit>CosineDense": "tailfit.layers",
    "tailfit>WithFeatures": "tailfit.layers",
    "tailfit>AffineScores": "tailfit.posthoc.layers",
    "tailfit>ExpectedCost": "tailfit.posthoc.layers",
    **{f"tailfit>{name}": "tailfit.losses" for name in _LOSSES},
    **{f"tailfit>{name}": "tailfit.metrics" for name in _METRICS},
    **{f"tailfit>{name}": "tailfit.steps" for name in _STEPS},
    **{f"tailfit.schedules>{name}": "tailfit.schedules" for name in _SCHEDULES},
}
"""Every name that a class of ours is registered by → the module that has the class (a test finds them all)."""

_SAVING: Final = "keras.saving"


def register() -> None:
    """Register the stand-ins with Keras: now where it is imported already, else as soon as it is."""
    finder = _Finder()
    sys.meta_path.insert(0, finder)
    if _SAVING in sys.modules:
        importlib.import_module(_SAVING)  # waits, where another thread is just importing it
        _put(finder)


class _Deferred(type):
    """The class of stand-ins: what is asked of one is asked of the class that it stands for, imported then."""

    def __getattr__(cls, name: str) -> Any:
        return getattr(_meant(cls), name)

    def __call__(cls, *args: Any, **kwargs: Any) -> Any:
        return _meant(cls)(*args, **kwargs)


def _stand_in(name: str, module: str) -> _Deferred:
    return _Deferred(name.rpartition(">")[2], (), {"__module__": module, "__slots__": ()})


def _meant(stand_in: type) -> Any:
    return getattr(importlib.import_module(stand_in.__module__), stand_in.__name__)


def _put(finder: "_Finder") -> None:
    known = sys.modules[_SAVING].get_custom_objects()
    for name, module in CLASSES.items():
        if name not in known:  # the class itself may be there
            known[name] = _stand_in(name, module)
    # A new list: another thread may be going through the old one, and would leave out a finder behind a removed one.
    sys.meta_path = [each for each in sys.meta_path if each is not finder]


class _Finder(MetaPathFinder):
    """Finds `keras.saving` by the finders behind it, and has the stand-ins put there once it is imported."""

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        if fullname != _SAVING:
            return None
        for finder in sys.meta_path:
            if finder is not self and hasattr(finder, "find_spec"):
                spec = finder.find_spec(fullname, path, target)
                if spec is not None:
                    if spec.loader is not None:
                        spec.loader = _Loader(spec.loader, self)
                    return spec
        return None


class _Loader(Loader):
    """Loads as another loader does, and then registers; a failed import leaves the hook in its place."""

    def __init__(self, loader: Loader, finder: _Finder) -> None:
        self._loader, self._finder = loader, finder

    def create_module(self, spec: ModuleSpec) -> ModuleType | None:
        return self._loader.create_module(spec)

    def exec_module(self, module: ModuleType) -> None:
        # Nothing of this loader stays: sources and resources are asked of a module's own.
        module.__loader__ = self._loader
        if module.__spec__ is not None:
            module.__spec__.loader = self._loader
        self._loader.exec_module(module)
        _put(self._finder)
