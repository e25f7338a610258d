"""Ray and torch glue: `train.batch_size: auto`, the most images of which a training step fits into memory.

It is found where training will run, by steps of 1, 2, 4, ... images like the worst ones of the data set: at the largest
input side, with as many boxes as any image has. A run that goes on has what it began with.
"""

import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from lakesight import config as configuration
from lakesight import progress
from lakesight.config import Config
from lakesight.errors import ConfigError
from training.classes import Category
from training.inputs import Inputs
from training.tasks import Task

if TYPE_CHECKING:
    import torch
    from mlflow import MlflowClient

    from features.collate import Batch

MOST = 64
"""Images; more would fit in a small network's case, and teach it no more."""
_SHARE = {"cpu": 0.5, "cuda": 0.9}
"""Of memory; on a CPU, batches that wait and Ray's object store live there too."""


def decided(config: Config, inputs: Inputs, client: "MlflowClient", mlflow_run_id: str | None) -> Config:
    """`config` with a number for `train.batch_size`. `mlflow_run_id`: of a run that goes on.

    Raises:
        ConfigError: not one image fits.
    """
    if config.train.batch_size != "auto":
        return config
    known = client.get_run(mlflow_run_id).data.params.get("train.batch_size") if mlflow_run_id else None
    return configuration.replace(config, {"train.batch_size": int(known) if known else _found(config, inputs)})


def _found(config: Config, inputs: Inputs) -> int:
    import ray

    trial = ray.remote(num_cpus=1, num_gpus=int(config.train.use_gpu), max_retries=0)(_here)
    most_images = max(inputs.train.num_rows // config.train.num_workers, 1)
    with progress.step("find the batch size"):
        try:
            return int(ray.get(trial.remote(config, inputs.categories, max(inputs.train.num_boxes), most_images)))
        except ray.exceptions.RayTaskError as error:
            raise error.cause from error


def _here(config: Config, categories: Sequence[Category], most_boxes: int, most_images: int) -> int:
    """`largest` for the memory of this machine."""
    import ray
    import torch

    torch.set_num_threads(config.train.threads or 1)
    if config.train.use_gpu:
        room = _SHARE["cuda"] * torch.cuda.get_device_properties(0).total_memory
    else:
        nodes = ray.nodes()  # type: ignore[no-untyped-call]  # theirs
        (node,) = (node for node in nodes if node["NodeID"] == ray.get_runtime_context().get_node_id())
        room = _SHARE["cpu"] * node["Resources"]["memory"] / config.train.num_workers
    return largest(config, categories, most_boxes=most_boxes, most_images=most_images, room=int(room))


def largest(config: Config, categories: Sequence[Category], *, most_boxes: int, most_images: int, room: int) -> int:
    """The largest power of two, up to `most_images`, of which a step of one worker needs no more than `room` bytes.

    Raises:
        ConfigError: not one image fits.
    """
    fits, size = 0, 1
    needs = _step(config, categories, most_boxes)
    while size <= min(most_images, MOST):
        need = needs(size)
        if need > room:
            break
        fits, size = size, size * 2
        if not config.train.use_gpu and 2 * need > room:  # where memory ends, Linux ends the process
            break
    if not fits:
        raise ConfigError(
            f"a training step of one image does not fit into the {room / 2**30:.1f} GiB that a worker may use",
            where="train.batch_size=auto",
            fix="a smaller model.image_size or network, fewer workers, or train.gradient_checkpointing",
        )
    return fits


def _step(config: Config, categories: Sequence[Category], most_boxes: int) -> Callable[[int], int]:
    """A function: does a step of so many images; the bytes that this took at most, more than any there are if all."""
    import torch
    from lightning.pytorch.utilities.memory import is_oom_error

    from training.architectures import build_network, facts_of
    from training.detector import Detector
    from training.pyfunc import normalise
    from training.targets import targets

    task = facts_of(config.model).task
    train, device = config.train, torch.device("cuda" if config.train.use_gpu else "cpu")
    network = build_network(config.model, train, categories)
    detector = Detector(network, config.model, train).to(device)
    optimizer = detector.configure_optimizers()["optimizer"]
    for group in optimizer.param_groups:
        group["lr"] = 0.0  # noise teaches nothing, and may teach NaN

    def needs(images: int) -> int:
        _forget_peak(device)
        batch = _worst(detector.largest_size, images, most_boxes, task).to(device)
        try:
            with torch.autocast(device.type, torch.bfloat16, enabled=train.precision == "bfloat16"):
                loss = network(pixel_values=normalise(batch.pixels), **targets(batch, task)).loss
            loss.backward()
            optimizer.step()
            optimizer.zero_grad()
        except RuntimeError as error:
            if not is_oom_error(error):
                raise
            return 2**62
        return _peak(device)

    return needs


def _worst(size: tuple[int, int], images: int, boxes: int, task: Task) -> "Batch":
    """Images of a height and width with as many boxes each."""
    import torch

    from features.collate import Batch

    labels = {"boxes": torch.full((boxes, 4), 0.5), "class_labels": torch.zeros(boxes, dtype=torch.int64)}
    if task == "segmentation":
        labels["masks"] = torch.ones((boxes, *size), dtype=torch.uint8)
    return Batch(
        pixels=torch.randint(256, (images, *size, 3), dtype=torch.uint8),
        labels=[labels] * images,
        image_ids=[0] * images,
        sizes=[size] * images,
        annotations=[[{"label": 0, "bbox": None}]] * images,  # as an image of one class has it
    )


def _forget_peak(device: "torch.device") -> None:
    import torch

    if device.type == "cuda":
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats()
    else:
        Path("/proc/self/clear_refs").write_text("5")


def _peak(device: "torch.device") -> int:
    """Bytes since `_forget_peak`."""
    import torch

    if device.type == "cuda":
        return int(torch.cuda.max_memory_reserved())
    (kib,) = re.findall(r"VmHWM:\s+(\d+)", Path("/proc/self/status").read_text())
    return int(kib) * 1024
