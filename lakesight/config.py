"""Configuration: one YAML a run -> frozen dataclasses. Unknown keys are errors.

Precedence: defaults < YAML < `--set section.field=value`.
"""

import dataclasses
import difflib
import re
import types
import typing
from collections.abc import Mapping, Sequence
from dataclasses import field
from pathlib import Path
from typing import Any, Literal

import msgspec
import yaml

from lakesight.errors import ConfigError
from lakesight.sections import (
    AugmentConfig,
    BuildConfig,
    CheckConfig,
    IngestConfig,
    ModelConfig,
    MonitorConfig,
    PredictConfig,
    RayConfig,
    SparkConfig,
    TrainConfig,
    TuneConfig,
)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Config:
    """A run."""

    spark: SparkConfig = field(default_factory=SparkConfig)
    ray: RayConfig = field(default_factory=RayConfig)
    ingest: IngestConfig = field(default_factory=IngestConfig)
    check: CheckConfig = field(default_factory=CheckConfig)
    build: BuildConfig = field(default_factory=BuildConfig)
    model: ModelConfig = field(default_factory=ModelConfig)
    augment: AugmentConfig = field(default_factory=AugmentConfig)
    train: TrainConfig = field(default_factory=TrainConfig)
    tune: TuneConfig = field(default_factory=TuneConfig)
    predict: PredictConfig = field(default_factory=PredictConfig)
    monitor: MonitorConfig = field(default_factory=MonitorConfig)


def load(path: Path | None = None, overrides: Sequence[str] = ()) -> Config:
    """The configuration of a run: YAML file, then `section.field=value` overrides (values are YAML).

    Raises:
        ConfigError: no such file, not YAML, an unknown key, a value of the wrong type or out of range.
    """
    data = _read(path) if path else {}
    for override in overrides:
        _apply(data, override)
    where = str(path) if path else "--set"
    _refuse_unknown(data, Config, where, "")
    try:
        return msgspec.convert(data, Config)
    except msgspec.ValidationError as error:
        expected = _choices(str(error))
        raise ConfigError(
            f"configuration: {error}", where=where, expected=expected, fix="correct that value"
        ) from error


def replace(config: Config, values: Mapping[str, Any]) -> Config:
    """`config` with `section.field` values set, checked as `load` checks them."""
    return load_dict(to_dict(config), [f"{key}={yaml.safe_dump(value).strip()}" for key, value in values.items()])


def load_dict(data: dict[str, Any], overrides: Sequence[str] = ()) -> Config:
    """A configuration from what `to_dict` gave."""
    for override in overrides:
        _apply(data, override)
    return msgspec.convert(data, Config)


def to_dict(config: Config) -> dict[str, Any]:
    """The resolved configuration as plain JSON values, as runs record it."""
    # Not the instance itself: `convert` does not set fields that keep their default, and they would be left out.
    built: dict[str, Any] = msgspec.to_builtins(dataclasses.asdict(config))
    return built


class _Loader(yaml.SafeLoader):
    """YAML 1.2 floats: PyYAML alone reads `1e-3` as a string."""


_Loader.add_implicit_resolver(
    "tag:yaml.org,2002:float", re.compile(r"^[-+]?(\d+(\.\d*)?|\.\d+)([eE][-+]?\d+)$"), list("-+.0123456789")
)


def _parse(text: str) -> Any:
    return yaml.load(text, _Loader)


def _read(path: Path) -> dict[str, Any]:
    try:
        data = _parse(path.read_text())
    except OSError as error:
        raise ConfigError(
            f"the configuration file cannot be read: {error.strerror}", where=str(path), fix="check --config"
        ) from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ConfigError("the configuration file is not YAML", where=f"{path}: {error}") from error
    if not isinstance(data, dict | None):
        raise ConfigError("the configuration is not a mapping", where=str(path), expected="section: {field: value}")
    return data or {}


def _apply(data: dict[str, Any], override: str) -> None:
    key, equals, value = override.partition("=")
    section, dot, name = key.partition(".")
    if not (equals and dot and section and all(name.split("."))):
        raise ConfigError(f"--set {override!r} is not understood", expected="section.field=value")
    target = data.setdefault(section, {})
    texts = _is_texts(section, name.partition(".")[0])
    *parents, last = name.split(".", 1 if texts else -1)  # the name of a Spark conf has dots
    for parent in parents:
        target = target.setdefault(parent, {})
    try:
        target[last] = value if texts and parents else _parse(value)
    except yaml.YAMLError as error:
        raise ConfigError(f"--set {override!r}: the value is not YAML") from error


def _is_texts(section: str, field: str) -> bool:
    """Whether a field is a mapping of texts, as `spark.conf` is."""
    kind = typing.get_type_hints(Config).get(section)
    return dataclasses.is_dataclass(kind) and typing.get_type_hints(kind).get(field) == dict[str, str]


def _refuse_unknown(data: Any, kind: Any, where: str, prefix: str) -> None:
    if not dataclasses.is_dataclass(kind):
        return
    if not isinstance(data, dict):
        raise ConfigError(f"section {prefix[:-1]!r} is not a mapping", where=where, expected="field: value")
    hints = typing.get_type_hints(kind)
    for key, value in data.items():
        if key not in hints:
            close = difflib.get_close_matches(str(key), hints, n=1)
            raise ConfigError(
                f"unknown configuration key {prefix}{key}",
                where=where,
                expected=f"one of {', '.join(hints)}",
                fix=f"did you mean {prefix}{close[0]}?" if close else "remove it",
            )
        _refuse_unknown(value, _plain(hints[key]), where, f"{prefix}{key}.")


def _choices(message: str) -> str:
    """What the field that a validation error names may be, where that is one of a few words."""
    kind: Any = Config
    for name in re.findall(r"\$\.([\w.]+)", message)[0].split(".") if "$." in message else []:
        kind = _plain(typing.get_type_hints(kind).get(name)) if dataclasses.is_dataclass(kind) else None
    return f"one of {', '.join(typing.get_args(kind))}" if typing.get_origin(kind) is Literal else ""


def _plain(kind: Any) -> Any:
    """`X | None` -> X."""
    if isinstance(kind, types.UnionType):
        return next(arg for arg in typing.get_args(kind) if arg is not type(None))
    return kind
