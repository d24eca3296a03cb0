"""Types for recipe keys that name a class or function: a loss, a sampler, a schedule.

The parameters of the class or function are the options, and their types come from its signature. A new loss can
therefore be named in a recipe without any change here. The value in a recipe is a name, or a mapping with the name and
the options:

    loss: CrossEntropy
    loss: {name: LogitAdjusted, tau: 0.5}
    loss: {function: my_code:make_loss, options: {margin: 0.3}}    # only if the user allows the module

Parameters that tailfit computes itself (`class_counts`, `from_logits`, ...) are not options; tailfit supplies them.
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

__all__ = [
    "KIND_NAMES",
    "TAG_PREFIX",
    "Named",
    "Number",
    "Strict",
    "UnknownKeyError",
    "UserFunction",
    "abbreviated",
    "choice",
    "one_of_kinds",
]

Number = Annotated[float, Field(allow_inf_nan=False)]
# Descriptions of the kinds of values, for error messages.
KIND_NAMES: Final = {
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
# Prefix of union tags, which distinguishes them from the recipe's keys in pydantic's error locations.
TAG_PREFIX: Final = "::"
# Arguments that tailfit passes to `build`; a recipe can't set them.
_SUPPLIED: Final = frozenset(
    {"class_counts", "class_names", "dtype", "from_logits", "name", "num_classes", "num_samples", "prior"}
    | {"reduction", "seed", "input_shape", "normalize", "source"}
)
# Arguments that tailfit passes unless the recipe sets them: the learning rate decays over the whole training.
_SUPPLIED_UNLESS_GIVEN: Final = frozenset({"decay_steps"})
_REQUIRED: Final = inspect.Parameter.empty


class Strict(BaseModel):
    """A mapping without unknown keys and without type coercion: "3" is not accepted as a number."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True, protected_namespaces=())

    @model_validator(mode="before")
    @classmethod
    def _check_keys(cls, value: Any) -> Any:
        for key in value if isinstance(value, Mapping) else ():
            if key not in cls.model_fields:
                raise UnknownKeyError(key, list(cls.model_fields))
        return value


class UnknownKeyError(ArgumentError):
    """An unknown key in a recipe.

    Attributes:
        key: The key as written.
    """

    def __init__(self, key: Any, known: Sequence[str]) -> None:
        self.key = key
        near = get_close_matches(str(key), known, n=1)
        super().__init__(
            f"the unknown key {key!r}",
            expected=f"one of {', '.join(known)}",
            fix=f"write {near[0]} if you meant that" if near else "remove the key",
        )


class Named(Strict):
    """The name of a class or function, with its options."""

    factory: ClassVar[Callable[..., Any]]
    name: str

    def build(self, **supplied: Any) -> Any:
        """Call the class or function with the options.

        Args:
            **supplied: Further arguments. Those that the signature lacks or that the recipe sets are ignored.
        Returns:
            The new object, or the function's return value.
        Raises:
            ArgumentError: If the call rejects the options.
        """
        options = {key: getattr(self, key) for key in self._given_options()}
        options = {key: each.build(**supplied) if isinstance(each, Named) else each for key, each in options.items()}
        parameters = _parameters(self.factory)
        try:
            accepted = {key: value for key, value in supplied.items() if _accepts(parameters, key)}
            return self.factory(**accepted | options)
        except TailfitError:
            raise
        except Exception as error:  # Keras' own checks raise various exceptions
            raise ArgumentError(
                f"{self.name} with {', '.join(map(str, options)) or 'no options'}: {error}",
                expected=f"valid options of {self.name}",
                fix=f"correct the options; see the documentation of {self.name}",
            ) from error

    @model_validator(mode="after")
    def _check_options(self) -> "Named":
        # Build once now if no argument depends on the data, so that invalid options are reported with their line.
        if self._is_complete():
            with seeded(0):
                self.build(from_logits=True)
        return self

    def _given_options(self) -> set[str]:
        """Return the names of the options that the recipe sets."""
        given = self.model_fields_set - {"name"}
        return {key for key in given if key not in _SUPPLIED_UNLESS_GIVEN or getattr(self, key) is not None}

    def _is_complete(self) -> bool:
        """Return whether the recipe sets every required parameter, here and in nested schedules."""
        required = {key for key, each in _parameters(self.factory).items() if each.default is _REQUIRED}
        given = self._given_options()
        inner = [value for key in given if isinstance(value := getattr(self, key), Named)]
        return required <= given and all(value._is_complete() for value in inner)


class UserFunction(Strict):
    """A user-defined function, `module:name`, with its options."""

    function: str
    options: dict[str, Any] = Field(default_factory=dict)

    @model_validator(mode="after")
    def _check_allowed(self, info: ValidationInfo) -> "UserFunction":
        allowed = (info.context or {}).get("modules", ())
        module, colon, name = self.function.partition(":")
        if not (colon and name.isidentifier()):
            raise ArgumentError(
                f"the function {self.function!r}", expected="module:name", fix="write my_code:network, for example"
            )
        if module not in allowed:
            raise ArgumentError(
                f"the function {self.function!r}",
                expected="a function from a module that you allow, because a recipe never runs code by itself",
                fix=f"if you trust the module, pass --module {module} (in Python: modules=[{module!r}])",
            )
        return self

    def resolve(self, modules: Mapping[str, types.ModuleType]) -> Callable[..., Any]:
        """Look up the function in the imported modules.

        Raises:
            ArgumentError: If the module has no such function.
        """
        module, _, name = self.function.partition(":")
        function = getattr(modules[module], name, None)
        if not callable(function):
            raise ArgumentError(
                f"the function {self.function!r}, which does not exist",
                expected=f"the name of a function in {module}",
                fix="correct the name, or define the function",
            )
        return cast(Callable[..., Any], function)

    def build(self, modules: Mapping[str, types.ModuleType], **supplied: Any) -> Any:
        """Call the function with its options, and those of the supplied arguments that its signature has."""
        function = self.resolve(modules)
        parameters = inspect.signature(function).parameters.values()
        every = any(each.kind is inspect.Parameter.VAR_KEYWORD for each in parameters)
        names = {each.name for each in parameters}
        return function(**{key: value for key, value in supplied.items() if every or key in names} | self.options)


def choice(
    kind: str,
    factories: Mapping[str, Callable[..., Any]],
    *,
    user_functions: bool = True,
    default: str | None = None,
    schedule: Any = None,
    known: Mapping[str, Any] | None = None,
) -> Any:
    """Build the pydantic type of a recipe key that names one of several classes or functions.

    Args:
        kind: Name of the key in messages, such as "loss".
        factories: Classes or functions by name. One with a required parameter that YAML can't express is left out.
        user_functions: Whether the value may be a function of the user.
        default: Name that a mapping of options without a name refers to.
        schedule: Type of options that are annotated as `Schedule`.
        known: Types of options by name, where the signature is not specific enough.
    """
    models = {name: _model(name, factory, schedule, known or {}) for name, factory in factories.items()}
    members = {name: model for name, model in models.items() if model is not None}
    tagged = [Annotated[model, Tag(TAG_PREFIX + name)] for name, model in members.items()]
    if user_functions:
        tagged.append(Annotated[UserFunction, Tag(TAG_PREFIX + "function")])
    # Plain names are only for the JSON schema: `as_mapping` turns them into mappings before validation.
    tagged.append(Annotated[Literal[tuple(members)], Tag(TAG_PREFIX)])
    union = Annotated[_union_of(tagged), Discriminator(_tag)]  # type: ignore[valid-type]

    def as_mapping(value: Any) -> Any:
        if isinstance(value, Named | UserFunction):
            return value
        value = {"name": value} if isinstance(value, str) else value
        if default is not None and isinstance(value, Mapping) and not ({"name", "function"} & value.keys()):
            value = {"name": default, **value}
        if not isinstance(value, Mapping) or not ({"name", "function"} & value.keys()):
            raise ArgumentError(
                abbreviated(value),
                expected=f"the name of a {kind}, or a mapping with its name and options",
                fix=f"write {default or next(iter(members))}, for example",
            )
        name = value.get("name")
        if "function" in value or (isinstance(name, str) and name in members):
            if "function" in value and not user_functions:
                raise ArgumentError(
                    f"a function as {kind}",
                    expected=f"one of {', '.join(members)}",
                    fix=f"write the name of a {kind} in place of the function",
                )
            return value
        near = get_close_matches(str(name), members, n=1)
        raise ArgumentError(
            f"the unknown {kind} {name!r}",
            expected=f"one of {', '.join(members)}",
            fix=f"write {near[0]} if you meant that" if near else f"use {default or next(iter(members))}, for example",
        )

    return Annotated[union, BeforeValidator(as_mapping)]


def one_of_kinds(**kinds: Any) -> Any:
    """Build a union type that is discriminated by the kind of the value: `number=`, `list=`, ...; see `KIND_NAMES`."""
    if len(kinds) == 1:
        return next(iter(kinds.values()))
    union = _union_of([Annotated[each, Tag(TAG_PREFIX + kind)] for kind, each in kinds.items()])
    return Annotated[union, Discriminator(_kind_tag)]


def _union_of(members: Sequence[Any]) -> Any:
    return Union.__getitem__(tuple(members))


def _tag(value: Any) -> str:
    if isinstance(value, UserFunction):
        return TAG_PREFIX + "function"
    if isinstance(value, Mapping):
        return TAG_PREFIX + ("function" if "function" in value else str(value["name"]))
    return TAG_PREFIX + (value.name if isinstance(value, Named) else "")


def _kind_tag(value: Any) -> str:
    return TAG_PREFIX + _kind_name(value)


def _kind_name(value: Any) -> str:
    if isinstance(value, Strict):  # a validated value, in serialization
        value = {key: getattr(value, key) for key in type(value).model_fields}
    if isinstance(value, Mapping):
        # Class weights are mappings, too: a class may be called "scheme", but its weight is never text.
        keys = (key for key in ("name", "scheme", "column") if isinstance(value.get(key), str))
        key = next(keys, "mapping")
        return "named" if key == "name" else key
    kinds = {bool: "flag", int: "number", float: "number", str: "text", list: "list", type(None): "null"}
    return kinds.get(type(value), "something else")


def _model(name: str, factory: Callable[..., Any], schedule: Any, known: Mapping[str, Any]) -> type[Named] | None:
    """Create the model of a factory's options; None if a required parameter can't be written in YAML."""
    fields: dict[str, Any] = {"name": (Literal[name], ...)}
    for key, parameter in _parameters(factory).items():
        if key in _SUPPLIED:
            continue
        kinds = _kinds_of(parameter, schedule)
        if key in known:
            option = known[key]
        elif kinds:
            option = one_of_kinds(**kinds)
        elif parameter.default is _REQUIRED:
            return None
        else:
            continue
        if key in _SUPPLIED_UNLESS_GIVEN:
            fields[key] = (one_of_kinds(number=option, null=None), None)
        else:
            fields[key] = (option, ... if parameter.default is _REQUIRED else _as_yaml(parameter.default))
    model = create_model(name, __base__=Named, __doc__=_first_line(factory), **fields)
    model.factory = cast(Any, staticmethod(factory))
    return model


def _as_yaml(default: Any) -> Any:
    """Return a signature's default as the option's type requires it: a tuple as a list, because YAML has no tuples."""
    return [_as_yaml(each) for each in default] if isinstance(default, tuple) else default


def _accepts(parameters: Mapping[str, inspect.Parameter], key: str) -> bool:
    # Optional class counts are not supplied: a loss such as Seesaw accumulates them during training.
    return key in parameters and not (key == "class_counts" and parameters[key].default is None)


def _parameters(factory: Callable[..., Any]) -> Mapping[str, inspect.Parameter]:
    variable = (inspect.Parameter.VAR_KEYWORD, inspect.Parameter.VAR_POSITIONAL)
    return {key: each for key, each in inspect.signature(factory).parameters.items() if each.kind not in variable}


def _kinds_of(parameter: inspect.Parameter, schedule: Any) -> dict[str, Any]:
    """Return the types that a parameter accepts, by kind; empty if YAML can't express one of them."""
    if parameter.annotation is _REQUIRED:
        return _kinds_of_default(parameter.default)
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
            found["list"] = list[_item_type(get_args(each)[0])]  # type: ignore[misc]
        elif isinstance(origin, type) and issubclass(origin, Mapping):
            found["mapping"] = dict[int, Number]
        else:
            return {}
    return found


def _kinds_of_default(default: Any) -> dict[str, Any]:
    """Infer the kinds of an option without annotation, such as Keras', from its default."""
    number = Union[int, Number]  # noqa: UP007  # int first, so that a whole number stays an int
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


def _item_type(annotation: Any) -> Any:
    """Return the type of a list's items: numbers, or lists or mappings of numbers."""
    kinds = {"number": Number, "list": list[Number], "mapping": dict[int, Number]}
    return one_of_kinds(**kinds) if len(_members(annotation)) > 1 else Number


def abbreviated(value: Any) -> str:
    """Return the value's `repr`, cut to 60 characters for a message."""
    text = repr(value)
    return text if len(text) < 60 else text[:57] + "..."


def _first_line(factory: Callable[..., Any]) -> str:
    return (inspect.getdoc(factory) or "").split("\n", 1)[0]
