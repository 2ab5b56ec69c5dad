"""What a signature tells: which KEY=VALUE arguments it takes, where it starts, whether it can be a handler.

It knows functions, not where they come from.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from taskmaster.errors import TargetError, UsageError
from taskmaster.targets.lazy import is_generator
from taskmaster.targets.search_path import python_module, without_users


def convert_arguments(function: Callable[..., Any], pairs: Sequence[str]) -> dict[str, Any]:
    """The keyword arguments for `function`, converted to the annotated type, else to that of the default, else str.

    Raises UsageError for a pair that does not fit the signature and for a required parameter that is missing.
    """
    parameters, takes_any = _keywords(function)
    given: dict[str, Any] = {}
    for pair in pairs:
        key, equals, text = pair.partition("=")
        if not equals or not key:
            raise UsageError(f"{pair!r} is not KEY=VALUE. {_usage(function)}")
        if key == "last":
            raise UsageError(f"'last' comes from the checkpoint and cannot be given. {_usage(function)}")
        if key in given:
            raise UsageError(f"{key!r} is given twice. {_usage(function)}")
        if key not in parameters and not takes_any:
            raise UsageError(f"No argument {key!r}.{did_you_mean(key, parameters)} {_usage(function)}")
        given[key] = _convert(function, parameters[key], text) if key in parameters else text
    _check_required(function, given)
    return given


def _keywords(function: Callable[..., Any]) -> tuple[dict[str, inspect.Parameter], bool]:
    signature = _signature(function)
    if signature is None:
        return {}, True
    parameters = signature.parameters.values()
    named = {p.name: p for p in parameters if p.kind in (p.POSITIONAL_OR_KEYWORD, p.KEYWORD_ONLY)}
    return named, any(p.kind is p.VAR_KEYWORD for p in parameters)


def _signature(function: Callable[..., Any]) -> inspect.Signature | None:
    """None for builtins without one, such as `map` before Python 3.13."""
    try:
        return inspect.signature(function)
    except (ValueError, TypeError):
        return None


def _check_required(function: Callable[..., Any], given: Mapping[str, Any]) -> None:
    signature = _signature(function)
    parameters = signature.parameters.values() if signature else ()
    needed = [p for p in parameters if p.default is p.empty and p.name not in given]
    missing = [p for p in needed if p.kind not in (p.VAR_POSITIONAL, p.VAR_KEYWORD)]
    if any(p.name == "last" for p in missing):
        raise TargetError(f"A first run passes no 'last', so give it a default like 0. {_usage(function)}")
    if any(p.kind is p.POSITIONAL_ONLY for p in missing):
        raise TargetError(f"A parameter before '/' cannot be given as KEY=VALUE. {_usage(function)}")
    if missing:
        raise UsageError(f"Missing {' '.join(f'{p.name}=VALUE' for p in missing)}. {_usage(function)}")


def _convert(function: Callable[..., Any], parameter: inspect.Parameter, text: str) -> Any:
    with without_users():
        # Here: slaves, which convert nothing, start 4 ms faster without it.
        from taskmaster.targets.values import convert, kinds_of_annotation, kinds_of_default

    annotation = _annotation(function, parameter)
    kinds = kinds_of_default(parameter.default) if annotation in _UNKNOWN else kinds_of_annotation(annotation)
    if not kinds:
        raise UsageError(f"{parameter.name}={text} cannot be converted to {_named(annotation)}. Let get_jobs take a "
                         f"text and convert it:\n    def get_jobs(last=0, *, {parameter.name}: str)")
    try:
        return convert(kinds, text)
    except ValueError:
        wanted = " or ".join(kind.name for kind in kinds)
        valid = "" if wanted.startswith("one of") else "a valid "
        raise UsageError(f"{parameter.name}={text} is not {valid}{wanted}. {_usage(function)}") from None


_UNKNOWN = (None, Any, object, inspect.Parameter.empty)  # annotations that ask for nothing


def _named(annotation: Any) -> str:
    return annotation.__name__ if type(annotation) is type else str(annotation)


def _annotation(function: Callable[..., Any], parameter: inspect.Parameter) -> Any:
    """The annotation as an object, even if `from __future__ import annotations` made it a string."""
    if not isinstance(parameter.annotation, str):
        return parameter.annotation
    plain = inspect.unwrap(getattr(function, "func", function))
    try:
        return eval(parameter.annotation, dict(getattr(plain, "__globals__", {})))
    except Exception:  # a name that is imported for type checkers only: the default's type decides
        return None


def _usage(function: Callable[..., Any]) -> str:
    return f"The signature is {_shown(function)}."


class _Bare(str):
    """An annotation that is shown without quotes."""

    def __repr__(self) -> str:
        return str(self)


def _shown(function: Callable[..., Any]) -> str:
    """The function's signature without the return type, as its author wrote it: `get_jobs(last=0, *, table: str)`."""
    name = getattr(function, "__name__", type(function).__name__)
    signature = _signature(function)
    if signature is None:
        return f"{name}(...)"
    bare = [p.replace(annotation=_Bare(p.annotation)) if isinstance(p.annotation, str) else p
            for p in signature.parameters.values()]
    return f"{name}{signature.replace(parameters=bare, return_annotation=signature.empty)}"


def check_arity(handler: Callable[..., Any], with_resource: bool = False, batches: bool = False) -> None:
    """Raise TargetError unless calling `handler(job)`, and awaiting that if it is async, does the work.

    `with_resource`: what a function with @lifespan yields is a second argument. `batches`: the first is a list of jobs.
    """
    signature = _signature(handler)
    try:
        if signature is not None:
            signature.bind(*[object()] * (1 + with_resource))
    except TypeError:
        raise TargetError(_wrong_arity(handler, with_resource, batches)) from None
    if is_generator(handler):
        # Calling it only creates an object: every job would count as handled although none was.
        raise TargetError(f"{_shown(handler)} yields, so calling it does not run it. Write it as: "
                          f"def {'handle_jobs(jobs)' if batches else 'handle_job(job)'}, without yield.")


def _wrong_arity(handler: Callable[..., Any], with_resource: bool, batches: bool) -> str:
    what, name, argument = ("a list of jobs", "handle_jobs", "jobs") if batches else ("one job", "handle_job", "job")
    if with_resource:
        return (f"A handler in a module with @lifespan is called with {what} and what that function yields, but "
                f"{_shown(handler)} does not accept that. Write it as: def {name}({argument}, resource).")
    return (f"A handler is called with {what}, but {_shown(handler)} does not accept that. Write it as: "
            f"def {name}({argument}).")


def accepts_last(get_jobs: Callable[..., Any]) -> bool:
    """Whether a resumed run may pass `last`. `**kwargs` is not enough: a source that ignores it would start over."""
    return "last" in _keywords(get_jobs)[0]


def first_offset(get_jobs: Callable[..., Any]) -> int:
    """The first offset: the default of `last` if that is an int that counts something, else 0."""
    last = _keywords(get_jobs)[0].get("last")
    return last.default if last is not None and _counts(last.default) else 0


def can_count(get_jobs: Callable[..., Any]) -> bool:
    """Whether a resume may pass `last` a count of jobs, as it does for jobs without a cursor of their own."""
    last = _keywords(get_jobs)[0].get("last")
    return last is None or last.default is None or last.default is last.empty or _counts(last.default)


def _counts(default: Any) -> bool:
    # Beyond 2 ** 53, as with sys.maxsize, it says "before every id" and counts nothing; the wire carries up to 2 ** 62.
    return type(default) is int and abs(default) <= 1 << 53


def did_you_mean(word: str, names: Iterable[str]) -> str:
    """A sentence that suggests the closest of `names`, to follow another sentence; empty if none is close."""
    # Here, and not at the top: it takes a millisecond, and only a mistyped name needs it.
    near = python_module("difflib").get_close_matches(word, list(names), n=1)
    return f" Did you mean {near[0]!r}?" if near else ""
