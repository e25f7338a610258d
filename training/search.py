"""Ray Tune glue: what is searched, who proposes parameters, and who ends or changes a trial."""

import functools
from collections.abc import Sequence
from importlib.util import find_spec
from typing import Any

from lakesight import config as configuration
from lakesight.config import Config
from lakesight.errors import ConfigError, SetupError
from training.classes import Category

TUNED = ("model", "augment", "train")
"""Sections that decide a run, and may be searched."""
SAME_FOR_ALL = (
    "model.name", "train.num_workers", "train.checkpoint_every", "train.keep_checkpoints", "train.max_failures",
    "train.oversample",
)  # fmt: skip
"""What a trial does not read: set by the sweep, or decided before trials start."""
CHANGEABLE = (
    "train.lr", "train.backbone_lr_ratio", "train.layer_decay", "train.weight_decay", "train.min_lr_ratio",
    "train.drop_factor", "train.clip_norm", "train.batch_size", "train.multi_scale",
)  # fmt: skip
"""What may become another value in the middle of a run, besides `augment`."""
_SAMPLERS = ("uniform", "loguniform", "randint", "choice")


def search_space(config: Config) -> dict[str, Any]:
    """`tune.space` as Ray Tune's samplers.

    Raises:
        ConfigError: a parameter that does not exist or cannot be searched, or a range that is none.
    """
    from ray import tune as ray_tune

    if "train.batch_size" not in config.tune.space:
        _ = config.train.images  # `auto` is refused before a trial starts
    space: dict[str, Any] = {}
    for key, sampler in config.tune.space.items():
        _refuse_fixed(key, config)
        if len(sampler) != 1 or not sampler.keys() <= set(_SAMPLERS):
            raise _no_range(key, f"{sampler} is no range")
        ((kind, values),) = sampler.items()
        try:
            space[key] = ray_tune.choice(values) if kind == "choice" else getattr(ray_tune, kind)(*values)
            for value in _proposals(kind, values):
                configuration.replace(config, {key: value})
        except (ValueError, TypeError) as error:  # what settings refuse is one, too
            raise _no_range(key, str(error)) from error
    return space


def refuse_networks(config: Config, categories: Sequence[Category]) -> None:
    """What no trial could build, each parameter for itself.

    Raises:
        ConfigError: a setting of `model.config` that does not exist, or a value that it cannot have.
    """
    from training.architectures import network_config

    for key, sampler in config.tune.space.items():
        ((kind, values),) = sampler.items()
        for value in _proposals(kind, values) if key.startswith("model.") else ():
            network_config(configuration.replace(config, {key: value}).model, categories)


def _proposals(kind: str, values: Sequence[Any]) -> list[Any]:
    """What may be proposed: all there is to choose from; of a range its ends, and a number between them."""
    if kind == "choice":
        return list(values)
    low, high = values
    return [low, high - 1] if kind == "randint" else [low, high, low + (high - low) / 3]


def _refuse_fixed(key: str, config: Config) -> None:
    section, _, field = key.partition(".")
    known = configuration.to_dict(config)
    if section not in TUNED or field.partition(".")[0] not in known[section] or key in SAME_FOR_ALL:
        raise ConfigError(
            f"{key!r} is nothing to tune",
            where="tune.space",
            expected=" or ".join(f"{name}.FIELD" for name in TUNED) + f", none of {', '.join(SAME_FOR_ALL)}",
        )
    if config.tune.scheduler == "pbt" and section != "augment" and key not in CHANGEABLE:
        raise ConfigError(
            f"{key!r} cannot change in the middle of a run",
            where="tune.space, tune.scheduler=pbt",
            expected=f"augment.FIELD, {', '.join(CHANGEABLE)}",
            fix="leave it out, or use another tune.scheduler",
        )


def _no_range(key: str, why: str) -> ConfigError:
    kinds = " | ".join(_SAMPLERS)
    return ConfigError(f"{key}: {why}", where="tune.space", expected=f"{{{kinds}: [...]}}", fix="correct that range")


def refuse_contradictions(config: Config) -> None:
    """What each section allows, and both together do not.

    Raises:
        ConfigError: PBT would never compare trials, or early stopping would take them away from it.
        SetupError: Optuna is asked for and not installed.
    """
    tune, train = config.tune, config.train
    if tune.scheduler == "pbt" and max(tune.perturb_steps, train.val_every) >= train.steps:
        raise ConfigError(
            f"PBT would change nothing in {train.steps} steps",
            where="tune.perturb_steps, train.val_every",
            expected="both fewer than train.steps",
            fix="validate and compare more often, or train longer",
        )
    if tune.scheduler == "pbt" and train.patience:
        raise ConfigError(
            "early stopping ends trials that PBT still wants to change", where="train.patience", fix="set it to 0"
        )
    if tune.search == "optuna" and find_spec("optuna") is None:
        raise SetupError("optuna is not installed", where="tune.search=optuna", fix="pip install 'lakesight[optuna]'")


def quiet(config: Config) -> None:
    """Optuna tells of every study on the screen, in a sweep that goes on too."""
    if config.tune.search == "optuna":
        import optuna

        optuna.logging.set_verbosity(optuna.logging.WARNING)


def tune_config(config: Config, space: dict[str, Any], metric: str) -> Any:
    """Ray Tune's `TuneConfig`; the higher `metric`, the better."""
    from ray import tune as ray_tune

    return ray_tune.TuneConfig(
        metric=metric,
        mode="max",
        num_samples=config.tune.trials,
        search_alg=_searcher(config),
        scheduler=_scheduler(config, space),
        reuse_actors=True,  # a new process spends seconds on imports, and PBT asks for one at every change
    )


def _searcher(config: Config) -> Any:
    from ray.tune.search import BasicVariantGenerator, ConcurrencyLimiter
    from ray.tune.search.optuna import OptunaSearch

    most, seed = config.tune.max_concurrent, config.train.seed
    if config.tune.search == "random":
        return BasicVariantGenerator(max_concurrent=most, random_state=seed)
    return ConcurrencyLimiter(OptunaSearch(seed=seed), max_concurrent=most)


def _scheduler(config: Config, space: dict[str, Any]) -> Any:
    from ray.tune.schedulers import ASHAScheduler, FIFOScheduler, PopulationBasedTraining

    tune, steps = config.tune, config.train.steps
    if tune.scheduler == "none":
        return FIFOScheduler()  # type: ignore[no-untyped-call]  # ray's
    if tune.scheduler == "asha":
        return ASHAScheduler(time_attr="step", max_t=steps, grace_period=min(tune.grace_steps, steps))
    choices = {key: sampler["choice"] for key, sampler in tune.space.items() if "choice" in sampler}
    ranges = {key: values for key, sampler in tune.space.items() for values in sampler.values() if key not in choices}
    return PopulationBasedTraining(
        time_attr="step",
        perturbation_interval=tune.perturb_steps,
        hyperparam_mutations=space | choices,  # of values in a list it takes a neighbour
        custom_explore_fn=functools.partial(_within, ranges),
    )


def _within(ranges: dict[str, list[float]], params: dict[str, Any]) -> dict[str, Any]:
    """PBT multiplies by 0.8 or 1.2, which may leave the space."""
    return params | {key: min(max(params[key], low), high) for key, (low, high) in ranges.items()}
