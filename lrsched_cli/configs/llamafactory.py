"""LLaMA-Factory YAML: Hugging Face training arguments, with what to tune and how beside them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from lrsched_cli.configs import transformers
from lrsched_cli.configs.source import Keys, Plan, Reading, ask, said_steps
from lrsched_cli.run import Run


def read(keys: Keys) -> Reading:
    """What a LLaMA-Factory file says."""
    reading = transformers.read(keys)

    def plan(options: Run, given: Mapping[str, Any]) -> Plan:
        if keys.text("stage") == "ppo" and said_steps(options) is None and keys.number("max_steps", -1) <= 0:
            # Its own trainer counts batches of rollouts, by keys that are many and change.
            raise ask(keys, "how many steps training has, as stage ppo counts them", "--steps")
        return reading.plan(options, given)

    return replace(reading, form="llamafactory", plan=plan)
