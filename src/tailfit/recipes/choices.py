"""Places of a recipe where one of many things can be named: a loss, a sampler, a schedule.

What can be named is a class, or a function, whose parameters are the options; their types come from its signature, so
that a new loss can be named in a recipe without another line here. In a recipe it is a name, or a mapping of the name
and its options:

    loss: CrossEntropy
    loss: {name: LogitAdjusted, tau: 0.5}
    loss: {function: my_code:make_loss, options: {margin: 0.3}}    # only where the user allows the module

Parameters that tailfit knows better (`class_counts`, `from_logits`, ...) are no options: it passes them.
"""

import inspect
import types
from collections.abc import Callable, Mapping, Sequence
from difflib import get_close_matches
from typing import Annotated, Any, ClassVar, Final, Literal, Union, cast, get_args, get_origin

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Discriminator,
    Field,
    Tag,
    ValidationInfo,
    create_model,
    model_validator,
)

from tailfit.errors import ArgumentError, TailfitError
from tailfit.schedules import Schedule
from tailfit.training.generators import seeded

__all__ = ["KINDS", "MARK", "Named", "Number", "Own", "Strict", "UnknownKeyError", "choice", "of_kinds", "short"]

Number = Annotated[float, Field(allow_inf_nan=False)]
# What each kind of value is called in messages.
KINDS: Final = {
    "null": "null",
    "flag": "true or false",
    "number": "a number",
    "text": "text",
    "list": "a list",
    "mapping": "a mapping",
    "named": "a schedule such as {name: Linear, start: 0, stop: 1, epochs: 10}",
    "scheme": "a scheme with options such as {scheme: effective_number, beta: 0.99}",
    "column": "{column: NAME} of the metadata",
}
# Members of a union are marked so in pydantic's paths, to be told from a recipe's keys.
MARK: Final = "::"
# What `build` is told, and a recipe does not say.
_TOLD: Final = frozenset(
    {"class_counts", "class_names", "dtype", "from_logits", "name", "num_classes", "num_samples", "prior"}
    | {"reduction", "seed", "input_shape", "normalize", "source"}
)
# What it is told where the recipe does not say it: the learning rate decays over the whole training.
_TOLD_UNLESS_SAID: Final = frozenset({"decay_steps"})
_NO_DEFAULT: Final = inspect.Parameter.empty


class Strict(BaseModel):
    """A mapping whose keys are all known, and whose values are what they say: "3" is no number."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True, protected_namespaces=())

    @model_validator(mode="before")
    @classmethod
    def _knows_its_keys(cls, value: Any) -> Any:
        for key in value if isinstance(value, Mapping) else ():
            if key not in cls.model_fields:
                raise UnknownKeyError(key, list(cls.model_fields))
        return value


class UnknownKeyError(ArgumentError):
    """A key that is none.

    Attributes:
        key: As it was written.
    """

    def __init__(self, key: Any, known: Sequence[str]) -> None:
        self.key = key
        near = get_close_matches(str(key), known, n=1)
        super().__init__(
            f"the unknown key {key!r}",
            expected=", ".join(known),
            fix=f"write {near[0]} if that is meant" if near else "leave it out",
        )


class Named(Strict):
    """One of the things that can be named, with its options."""

    made_by: ClassVar[Callable[..., Any]]
    name: str

    def build(self, **told: Any) -> Any:
        """The thing itself.

        Args:
            **told: What it is passed besides its options, as far as it takes it and the recipe does not say it.
        """
        options = {key: getattr(self, key) for key in self._said()}
        options = {key: each.build(**told) if isinstance(each, Named) else each for key, each in options.items()}
        takes = _parameters(self.made_by)
        try:
            return self.made_by(**{key: value for key, value in told.items() if _wants(takes, key)} | options)
        except TailfitError:
            raise
        except Exception as error:  # Keras' own checks are of several kinds
            raise ArgumentError(
                f"{self.name} with {', '.join(map(str, options)) or 'no options'}: {error}",
                expected=f"the options of {self.name}",
                fix="see its documentation",
            ) from error

    @model_validator(mode="after")
    def _makes_something(self) -> "Named":
        # What needs nothing of the data is made once, so that its own checks speak while the line is known.
        if self._needs_no_more():
            with seeded(0):
                self.build(from_logits=True)
        return self

    def _said(self) -> set[str]:
        """The options that the recipe says."""
        said = self.model_fields_set - {"name"}
        return {key for key in said if key not in _TOLD_UNLESS_SAID or getattr(self, key) is not None}

    def _needs_no_more(self) -> bool:
        needed = {key for key, each in _parameters(self.made_by).items() if each.default is _NO_DEFAULT}
        said = self._said()
        inner = [value for key in said if isinstance(value := getattr(self, key), Named)]
        return needed <= said and all(value._needs_no_more() for value in inner)


class Own(Strict):
    """A function of the user's, `module:name`, called with the options and what else it takes of what is told."""

    function: str
    options: dict[str, Any] = Field(default_factory=dict)

    @model_validator(mode="after")
    def _is_allowed(self, info: ValidationInfo) -> "Own":
        allowed = (info.context or {}).get("modules", ())
        module, colon, name = self.function.partition(":")
        if not (colon and name.isidentifier()):
            raise ArgumentError(repr(self.function), expected="module:name", fix="write it so, e.g. my_code:network")
        if module not in allowed:
            raise ArgumentError(
                repr(self.function),
                expected="functions of modules that you name yourself, as a recipe runs no code of its own accord",
                fix=f"if you trust it, pass --module {module} (in Python: modules=[{module!r}])",
            )
        return self

    def found(self, modules: Mapping[str, types.ModuleType]) -> Callable[..., Any]:
        """The function itself."""
        module, _, name = self.function.partition(":")
        function = getattr(modules[module], name, None)
        if not callable(function):
            raise ArgumentError(repr(self.function), expected=f"a function of {module}", fix="correct the name")
        return cast(Callable[..., Any], function)

    def build(self, modules: Mapping[str, types.ModuleType], **told: Any) -> Any:
        """What the function returns, called with its options and what it takes of what is told."""
        function = self.found(modules)
        takes = inspect.signature(function).parameters.values()
        every = any(each.kind is inspect.Parameter.VAR_KEYWORD for each in takes)
        names = {each.name for each in takes}
        return function(**{key: value for key, value in told.items() if every or key in names} | self.options)


def choice(
    kind: str,
    things: Mapping[str, Callable[..., Any]],
    *,
    own: bool = True,
    default: str | None = None,
    schedule: Any = None,
    known: Mapping[str, Any] | None = None,
) -> Any:
    """The type of a place where one of these can be named.

    Args:
        kind: What messages call it: "loss".
        things: Classes or functions by name. One that needs what can't be written down is left out.
        own: Whether a function of the user's can stand there.
        default: What options without a name are of.
        schedule: The type of what can be named where a signature says `Schedule`.
        known: Types of options, by name, that are not as the signature says.
    """
    models = {name: _model(name, thing, schedule, known or {}) for name, thing in things.items()}
    members = {name: model for name, model in models.items() if model is not None}
    # Names alone are for an editor's sake: by then `spelled_out` has made mappings of them.
    tagged = [Annotated[model, Tag(MARK + name)] for name, model in members.items()]
    if own:
        tagged.append(Annotated[Own, Tag(MARK + "function")])
    tagged.append(Annotated[Literal[tuple(members)], Tag(MARK)])
    union = Annotated[_any_of(tagged), Discriminator(_tag)]  # type: ignore[valid-type]

    def spelled_out(value: Any) -> Any:
        if isinstance(value, Named | Own):
            return value
        value = {"name": value} if isinstance(value, str) else value
        if default is not None and isinstance(value, Mapping) and not ({"name", "function"} & value.keys()):
            value = {"name": default, **value}
        if not isinstance(value, Mapping) or not ({"name", "function"} & value.keys()):
            raise ArgumentError(
                short(value),
                expected=f"the name of a {kind}, or a mapping with name and its options",
                fix=f"write e.g. {next(iter(members))}",
            )
        name = value.get("name")
        if "function" in value or (isinstance(name, str) and name in members):
            if "function" in value and not own:
                raise ArgumentError(f"a function as {kind}", expected=f"one of {', '.join(members)}", fix="name one")
            return value
        near = get_close_matches(str(name), members, n=1)
        raise ArgumentError(
            f"the {kind} {name!r}",
            expected=", ".join(members),
            fix=f"write {near[0]} if that is meant" if near else "choose one of them",
        )

    return Annotated[union, BeforeValidator(spelled_out)]


def of_kinds(**kinds: Any) -> Any:
    """A type whose values are told apart by what they look like: `number=`, `list=`, `named=` ..., see `KINDS`."""
    if len(kinds) == 1:
        return next(iter(kinds.values()))
    union = _any_of([Annotated[each, Tag(MARK + kind)] for kind, each in kinds.items()])
    return Annotated[union, Discriminator(_kind)]


def _any_of(members: Sequence[Any]) -> Any:
    return Union.__getitem__(tuple(members))


def _tag(value: Any) -> str:
    if isinstance(value, Own):
        return MARK + "function"
    if isinstance(value, Mapping):
        return MARK + ("function" if "function" in value else str(value["name"]))
    return MARK + (value.name if isinstance(value, Named) else "")


def _kind(value: Any) -> str:
    return MARK + _look(value)


def _look(value: Any) -> str:
    if isinstance(value, Strict):  # made already: it is being written
        value = {key: getattr(value, key) for key in type(value).model_fields}
    if isinstance(value, Mapping):
        # A class may be called "scheme", but its weight is no text.
        said = (key for key in ("name", "scheme", "column") if isinstance(value.get(key), str))
        key = next(said, "mapping")
        return "named" if key == "name" else key
    kinds = {bool: "flag", int: "number", float: "number", str: "text", list: "list", type(None): "null"}
    return kinds.get(type(value), "something else")


def _model(name: str, thing: Callable[..., Any], schedule: Any, known: Mapping[str, Any]) -> type[Named] | None:
    """The thing's options as a model; None for what needs what can't be written down."""
    fields: dict[str, Any] = {"name": (Literal[name], ...)}
    for key, parameter in _parameters(thing).items():
        if key in _TOLD:
            continue
        kinds = _kinds_of(parameter, schedule)
        if key in known:
            each = known[key]
        elif kinds:
            each = of_kinds(**kinds)
        elif parameter.default is _NO_DEFAULT:
            return None
        else:
            continue
        if key in _TOLD_UNLESS_SAID:
            fields[key] = (of_kinds(number=each, null=None), None)
        else:
            fields[key] = (each, ... if parameter.default is _NO_DEFAULT else parameter.default)
    model = create_model(name, __base__=Named, __doc__=_first_line(thing), **fields)
    model.made_by = cast(Any, staticmethod(thing))
    return model


def _wants(takes: Mapping[str, inspect.Parameter], key: str) -> bool:
    # Seesaw counts for itself, unless it is given what it can't have counted.
    return key in takes and not (key == "class_counts" and takes[key].default is None)


def _parameters(thing: Callable[..., Any]) -> Mapping[str, inspect.Parameter]:
    variable = (inspect.Parameter.VAR_KEYWORD, inspect.Parameter.VAR_POSITIONAL)
    return {key: each for key, each in inspect.signature(thing).parameters.items() if each.kind not in variable}


def _kinds_of(parameter: inspect.Parameter, schedule: Any) -> dict[str, Any]:
    """What a parameter takes, by kind; nothing for what can't be written down."""
    if parameter.annotation is _NO_DEFAULT:
        return _kinds_like(parameter.default)
    found: dict[str, Any] = {}
    for each in _members(parameter.annotation):
        origin = get_origin(each)
        if each is type(None):
            found["null"] = None
        elif each in (bool, int, str):
            found[{bool: "flag", int: "number", str: "text"}[each]] = each
        elif each is float:
            found["number"] = Number
        elif origin is Literal:
            found["text"] = each
        elif isinstance(each, type) and issubclass(each, Schedule):
            found["named"] = schedule
        elif isinstance(origin, type) and issubclass(origin, Sequence):
            found["list"] = list[_of_numbers(get_args(each)[0])]  # type: ignore[misc]
        elif isinstance(origin, type) and issubclass(origin, Mapping):
            found["mapping"] = dict[int, Number]
        else:
            return {}
    return found


def _kinds_like(default: Any) -> dict[str, Any]:
    """The kinds of an option that is not annotated, as Keras' are not: those of its default."""
    number = Union[int, Number]  # noqa: UP007  # a whole number stays one
    if isinstance(default, bool):
        return {"flag": bool}
    if isinstance(default, int | float):
        return {"number": number}
    if isinstance(default, str):
        return {"text": str}
    return {"null": None, "flag": bool, "number": number} if default is None else {}


def _members(annotation: Any) -> list[Any]:
    if get_origin(annotation) in (Union, types.UnionType):
        return [each for member in get_args(annotation) for each in _members(member)]
    return [annotation]


def _of_numbers(annotation: Any) -> Any:
    """Of what a list holds: numbers, or lists or mappings of numbers."""
    kinds = {"number": Number, "list": list[Number], "mapping": dict[int, Number]}
    return of_kinds(**kinds) if len(_members(annotation)) > 1 else Number


def short(value: Any) -> str:
    """A value for a message."""
    text = repr(value)
    return text if len(text) < 60 else text[:57] + "..."


def _first_line(thing: Callable[..., Any]) -> str:
    return (inspect.getdoc(thing) or "").split("\n", 1)[0]
