"""Lazy registration of tailfit's classes with Keras, so that saved models load after `import tailfit`.

Keras finds the class of a saved object by its registered name. Modules of tailfit register their classes when they are
imported, but they are imported on first use, so nothing would be registered when a model is loaded. Therefore
`register` puts a stand-in for each class into `keras.saving.get_custom_objects()`. A stand-in imports its class when
the loader first uses it, and this import registers the class itself.

If Keras is not imported yet, an import hook waits for `keras.saving` and then removes itself. So `import tailfit`
imports neither Keras nor the modules with the classes, and works in either order of imports.
"""

import importlib
import sys
from collections.abc import Callable, Mapping, Sequence
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
from types import ModuleType
from typing import Any, Final

__all__ = ["CLASSES", "register", "when_imported"]

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
    "Accumulate", "BCL", "CCSAM", "CMO", "CutMix", "DiVE", "ELR", "GCL", "GradientCentralization", "GroupDRO", "ImbSAM",
    "LADE", "MAMix", "Mixup", "RDrop", "RIDE", "Remix", "SADE", "SAM", "SmallLoss",
)  # fmt: skip
_SCHEDULES: Final = ("Constant", "Cosine", "Custom", "Deferred", "Linear", "Piecewise")

CLASSES: Final[Mapping[str, str]] = {
    "tailfit>Model": "tailfit.training",
    "tailfit>CosineDense": "tailfit.layers",
    "tailfit>Experts": "tailfit.layers",
    "tailfit>MiniRocket": "tailfit.layers",
    "tailfit>WithFeatures": "tailfit.layers",
    "tailfit>AffineScores": "tailfit.posthoc.layers",
    "tailfit>ExpectedCost": "tailfit.posthoc.layers",
    **{f"tailfit>{name}": "tailfit.losses" for name in _LOSSES},
    **{f"tailfit>{name}": "tailfit.metrics" for name in _METRICS},
    **{f"tailfit>{name}": "tailfit.steps" for name in _STEPS},
    **{f"tailfit.schedules>{name}": "tailfit.schedules" for name in _SCHEDULES},
}
"""Module of each registered class, by registered name. A test compares it with the classes of the package."""

_SAVING: Final = "keras.saving"


def register() -> None:
    """Register the stand-ins with Keras, now or as soon as Keras is imported."""
    when_imported(_SAVING, _add_stand_ins)


def when_imported(module: str, action: Callable[[], None]) -> None:
    """Call a function once a module is imported: now, or right after its first import that does not fail."""
    finder = _Finder(module, action)
    sys.meta_path.insert(0, finder)
    if module in sys.modules:
        importlib.import_module(module)  # waits if another thread is importing it
        finder.finish()


class _Deferred(type):
    """Metaclass of the stand-ins: imports the real class on first use, and forwards attributes and calls to it."""

    def __getattr__(cls, name: str) -> Any:
        return getattr(_real_class(cls), name)

    def __call__(cls, *args: Any, **kwargs: Any) -> Any:
        return _real_class(cls)(*args, **kwargs)


def _stand_in(name: str, module: str) -> _Deferred:
    return _Deferred(name.rpartition(">")[2], (), {"__module__": module, "__slots__": ()})


def _real_class(stand_in: type) -> Any:
    return getattr(importlib.import_module(stand_in.__module__), stand_in.__name__)


def _add_stand_ins() -> None:
    known = sys.modules[_SAVING].get_custom_objects()
    for name, module in CLASSES.items():
        if name not in known:  # the class itself may be registered already
            known[name] = _stand_in(name, module)


class _Finder(MetaPathFinder):
    """Import hook that finds one module with the other finders, and calls a function once it is imported."""

    def __init__(self, module: str, action: Callable[[], None]) -> None:
        self._module, self._action = module, action

    def finish(self) -> None:
        """Call the function, and remove the hook."""
        self._action()
        # Replace the list instead of removing from it: another thread that iterates over it would skip a finder.
        sys.meta_path = [each for each in sys.meta_path if each is not self]

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        if fullname != self._module:
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
    """Loader that wraps another one, and finishes the hook after it; a failed import leaves the hook installed."""

    def __init__(self, loader: Loader, finder: _Finder) -> None:
        self._loader, self._finder = loader, finder

    def create_module(self, spec: ModuleSpec) -> ModuleType | None:
        return self._loader.create_module(spec)

    def exec_module(self, module: ModuleType) -> None:
        # Restore the module's own loader: sources and resources are requested from it later.
        module.__loader__ = self._loader
        if module.__spec__ is not None:
            module.__spec__.loader = self._loader
        self._loader.exec_module(module)
        self._finder.finish()
