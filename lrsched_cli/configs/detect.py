"""Which program a configuration is of, told by its keys, and the reader of each format."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from importlib import import_module
from typing import Any

from lrsched_cli.configs.source import GET_LR, Keys, Reading
from lrsched_cli.errors import SpecError, nearest, shown
from lrsched_cli.metrics import decode

#: The largest TOML or Python file that is read: nobody writes a configuration as long.
MAX_KB = 256

STAGES = ("pt", "sft", "rm", "ppo", "dpo", "kto")
TRAINER = ("max_epochs", "max_steps", "accelerator", "devices", "accumulate_grad_batches", "precision", "callbacks")


def _there(document: Mapping[Any, Any], names: Iterable[str]) -> list[str]:
    return [name for name in names if document.get(name) is not None]


def _inside(document: Mapping[Any, Any], outer: str, names: Iterable[str]) -> list[str]:
    """Those of some keys that a mapping in the document has, as ``outer.name``."""
    value = document.get(outer)
    return [f"{outer}.{name}" for name in _there(value, names)] if isinstance(value, Mapping) else []


def _deepspeed(document: Mapping[Any, Any]) -> list[str]:
    own = _there(document, ("zero_optimization", "train_micro_batch_size_per_gpu", "zero_allow_untested_optimizer"))
    own += [key for outer in ("scheduler", "optimizer") for key in _inside(document, outer, ("type",))]
    return own + _there(document, ("train_batch_size",)) if own else []


def _transformers(document: Mapping[Any, Any]) -> list[str]:
    names = ("lr_scheduler_type", "num_train_epochs", "per_device_train_batch_size", "per_gpu_train_batch_size")
    return _there(document, names)


def _like_transformers(document: Mapping[Any, Any]) -> list[str]:
    """Keys of training arguments that other programs have too: they tell where nothing else fits."""
    names = ("learning_rate", "lr_scheduler_kwargs", "output_dir", "warmup_ratio", "warmup_steps", "max_steps")
    there = _there(document, names)
    return there if len(there) > 2 else []


def _llamafactory(document: Mapping[Any, Any]) -> list[str]:
    own = _there(document, ("finetuning_type",))
    if document.get("stage") in STAGES:
        own.append("stage")
    return own if own and ("learning_rate" in document or _transformers(document)) else []


def _axolotl(document: Mapping[Any, Any]) -> list[str]:
    own = _there(document, ("base_model", "micro_batch_size"))
    if isinstance(document.get("lr_scheduler"), str):
        own.append("lr_scheduler")
    more = _there(document, ("num_epochs", "sequence_len", "sample_packing", "val_set_size", "datasets", "adapter"))
    return own + more if own and len(own + more) > 2 else []


def _torchtitan(document: Mapping[Any, Any]) -> list[str]:
    names = ("warmup_steps", "total_steps", "decay_ratio", "decay_type", "min_lr_factor", "lr_min")
    own = [] if _inside(document, "lr_scheduler", ("class_path",)) else _inside(document, "lr_scheduler", names)
    training = _inside(document, "training", ("steps", "warmup_steps"))
    return own + training if own or (training and _there(document, ("optimizer", "job"))) else []


def _timm(document: Mapping[Any, Any]) -> list[str]:
    if not isinstance(document.get("sched"), str):
        return []
    names = ("opt", "epochs", "warmup_epochs", "cooldown_epochs", "decay_epochs", "warmup_lr", "lr_base", "min_lr")
    more = _there(document, names)
    return ["sched", *more[:3]] if more else []


def _lightning(document: Mapping[Any, Any]) -> list[str]:
    inner = document.get("fit")
    if isinstance(inner, Mapping) and "trainer" not in document:
        document = inner
    own = [key for outer in ("lr_scheduler", "optimizer") for key in _inside(document, outer, ("class_path",))]
    return own + _inside(document, "trainer", TRAINER)[:3]


def _nanogpt(document: Mapping[Any, Any]) -> list[str]:
    own = _there(document, ("max_iters", "lr_decay_iters", "warmup_iters", "decay_lr", GET_LR))
    return own if len(own + _there(document, ("learning_rate", "min_lr"))) > 1 else []


#: The formats by name: a rule that gives the keys by which a document is of it, and these keys in words.
FORMATS: dict[str, tuple[Callable[[Mapping[Any, Any]], list[str]], str]] = {
    "deepspeed": (_deepspeed, "scheduler.type, zero_optimization"),
    "transformers": (_transformers, "lr_scheduler_type, num_train_epochs"),
    "axolotl": (_axolotl, "base_model, micro_batch_size, lr_scheduler"),
    "llamafactory": (_llamafactory, "stage, finetuning_type"),
    "torchtitan": (_torchtitan, "[lr_scheduler], [training] steps"),
    "timm": (_timm, "sched, epochs"),
    "lightning": (_lightning, "trainer, lr_scheduler.class_path"),
    "nanogpt": (_nanogpt, "max_iters, lr_decay_iters"),
}
#: What ``--as`` takes: the formats, and our own.
OWN = "lrsched"
NAMES = (*FORMATS, OWN)


def check_name(form: str) -> str:
    """The name of a format, as it was given; an unknown one is a ``SpecError`` with the nearest."""
    if form not in NAMES:
        raise SpecError(f"must be {', '.join(NAMES)}, got {shown(form)}{nearest(form, NAMES)}", parameter="--as")
    return form


def parse(data: bytes, name: str, language: str) -> Mapping[Any, Any]:
    """The mapping in a TOML or Python text; errors call its file ``name``."""
    if len(data) > MAX_KB << 10:
        raise SpecError(f"is larger than {MAX_KB} KB", file=name)
    text = decode(data, name)
    if language == "toml":
        from lrsched_cli.configs.toml_file import read_toml

        return read_toml(text, name)
    from lrsched_cli.configs.python_file import read_python

    return read_python(text, name)


def told(document: Mapping[Any, Any], name: str) -> str | None:
    """The format of a document, None where it is of none; one that fits several is refused."""
    fits = {form: keys for form, (rule, _) in FORMATS.items() if (keys := rule(document))}
    if "llamafactory" in fits:  # whose files are training arguments with more in them
        fits.pop("transformers", None)
    if len(fits) > 1:
        listed = " and ".join(f"{form} ({', '.join(keys)})" for form, keys in fits.items())
        raise SpecError(f"has keys of {listed}: say which it is with --as {'|'.join(fits)}", file=name)
    if not fits and _like_transformers(document):
        return "transformers"
    return next(iter(fits), None)


def refuse_unknown(document: Mapping[Any, Any], name: str) -> None:
    """Refuse a document that is of no known format, naming what was looked for."""
    if "model_type" in document and ("architectures" in document or "transformers_version" in document):
        wanted = "the training arguments have one: dump them as JSON, or take the trainer's YAML"
        raise SpecError(f"is a model's config.json, which has no schedule; {wanted}", file=name)
    looked = "; ".join(f"{form}: {words}" for form, (_, words) in FORMATS.items())
    raise SpecError(
        f"holds neither schedules: nor the keys of a file that is known ({looked}); --as names one", file=name
    )


def read(document: Mapping[Any, Any], name: str, form: str) -> Reading:
    """What a document says, as a file of the format named; raises ``SpecError``."""
    reader: Callable[[Keys], Reading] = import_module(f"lrsched_cli.configs.{form}").read
    return reader(Keys(document, name))
